/* The ring: order, no race on the items. */
#include <string.h>

#include "checker.h"
#include "ring.h"

#define CAPACITY 2u

static atoll__ring_t ring;
static atoll__ring_side_t producer;
static atoll__ring_side_t consumer;
static uint64_t items[CAPACITY];
static uint64_t popped;

static void setup(void) {
    memset((void *)&ring, 0, sizeof ring);
    producer = (atoll__ring_side_t){0};
    consumer = (atoll__ring_side_t){0};
    popped = 0;
}

static void push(uint32_t count) {
    uint64_t batch[2] = {producer.own + 1u, producer.own + 2u};
    uint32_t pushed = atoll__ring_push(
        &ring, &producer, items, CAPACITY, sizeof *items, batch, count);
    MODEL_CHECK(pushed <= count);
}

static void pop(uint32_t count) {
    uint64_t batch[2];
    uint32_t got = atoll__ring_pop(&ring, &consumer, items, CAPACITY, sizeof *items, batch, count);
    MODEL_CHECK(got <= count);
    for (uint32_t i = 0; i < got; i++) MODEL_CHECK(batch[i] == ++popped);
}

static void produce(void) {
    push(1);
    push(2);
    push(1);
    push(1);
}

static void consume(void) {
    pop(1);
    pop(1);
    pop(2);
}

static void check(void) {
    pop(2);
    MODEL_CHECK(popped == producer.own);
}

MODEL(
    ring_sides, "ring: a producer and a consumer, over the end", .setup = setup,
    .bodies = {produce, consume}, .check = check, .preemptions = MODEL_ALL,
    .bites = {
        "ring_pushed release", "ring_pushed acquire", "ring_popped release",
        "ring_popped acquire"})
