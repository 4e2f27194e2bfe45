/* Hazard pointers: a reader names the one object it reads, and only that one is kept.
 *
 * Owns: who protects what, and what was retired and is not free yet. Must not know what the objects
 * are. For a reader that may hold on for long, sleep or call the system: it delays its own object
 * and nothing else (for many short reads see epoch.h).
 *
 * Cost of a read: two loads and a store. Garbage: at most ATOLL__HAZARD_BATCH objects and twice as
 * many as there are records, for each thread. A scan looks at every record once, so that its cost is
 * spread over a batch.
 * Source: M. Michael, "Hazard pointers: safe memory reclamation for lock-free objects", IEEE TPDS
 * 15(6), 2004; the reader's fence is the one of fence.h. */
#ifndef ATOLL_HAZARD_H
#define ATOLL_HAZARD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "fence.h"
#include "retired.h"
#include "stack.h"

#define ATOLL__HAZARD_BATCH 32u

/* A record: one object that its owner may be reading. Never freed, used again by other threads. */
typedef struct atoll__hazard {
    _Alignas(64) _Atomic(atoll__retired_t *) object; /* NULL: none */
    _Atomic uint32_t taken;
    struct atoll__hazard *next_known; /* of all records; written before it is published */
    struct atoll__hazard *next_idle;  /* of this thread's; its own */
} atoll__hazard_t;

/* A record for this thread alone; NULL: out of memory. It protects nothing. */
atoll__hazard_t *atoll__hazard_take(void);
/* Gives it back, on the same thread, reset. */
void atoll__hazard_give(atoll__hazard_t *hazard);

/* Loads an object that stays until the record is reset or protects another; NULL stays NULL. */
static inline atoll__retired_t *atoll__hazard_protect(
    atoll__hazard_t *hazard, _Atomic(atoll__retired_t *) *from) {
    atoll__retired_t *seen = atomic_load_explicit(from, memory_order_relaxed);
    for (;;) {
        ATOLL__WINDOW();
        /* SYNC POINT: hazard-set. Releases the reads of what was protected before; paired with
         * hazard-scan. */
        atomic_store_explicit(&hazard->object, seen, ATOLL__SYNC(hazard_set, release));
        atoll__fence_light();
        /* SYNC POINT: hazard-seen. Still there: whoever takes it away from now on sees the record.
         * Acquires what the publisher wrote; paired with wake-open. */
        atoll__retired_t *again =
            atomic_load_explicit(from, ATOLL__SYNC(hazard_seen, acquire));
        if (__builtin_expect(again == seen, 1)) return seen;
        seen = again;
    }
}

static inline void atoll__hazard_reset(atoll__hazard_t *hazard) {
    /* SYNC POINT: hazard-set releases the reads; paired with hazard-scan. */
    atomic_store_explicit(&hazard->object, NULL, ATOLL__SYNC(hazard_set, release));
}

/* Releases the object once nobody protects it, on whichever thread finds out. It must not be
 * reachable any more. */
void atoll__hazard_retire(atoll__retired_t *object, atoll__release_t release);
/* Releases what this thread and threads that have ended retired and nobody protects. */
void atoll__hazard_scan(void);
/* Objects retired and not yet released. */
uint32_t atoll__hazard_waiting(void);

struct atoll__thread;
/* The thread ends: its records are for others, what it retired is for the next scan. */
void atoll__hazard_leave(struct atoll__thread *thread);

#endif
