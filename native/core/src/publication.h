/* A value of a few words that one writer publishes and many read, all of them wait-free.
 *
 * Owns: which buffer is current and which may be written. Must not know what the words mean.
 *
 * A reader gets all words of one publication, in a bounded number of its own steps; the writer
 * never waits for a reader, nor a reader for the writer. (A seqlock does not give the first: a
 * reader that is overtaken again and again starts again and again.) Two constructions are joined,
 * as in "A methodology for creating fast wait-free data structures" (Kogan, Petrank, PPoPP 2012):
 *
 * - The fast path writes nothing. It copies the current buffer and looks whether its stamp still
 *   is the publication's: NBW of Kopetz and Reisinger ("The non-blocking write protocol NBW", RTSS
 *   1993).
 * - A reader that was overtaken twice announces itself in the same exchange that tells it which
 *   buffer is current, and the writer leaves that buffer alone: "Anonymous Readers Counting"
 *   (Ianni, Pellegrini, Quaglia, IEEE CLUSTER 2017). At most one buffer is held by each of R
 *   readers and one is current, so that among R + 2 the writer always finds a free one.
 *
 * The buffers lie outside: buffer i of a publication starts at buffers + i * stride words, so that
 * those of many publications can be laid out with the first ones, which serve as long as nobody is
 * overtaken, side by side. All zero is a publication of zeros. */
#ifndef ATOLL_PUBLICATION_H
#define ATOLL_PUBLICATION_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sync.h"

/* Fast attempts of a reader before it announces itself. */
#ifndef ATOLL__PUBLICATION_ATTEMPTS
#define ATOLL__PUBLICATION_ATTEMPTS 2u
#endif

typedef struct atoll__publication {
    /* version:32 | buffer:16 | readers announced at it:16 */
    _Atomic uint64_t current;
} atoll__publication_t;

typedef struct atoll__publication_buffers {
    _Atomic uint64_t *words;
    size_t stride;  /* in words, from one buffer to the next */
    uint32_t count; /* readers at once, plus two; at most 65535 */
    uint32_t size;  /* words of a value */
} atoll__publication_buffers_t;

/* A buffer: stamp, readers that have left it, readers that came (the writer's), the value. */
#define ATOLL__PUBLICATION_WORDS(size) (3u + (size))

enum { ATOLL__STAMP = 0, ATOLL__LEFT = 1, ATOLL__CAME = 2, ATOLL__VALUE = 3 };

static inline _Atomic uint64_t *atoll__publication_buffer(
    const atoll__publication_buffers_t *buffers, uint64_t current) {
    return buffers->words + ((current >> 16) & 0xFFFFu) * buffers->stride;
}

/* Readers at once, at most buffers->count - 2. */
static inline void atoll__publication_read(
    atoll__publication_t *cell, const atoll__publication_buffers_t *buffers, uint64_t *value) {
    for (uint32_t attempt = 0; attempt < ATOLL__PUBLICATION_ATTEMPTS; attempt++) {
        /* SYNC POINT: publication; the words were written before. */
        uint64_t current =
            atomic_load_explicit(&cell->current, ATOLL__SYNC(publication, acquire));
        _Atomic uint64_t *buffer = atoll__publication_buffer(buffers, current);
        ATOLL__WINDOW();
        for (uint32_t i = 0; i < buffers->size; i++)
            /* SYNC POINT: publication-reuse. Who sees a word of a later publication sees that the
             * stamp is gone. */
            value[i] = atomic_load_explicit(
                &buffer[ATOLL__VALUE + i], ATOLL__SYNC(publication_reuse, acquire));
        if (atomic_load_explicit(&buffer[ATOLL__STAMP], memory_order_relaxed) == current >> 32)
            return;
    }
    /* SYNC POINT: publication; and from here on the writer leaves the buffer alone. */
    uint64_t current =
        atomic_fetch_add_explicit(&cell->current, 1, ATOLL__SYNC(publication, acquire));
    _Atomic uint64_t *buffer = atoll__publication_buffer(buffers, current);
    ATOLL__WINDOW();
    ATOLL__MODEL_USE(buffer, false);
    for (uint32_t i = 0; i < buffers->size; i++)
        value[i] = atomic_load_explicit(&buffer[ATOLL__VALUE + i], memory_order_relaxed);
    /* SYNC POINT: publication-left; the words were read. For is_free. */
    atomic_fetch_add_explicit(&buffer[ATOLL__LEFT], 1, ATOLL__SYNC(publication_left, release));
}

static inline bool atoll__publication_is_free(_Atomic uint64_t *buffer) {
    /* SYNC POINT: publication-left, the writer's end. */
    return atomic_load_explicit(
               &buffer[ATOLL__LEFT], ATOLL__SYNC(publication_left, acquire)) ==
           atomic_load_explicit(&buffer[ATOLL__CAME], memory_order_relaxed);
}

/* One writer at a time. */
static inline void atoll__publication_write(
    atoll__publication_t *cell, const atoll__publication_buffers_t *buffers,
    const uint64_t *value) {
    /* Readers change the low bits only. */
    uint64_t current = atomic_load_explicit(&cell->current, memory_order_relaxed);
    uint64_t last = (current >> 16) & 0xFFFFu;
    uint64_t next = 0;
    while (next < buffers->count &&
           (next == last ||
            !atoll__publication_is_free(atoll__publication_buffer(buffers, next << 16))))
        next++;
    assert(next < buffers->count);
    _Atomic uint64_t *buffer = atoll__publication_buffer(buffers, next << 16);
    uint64_t version = ((current >> 32) + 1u) & UINT32_MAX;
    ATOLL__MODEL_USE(buffer, true);
    atomic_store_explicit(&buffer[ATOLL__STAMP], UINT64_MAX, memory_order_relaxed);
    for (uint32_t i = 0; i < buffers->size; i++)
        /* SYNC POINT: publication-reuse; the stamp went before. */
        atomic_store_explicit(
            &buffer[ATOLL__VALUE + i], value[i], ATOLL__SYNC(publication_reuse, release));
    atomic_store_explicit(&buffer[ATOLL__STAMP], version, memory_order_relaxed);
    ATOLL__WINDOW();
    /* SYNC POINT: publication; for the readers' loads. */
    uint64_t before = atomic_exchange_explicit(
        &cell->current, version << 32 | next << 16, ATOLL__SYNC(publication, release));
    /* The old buffer takes no more readers: how many came is known now. */
    _Atomic uint64_t *old = atoll__publication_buffer(buffers, before);
    atomic_store_explicit(
        &old[ATOLL__CAME],
        atomic_load_explicit(&old[ATOLL__CAME], memory_order_relaxed) + (before & 0xFFFFu),
        memory_order_relaxed);
}

#endif
