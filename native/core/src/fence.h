/* Fences of two prices: the reader's costs nothing, because the reclaimer pays for both.
 *
 * Owns: which of two pairs is in force. Must not know what they order.
 *
 * A reader says what it is about to read and then looks; a reclaimer takes something away and then
 * looks who said so. Each needs its store to be seen before its load (Dekker). With two full fences
 * each read costs some 20 cycles. Here the reader only keeps its compiler from swapping the two, and
 * the reclaimer has the kernel run a full fence on every processor that runs a thread of this
 * process: membarrier(2), MEMBARRIER_CMD_PRIVATE_EXPEDITED. Where that is missing or refused, or
 * with ATOLL_FENCES=full in the environment, both are full fences.
 * Source: D. Goldblatt, "Asymmetric fences", WG21 P1202R5. */
#ifndef ATOLL_FENCE_H
#define ATOLL_FENCE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "sync.h"

/* 1: readers need a full fence of their own. Written once, before the first reader. */
extern _Atomic unsigned atoll__fence_paid;

/* Chooses the pair, once a process; before the first fence of either price. */
void atoll__fence_open(void);
/* Whether the reader's fence is the cheap one. */
bool atoll__fence_asymmetric(void);

/* Between a reader's announcement and its look. */
static inline void atoll__fence_light(void) {
    /* SYNC POINT: fence-light, for the compiler alone: the reclaimer's barrier is this thread's fence
     * as well; paired with fence-heavy. */
    if (__builtin_expect(atomic_load_explicit(&atoll__fence_paid, memory_order_relaxed) == 0, 1))
        atomic_signal_fence(memory_order_seq_cst);
    else
        /* SYNC POINT: fence-light, where readers pay. */
        ATOLL__FENCE(fence_light);
}

/* SYNC POINT: fence-heavy, between a reclaimer's removal and its look; paired with fence-light.
 * False: the kernel had no memory for it; announcements may be unseen, and nothing may be freed. */
bool atoll__fence_heavy(void);

#endif
