/* How many a second: a token bucket without a lock.
 *
 * Owns: what is left in the bucket. Must not know what is counted.
 *
 * Instead of tokens and the time at which some were added last, one time is kept: when the bucket
 * will be full again if nobody takes anything (the generic cell rate algorithm, ITU-T I.371, with
 * its theoretical arrival time). Who takes a token moves it on by the time in which one comes back;
 * further ahead than a second, which is the bucket's size, it may not lie. There is nothing else to
 * keep, so one exchange takes a token, and nobody has to add any. All zero is a full bucket. */
#ifndef ATOLL_RATE_H
#define ATOLL_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "sync.h"

#define ATOLL__RATE_SECOND_NS 1000000000u

typedef struct atoll__rate {
    _Atomic uint64_t full_ns;
} atoll__rate_t;

/* Takes a token of a bucket that gets so many a second, 1 or more. The clock of one thread may be
 * behind another's. Times are whole nanoseconds: near a million a second one token more may fit.
 * Relaxed: a token stands for no memory. */
static inline bool atoll__rate_take(atoll__rate_t *rate, uint32_t per_second, uint64_t now_ns) {
    uint64_t token_ns = ATOLL__RATE_SECOND_NS / per_second;
    uint64_t full_ns = atomic_load_explicit(&rate->full_ns, memory_order_relaxed);
    uint64_t next_ns;
    do {
        next_ns = (full_ns > now_ns ? full_ns : now_ns) + token_ns;
        if (next_ns - now_ns > ATOLL__RATE_SECOND_NS) return false;
    } while (!atomic_compare_exchange_weak_explicit(
        &rate->full_ns, &full_ns, next_ns, memory_order_relaxed, memory_order_relaxed));
    return true;
}

#endif
