/* What the library counts for atoll_stats.
 *
 * Owns: the one set of counters, and which shard a thread has. Must not know what the counts mean. */
#include "internal.h"

static atoll__counters_t counters;

void atoll__count_join(atoll__thread_t *thread) {
    uint32_t shard = atoll__counters_join(&counters);
    thread->shard = shard == 0 ? NULL : &counters.shards[shard];
}

void atoll__count_leave(const atoll__thread_t *thread) {
    if (thread->shard != NULL)
        atoll__counters_leave(&counters, (uint32_t)(thread->shard - counters.shards));
}

void atoll__count_add_first(atoll__count_t count, uint64_t more) {
    const atoll__thread_t *thread = atoll__thread();
    if (thread != NULL && thread->shard != NULL)
        atoll__shard_add(thread->shard, (uint32_t)count, more);
    else
        atoll__counters_add(&counters, 0, (uint32_t)count, more);
}

uint64_t atoll__count_sum(atoll__count_t count) {
    return atoll__counters_sum(&counters, (uint32_t)count);
}
