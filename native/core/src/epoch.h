/* Epochs: a reader says when it began to read, and everything taken away since then is kept.
 *
 * Owns: the epoch, who is pinned to which, and what was retired in each. Must not know what the
 * objects are. For short reads that follow any number of pointers and never sleep, wait or call
 * out while they are pinned: a pinned reader delays every object of the process (for one that holds
 * on see hazard.h).
 *
 * Cost of a read: a load and a store at its beginning, a store at its end. The epoch moves on when
 * every pinned reader has seen it; what was retired in epoch E is released in epoch E + 2. Three
 * bags, one for each epoch that garbage can be of, belong to all threads, so that a thread that ends
 * leaves nothing behind. Garbage: a reader that stays pinned stops the epoch; from
 * ATOLL__EPOCH_GARBAGE_MAX objects on a writer waits for it, so that there are never more than that
 * and one for each writer. `atoll_stats` shows both.
 * Source: K. Fraser, "Practical lock-freedom", UCAM-CL-TR-579, 2004, 5.2.3; the order of loads and
 * stores as in crate crossbeam-epoch; the reader's fence is the one of fence.h. */
#ifndef ATOLL_EPOCH_H
#define ATOLL_EPOCH_H

#include "fence.h"
#include "internal.h"
#include "retired.h"

#define ATOLL__EPOCH_BATCH 32u
#define ATOLL__EPOCH_GARBAGE_MAX 1024u

/* A thread that reads. Never freed, used again by other threads. */
typedef struct atoll__reader {
    _Alignas(128) _Atomic uint64_t epoch; /* it is pinned to; 0: not pinned. Written by it alone */
    _Atomic uint32_t taken;
    struct atoll__reader *next_known; /* written before it is published */
} atoll__reader_t;

/* Begins at 1. On a line of its own: every reader loads it. */
typedef struct atoll__epoch_clock {
    _Alignas(128) _Atomic uint64_t now;
} atoll__epoch_clock_t;

extern atoll__epoch_clock_t atoll__epoch_clock;

/* An open pin: what its end puts back. */
typedef struct atoll__pin {
    atoll__reader_t *reader; /* NULL: it could not be had */
    uint64_t before;         /* epoch of the pin around this one; 0: none */
} atoll__pin_t;

/* This thread's record, at its first pin; NULL: out of memory. */
atoll__reader_t *atoll__epoch_join(void);

/* Pins this thread until atoll__epoch_unpin. May be nested; the inner one ends first, and stays in
 * the epoch of the outer. Its reader is NULL when memory is out, at a thread's first pin only. */
static inline atoll__pin_t atoll__epoch_pin(void) {
    const atoll__thread_t *thread = atoll__thread_state;
    atoll__reader_t *reader = thread != NULL ? thread->reader : NULL;
    if (__builtin_expect(reader == NULL, 0)) {
        reader = atoll__epoch_join();
        if (reader == NULL) return (atoll__pin_t){.reader = NULL};
    }
    uint64_t before = atomic_load_explicit(&reader->epoch, memory_order_relaxed);
    if (__builtin_expect(before == 0, 1)) {
        /* SYNC POINT: epoch-read. Acquires: who has seen an epoch also sees what was taken away
         * before it began; paired with epoch-advance. */
        uint64_t now =
            atomic_load_explicit(&atoll__epoch_clock.now, ATOLL__SYNC(epoch_read, acquire));
        /* SYNC POINT: epoch-pin. May be an epoch late: then the next advance fails. Releases the
         * reads of the pins before this one; paired with epoch-look. */
        atomic_store_explicit(&reader->epoch, now, ATOLL__SYNC(epoch_pin, release));
        atoll__fence_light();
    }
    return (atoll__pin_t){.reader = reader, .before = before};
}

static inline void atoll__epoch_unpin(atoll__pin_t pin) {
    /* SYNC POINT: epoch-pin releases the reads; paired with epoch-look. */
    atomic_store_explicit(&pin.reader->epoch, pin.before, ATOLL__SYNC(epoch_pin, release));
}

/* Releases the object once nobody can have it any more. It must not be reachable for readers that
 * pin from now on. Not while pinned: it may wait for readers. */
void atoll__epoch_retire(atoll__retired_t *object, atoll__release_t release);
/* Moves the epoch on if no reader is behind, and releases what is old enough. */
void atoll__epoch_collect(void);
/* Releases everything, unless somebody is pinned. */
void atoll__epoch_drain(void);
/* Objects retired and not yet released. */
uint32_t atoll__epoch_waiting(void);
/* Threads that are pinned to an epoch that is over: each of them stops the next. */
uint32_t atoll__epoch_behind(void);
/* The thread ends: its record is for another. */
void atoll__epoch_leave(atoll__reader_t *reader);

#endif
