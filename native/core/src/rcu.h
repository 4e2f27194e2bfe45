/* A read-copy-update cell: readers take the current version, a writer puts another in its place.
 *
 * Owns: the order of publishing and retiring. Must not know what a version holds. A version begins
 * with its atoll__retired_t and does not change once it is published. Readers are pinned (epoch.h)
 * from before they take the version until they have done with it; writers hold a lock of their own
 * from their look at the version to the publication of the next, and are not pinned. */
#ifndef ATOLL_RCU_H
#define ATOLL_RCU_H

#include "epoch.h"

typedef struct atoll__rcu {
    _Atomic(atoll__retired_t *) current; /* NULL: no version yet */
} atoll__rcu_t;

/* The current version, for as long as the caller stays pinned. */
static inline const void *atoll__rcu_read(const atoll__rcu_t *cell) {
    /* SYNC POINT: rcu-read acquires the version; paired with rcu-publish. */
    return atomic_load_explicit(&cell->current, ATOLL__SYNC(rcu_publish, acquire));
}

/* The same for the writer, who need not be pinned: it alone retires. */
static inline void *atoll__rcu_own(const atoll__rcu_t *cell) {
    return atomic_load_explicit(&cell->current, memory_order_relaxed);
}

/* Puts a version in place, NULL for none; the one before is released when its readers have gone. */
static inline void atoll__rcu_publish(
    atoll__rcu_t *cell, atoll__retired_t *version, atoll__release_t release) {
    /* SYNC POINT: rcu-publish; paired with rcu-read. */
    atoll__retired_t *before =
        atomic_exchange_explicit(&cell->current, version, ATOLL__SYNC(rcu_publish, acq_rel));
    ATOLL__WINDOW();
    if (before != NULL) atoll__epoch_retire(before, release);
}

#endif
