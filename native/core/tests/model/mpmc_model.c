/* The bounded queue: nothing lost, nothing twice, linearizable, no race on the values. */
#include "checker.h"
#include "history.h"
#include "mpmc.h"

#define CAPACITY 2u

static _Alignas(128) uint8_t memory[sizeof(atoll__mpmc_t) + CAPACITY * sizeof(atoll__mpmc_cell_t)];

static atoll__mpmc_t *queue(void) {
    return (atoll__mpmc_t *)(void *)memory;
}

static void push(uint64_t value) {
    model_moment_t begin = model_now();
    atoll__mpmc_answer_t answer = atoll__mpmc_push(queue(), CAPACITY, value);
    if (answer != ATOLL__MPMC_BUSY)
        history_add(answer == ATOLL__MPMC_DONE ? PUSHED : FULL, value, &begin);
}

static void pop(void) {
    model_moment_t begin = model_now();
    uint64_t value = 0;
    atoll__mpmc_answer_t answer = atoll__mpmc_pop(queue(), CAPACITY, &value);
    if (answer != ATOLL__MPMC_BUSY)
        history_add(answer == ATOLL__MPMC_DONE ? POPPED : EMPTY, value, &begin);
}

static void setup(void) {
    history_clear();
    atoll__mpmc_init(queue(), CAPACITY);
}

/* The rest is popped by who checks: at the end nothing is missing. */
static void check(void) {
    for (uint32_t i = 0; i <= CAPACITY; i++) pop();
    history_check(CAPACITY);
}

static void push_three(void) {
    for (uint64_t i = 1; i <= 3; i++) push(i);
}

static void pop_three(void) {
    for (uint32_t i = 0; i < 3; i++) pop();
}

static void push_one(void) {
    push(11);
}

static void push_two(void) {
    push(21);
    push(22);
}

static void push_pop(void) {
    push(31);
    pop();
}

MODEL(
    mpmc_laps, "mpmc: one producer, one consumer, more values than places", .setup = setup,
    .bodies = {push_three, pop_three}, .check = check, .preemptions = MODEL_ALL,
    .bites = {
        "mpmc_filled release", "mpmc_filled acquire", "mpmc_emptied release",
        "mpmc_emptied acquire", "mpmc_place seq_cst"})

MODEL(
    mpmc_two, "mpmc: two producers, two consumers", .setup = setup,
    .bodies = {push_one, push_two, pop, pop}, .check = check, .preemptions = 2,
    .bites = {"mpmc_filled release", "mpmc_filled acquire"})

MODEL(
    mpmc_both, "mpmc: three threads, each on both sides", .setup = setup,
    .bodies = {push_pop, push_pop, push_pop}, .check = check, .preemptions = 1,
    .bites = {"mpmc_filled release", "mpmc_emptied acquire"})
