/* Blobs: component bytes on their way from JavaScript to an engine.
 *
 * Owns: the copies until an engine takes them. Must not know what is in them. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

typedef struct blob {
    uint8_t *bytes; /* NULL: free */
    uint32_t length;
    uint32_t client;
    uint32_t generation;
} blob_t;

static blob_t blobs[ATOLL__BLOBS_MAX];
static pthread_mutex_t blobs_lock = PTHREAD_MUTEX_INITIALIZER;

_Static_assert(ATOLL__BLOBS_MAX == 256, "a blob number is generation << 8 | index");

atoll_status_t atoll__blob_put(
    uint32_t client, const uint8_t *bytes, uint32_t length, uint32_t *number) {
    uint8_t *copy = malloc(length > 0 ? length : 1);
    if (copy == NULL) return atoll__fail(ATOLL_NO_MEMORY, "Cannot keep blob: out of memory");
    if (length > 0) memcpy(copy, bytes, length);
    (void)pthread_mutex_lock(&blobs_lock);
    for (uint32_t i = 0; i < ATOLL__BLOBS_MAX; i++) {
        blob_t *blob = &blobs[i];
        if (blob->bytes != NULL) continue;
        blob->generation = blob->generation % 0xFFFFFFu + 1u;
        blob->bytes = copy;
        blob->length = length;
        blob->client = client;
        *number = blob->generation << 8 | i;
        (void)pthread_mutex_unlock(&blobs_lock);
        return ATOLL_OK;
    }
    (void)pthread_mutex_unlock(&blobs_lock);
    free(copy);
    return atoll__fail(ATOLL_NO_MEMORY, "Cannot keep blob: too many are waiting for an engine");
}

atoll_status_t atoll__blob_take(
    uint32_t client, uint32_t number, uint8_t **bytes, uint64_t *length) {
    atoll_status_t status = ATOLL_NOT_FOUND;
    (void)pthread_mutex_lock(&blobs_lock);
    blob_t *blob = &blobs[number & 0xFFu];
    if (blob->bytes != NULL && blob->generation == number >> 8 && blob->client == client) {
        *bytes = blob->bytes;
        *length = blob->length;
        blob->bytes = NULL;
        status = ATOLL_OK;
    }
    (void)pthread_mutex_unlock(&blobs_lock);
    return status;
}

atoll_status_t atoll__blob_drop(uint32_t client, uint32_t number) {
    uint8_t *bytes;
    uint64_t length;
    atoll_status_t status = atoll__blob_take(client, number, &bytes, &length);
    if (status == ATOLL_OK) atoll__blob_free(bytes, length);
    return status;
}

void atoll__blob_free(uint8_t *bytes, uint64_t length) {
    (void)length;
    free(bytes);
}

void atoll__blobs_drop(uint32_t client) {
    (void)pthread_mutex_lock(&blobs_lock);
    for (uint32_t i = 0; i < ATOLL__BLOBS_MAX; i++) {
        if (blobs[i].bytes == NULL || blobs[i].client != client) continue;
        free(blobs[i].bytes);
        blobs[i].bytes = NULL;
    }
    (void)pthread_mutex_unlock(&blobs_lock);
}
