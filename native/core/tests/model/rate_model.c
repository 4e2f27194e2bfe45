/* The bucket: threads that come at once take what is there, each token once. */
#include "checker.h"
#include "rate.h"

#define TOKENS 2u
#define NOW_NS 1u

static atoll__rate_t rate;
static uint32_t out[MODEL_THREADS];

static void setup(void) {
    atomic_store_explicit(&rate.full_ns, 0, memory_order_relaxed);
    for (uint32_t i = 0; i < MODEL_THREADS; i++) out[i] = 0;
}

static void take_one(uint32_t thread) {
    out[thread] += atoll__rate_take(&rate, TOKENS, NOW_NS) ? 1 : 0;
}

static void first(void) {
    take_one(1);
    take_one(1);
}

static void second(void) {
    take_one(2);
}

static void third(void) {
    take_one(3);
}

static void check(void) {
    MODEL_CHECK(out[1] + out[2] + out[3] == TOKENS);
    MODEL_CHECK(!atoll__rate_take(&rate, TOKENS, NOW_NS));
}

MODEL(
    rate_tokens, "rate: three threads take one more than there is", .setup = setup,
    .bodies = {first, second, third}, .check = check, .preemptions = MODEL_ALL)

/* ---- what must be found ---- */

static void take_apart(void) {
    uint64_t full_ns = atomic_load_explicit(&rate.full_ns, memory_order_relaxed);
    uint64_t next_ns = (full_ns > NOW_NS ? full_ns : NOW_NS) + ATOLL__RATE_SECOND_NS / TOKENS;
    if (next_ns - NOW_NS > ATOLL__RATE_SECOND_NS) return;
    atomic_store_explicit(&rate.full_ns, next_ns, memory_order_relaxed);
    out[2]++;
}

MODEL(
    rate_apart, "rate: a load and a store where an exchange belongs", .setup = setup,
    .bodies = {take_apart, first, third}, .check = check, .preemptions = MODEL_ALL,
    .mistake = "a token that two threads take")
