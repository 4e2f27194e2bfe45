/* Buffers that several holders share: bytes with a count.
 *
 * Owns: the count. Must not know what is in the bytes. For payloads that are handed on: a holder may
 * keep one for as long as it likes, on any thread, and it costs one shared write to take and one to
 * let go (for objects that are found by a pointer that may change see hazard.h and epoch.h: a count
 * cannot be taken of what may be freed at that moment). Once a second holder has it, nobody writes. */
#ifndef ATOLL_BUFFER_H
#define ATOLL_BUFFER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef struct atoll__buffer {
    _Atomic uint64_t holders; /* cannot overflow: each is somewhere in memory */
    uint64_t length;          /* bytes */
    _Alignas(16) uint8_t bytes[];
} atoll__buffer_t;

/* A buffer with one holder, its bytes not set; NULL: out of memory. */
atoll__buffer_t *atoll__buffer_new(uint64_t length);
void atoll__buffer_free(atoll__buffer_t *buffer);

/* The buffer whose bytes these are. */
static inline atoll__buffer_t *atoll__buffer_of(uint8_t *bytes) {
    return (atoll__buffer_t *)(void *)(bytes - offsetof(atoll__buffer_t, bytes));
}

/* One holder more; the caller is one. */
static inline void atoll__buffer_acquire(atoll__buffer_t *buffer) {
    (void)atomic_fetch_add_explicit(&buffer->holders, 1, memory_order_relaxed);
}

/* One holder less; the last one frees it. */
static inline void atoll__buffer_release(atoll__buffer_t *buffer) {
    /* SYNC POINT: buffer-release; paired with itself. Releases what this holder did with the bytes;
     * the last one acquires what all the others did. */
    if (atomic_fetch_sub_explicit(&buffer->holders, 1, memory_order_acq_rel) == 1)
        atoll__buffer_free(buffer);
}

#endif
