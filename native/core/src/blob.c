/* Blobs: component bytes on their way from JavaScript to an engine.
 *
 * Owns: which client has which. Must not know what is in them.
 *
 * The bytes are copied once, out of JavaScript's memory. From then on the client and each engine that
 * took them hold the same buffer, for as long as each likes: an engine goes on compiling when its
 * caller has gone, and a client may name the same bytes in another request. */
#include "buffer.h"

#include <string.h>

#include "internal.h"

typedef struct blob {
    atoll__buffer_t *buffer; /* NULL: free */
    uint32_t client;
    uint32_t generation;
} blob_t;

static blob_t blobs[ATOLL__BLOBS_MAX];
static pthread_mutex_t blobs_lock = PTHREAD_MUTEX_INITIALIZER;

_Static_assert(ATOLL__BLOBS_MAX == 256, "a blob number is generation << 8 | index");

/* Gives the buffer to the client; false: there is no place. */
static bool blob_add(uint32_t client, atoll__buffer_t *buffer, uint32_t *number) {
    bool added = false;
    (void)pthread_mutex_lock(&blobs_lock);
    for (uint32_t i = 0; i < ATOLL__BLOBS_MAX && !added; i++) {
        blob_t *blob = &blobs[i];
        if (blob->buffer != NULL) continue;
        blob->generation = blob->generation % 0xFFFFFFu + 1u;
        blob->buffer = buffer;
        blob->client = client;
        *number = blob->generation << 8 | i;
        added = true;
    }
    (void)pthread_mutex_unlock(&blobs_lock);
    return added;
}

atoll_status_t atoll__blob_put(
    uint32_t client, const uint8_t *bytes, uint32_t length, uint32_t *number) {
    atoll__buffer_t *buffer = atoll__buffer_new(length);
    if (buffer == NULL) return atoll__fail(ATOLL_NO_MEMORY, "Cannot keep blob: out of memory");
    if (length > 0) memcpy(buffer->bytes, bytes, length);
    if (blob_add(client, buffer, number)) return ATOLL_OK;
    atoll__buffer_release(buffer);
    return atoll__fail(ATOLL_NO_MEMORY, "Cannot keep blob: too many are kept; drop some");
}

/* The client's blob of that number, NULL when there is none. Needs the lock. */
static blob_t *blob_of(uint32_t client, uint32_t number) {
    blob_t *blob = &blobs[number & 0xFFu];
    bool same = blob->buffer != NULL && blob->generation == number >> 8 && blob->client == client;
    return same ? blob : NULL;
}

atoll_status_t atoll__blob_take(
    uint32_t client, uint32_t number, uint8_t **bytes, uint64_t *length) {
    (void)pthread_mutex_lock(&blobs_lock);
    blob_t *blob = blob_of(client, number);
    if (blob != NULL) {
        atoll__buffer_acquire(blob->buffer);
        *bytes = blob->buffer->bytes;
        *length = blob->buffer->length;
    }
    (void)pthread_mutex_unlock(&blobs_lock);
    return blob == NULL ? ATOLL_NOT_FOUND : ATOLL_OK;
}

void atoll__blob_free(uint8_t *bytes, uint64_t length) {
    (void)length;
    if (bytes != NULL) atoll__buffer_release(atoll__buffer_of(bytes));
}

atoll_status_t atoll__blob_drop(uint32_t client, uint32_t number) {
    (void)pthread_mutex_lock(&blobs_lock);
    blob_t *blob = blob_of(client, number);
    atoll__buffer_t *buffer = blob == NULL ? NULL : blob->buffer;
    if (blob != NULL) blob->buffer = NULL;
    (void)pthread_mutex_unlock(&blobs_lock);
    if (buffer == NULL) return ATOLL_NOT_FOUND;
    atoll__buffer_release(buffer);
    return ATOLL_OK;
}

void atoll__blobs_drop(uint32_t client) {
    (void)pthread_mutex_lock(&blobs_lock);
    for (uint32_t i = 0; i < ATOLL__BLOBS_MAX; i++) {
        if (blobs[i].buffer == NULL || blobs[i].client != client) continue;
        atoll__buffer_release(blobs[i].buffer);
        blobs[i].buffer = NULL;
    }
    (void)pthread_mutex_unlock(&blobs_lock);
}
