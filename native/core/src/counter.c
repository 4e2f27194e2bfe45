/* What the library counts for atoll_stats.
 *
 * Owns: the one set of counters, and which shard a thread has. Must not know what the counts mean. */
#include "internal.h"

static atoll__counters_t counters;

void atoll__count_join(atoll__thread_t *thread) {
    thread->shard = atoll__counters_join(&counters);
}

void atoll__count_leave(const atoll__thread_t *thread) {
    atoll__counters_leave(&counters, thread->shard);
}

void atoll__count_add(atoll__count_t count, uint64_t more) {
    const atoll__thread_t *thread = atoll__thread();
    atoll__counters_add(&counters, thread == NULL ? 0 : thread->shard, (uint32_t)count, more);
}

uint64_t atoll__count_sum(atoll__count_t count) {
    return atoll__counters_sum(&counters, (uint32_t)count);
}
