/* The stack: an index has one owner, who may touch what it stands for. */
#include <string.h>

#include "checker.h"
#include "counter.h"

#define INDICES 3u

static atoll__stack_t stack;
static _Atomic uint32_t links[INDICES];
static uint64_t owned[INDICES]; /* plain: two owners at once are a race */
static uint32_t out[MODEL_THREADS];

static void setup(void) {
    memset((void *)&stack, 0, sizeof stack);
    memset((void *)links, 0, sizeof links);
    memset(owned, 0, sizeof owned);
    memset(out, 0, sizeof out);
    for (uint32_t i = 0; i < INDICES; i++) atoll__stack_push(&stack, links, i);
}

static uint32_t take(void) {
    uint32_t index = atoll__stack_pop(&stack, links);
    if (index != ATOLL__STACK_EMPTY) owned[index]++;
    return index;
}

static void give(uint32_t index) {
    if (index == ATOLL__STACK_EMPTY) return;
    owned[index]++;
    atoll__stack_push(&stack, links, index);
}

static void take_give(void) {
    give(take());
}

/* What a stack without tags does not survive: the top comes back, what was below does not. */
static void take_two_give_first(void) {
    uint32_t a = take();
    uint32_t b = take();
    give(a);
    out[2] = b == ATOLL__STACK_EMPTY ? 0 : 1;
}

static void take_all(void) {
    uint32_t first = atoll__stack_take_all(&stack);
    for (uint32_t next = first == ATOLL__STACK_EMPTY ? 0 : first + 1; next != 0;) {
        owned[next - 1]++;
        next = atomic_load_explicit(&links[next - 1], memory_order_relaxed);
        out[3]++;
    }
}

static void check(void) {
    uint32_t left = 0;
    bool seen[INDICES] = {false};
    for (uint32_t index = take(); index != ATOLL__STACK_EMPTY; index = take()) {
        MODEL_CHECK(!seen[index]);
        seen[index] = true;
        left++;
    }
    MODEL_CHECK(left + out[2] + out[3] == INDICES);
}

MODEL(
    stack_owners, "stack: two threads pop and push", .setup = setup,
    .bodies = {take_give, take_two_give_first}, .check = check, .preemptions = MODEL_ALL,
    .bites = {"stack_push release", "stack_push acquire"})

MODEL(
    stack_all, "stack: one thread takes all while two pop and push", .setup = setup,
    .bodies = {take_give, take_two_give_first, take_all}, .check = check, .preemptions = 2,
    .bites = {"stack_push release", "stack_push acquire"})

/* ---- counters: here, because the shards' way from thread to thread is a stack ---- */

static atoll__counters_t counters;

static void count_setup(void) {
    memset((void *)&counters, 0, sizeof counters);
}

static void count(void) {
    uint32_t shard = atoll__counters_join(&counters);
    atoll__counters_add(&counters, shard, 1, 1);
    atoll__counters_leave(&counters, shard);
    /* What it counted itself, it sees. */
    MODEL_CHECK(atoll__counters_sum(&counters, 1) >= 1);
}

static void count_check(void) {
    MODEL_CHECK(atoll__counters_sum(&counters, 1) == 3);
}

MODEL(
    counter_handover, "counter: three threads, two shards of their own, none loses a count",
    .setup = count_setup, .bodies = {count, count, count}, .check = count_check, .preemptions = 1,
    .bites = {"stack_push release", "stack_push acquire"})
