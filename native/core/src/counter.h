/* Counters that many threads raise and few read.
 *
 * Owns: shards and whose they are. Must not know what is counted.
 *
 * Each thread counts in a shard of its own: two plain moves, no locked instruction, no line that
 * another thread writes. A reader sums over all shards. When a thread ends, its shard keeps what it
 * counted and goes to the next thread, so that nothing is ever folded, moved or lost. Threads
 * beyond the shards there are share shard 0, by locked additions. All zero is ready for use. */
#ifndef ATOLL_COUNTER_H
#define ATOLL_COUNTER_H

#include <stdint.h>

#include "stack.h"

/* Counts of one shard: a line. */
#define ATOLL__SHARD_COUNTS (ATOLL__LINE_BYTES / sizeof(uint64_t))

#ifndef ATOLL__SHARDS_MAX
#define ATOLL__SHARDS_MAX 256u
#endif

typedef struct atoll__shard {
    _Alignas(ATOLL__LINE_BYTES) _Atomic uint64_t counts[ATOLL__SHARD_COUNTS];
} atoll__shard_t;

typedef struct atoll__counters {
    atoll__stack_t free;
    _Atomic uint32_t used; /* shards ever taken, beside shard 0 */
    _Atomic uint32_t links[ATOLL__SHARDS_MAX];
    atoll__shard_t shards[ATOLL__SHARDS_MAX];
} atoll__counters_t;

/* A shard for this thread alone; 0: the shared one. */
static inline uint32_t atoll__counters_join(atoll__counters_t *counters) {
    /* SYNC POINT: stack-push, the popper's end: what the last owner counted. */
    uint32_t shard = atoll__stack_pop(&counters->free, counters->links);
    if (shard != ATOLL__STACK_EMPTY) return shard;
    uint32_t used = atomic_load_explicit(&counters->used, memory_order_relaxed);
    do {
        if (used + 1 >= ATOLL__SHARDS_MAX) return 0;
    } while (!atomic_compare_exchange_weak_explicit(
        &counters->used, &used, used + 1, memory_order_relaxed, memory_order_relaxed));
    return used + 1;
}

/* The thread counts no more. */
static inline void atoll__counters_leave(atoll__counters_t *counters, uint32_t shard) {
    /* SYNC POINT: stack-push; for the next owner. */
    if (shard != 0) atoll__stack_push(&counters->free, counters->links, shard);
}

/* For the owner of the shard. */
static inline void atoll__shard_add(atoll__shard_t *shard, uint32_t count, uint64_t more) {
    uint64_t value = atomic_load_explicit(&shard->counts[count], memory_order_relaxed);
    atomic_store_explicit(&shard->counts[count], value + more, memory_order_relaxed);
}

/* For the owner of the shard of that number, or anybody if it is 0. */
static inline void atoll__counters_add(
    atoll__counters_t *counters, uint32_t shard, uint32_t count, uint64_t more) {
    if (shard != 0)
        atoll__shard_add(&counters->shards[shard], count, more);
    else
        atomic_fetch_add_explicit(
            &counters->shards[0].counts[count], more, memory_order_relaxed);
}

/* All that was counted before; what is being counted meanwhile may be missing. */
static inline uint64_t atoll__counters_sum(atoll__counters_t *counters, uint32_t count) {
    uint64_t sum = 0;
    uint32_t used = atomic_load_explicit(&counters->used, memory_order_relaxed);
    for (uint32_t i = 0; i <= used; i++)
        sum += atomic_load_explicit(&counters->shards[i].counts[count], memory_order_relaxed);
    return sum;
}

#endif
