/* The structures without locks, in order and under threads. Their interleavings are in model/. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "counter.h"
#include "harness.h"
#include "mpmc.h"
#include "publication.h"
#include "ring.h"

/* ---- ring ---- */

#define RING_CAPACITY 8u

typedef struct ring_test {
    atoll__ring_t ring;
    atoll__ring_side_t producer;
    atoll__ring_side_t consumer;
    uint64_t guard_before;
    uint64_t items[RING_CAPACITY];
    uint64_t guard_behind;
} ring_test_t;

static uint32_t ring_push(ring_test_t *test, const uint64_t *from, uint32_t count) {
    return atoll__ring_push(
        &test->ring, &test->producer, test->items, RING_CAPACITY, sizeof *from, from, count);
}

static uint32_t ring_pop(ring_test_t *test, uint64_t *to, uint32_t count) {
    return atoll__ring_pop(
        &test->ring, &test->consumer, test->items, RING_CAPACITY, sizeof *to, to, count);
}

TEST(ring_order, "a ring keeps order over its end, in batches of all sizes, never beyond itself") {
    ring_test_t test = {.guard_before = 1, .guard_behind = 2};
    uint64_t pushed = 0;
    uint64_t popped = 0;
    for (uint32_t round = 0; round < 1000; round++) {
        uint64_t batch[12];
        uint32_t wanted = round % 12;
        for (uint32_t i = 0; i < wanted; i++) batch[i] = pushed + i;
        uint32_t held = (uint32_t)(pushed - popped);
        uint32_t room = RING_CAPACITY - held;
        CHECK_EQUAL(ring_push(&test, batch, wanted), wanted < room ? wanted : room);
        pushed += wanted < room ? wanted : room;
        held = (uint32_t)(pushed - popped);
        wanted = (round * 7) % 11;
        CHECK_EQUAL(ring_pop(&test, batch, wanted), wanted < held ? wanted : held);
        for (uint32_t i = 0; i < wanted && i < held; i++) CHECK_EQUAL(batch[i], popped++);
    }
    CHECK(pushed > 1000);
    CHECK_EQUAL(test.guard_before, 1);
    CHECK_EQUAL(test.guard_behind, 2);
}

TEST(ring_corrupt, "A26: an index that a peer forged is an error on either side, no item is touched") {
    const uint32_t steps[] = {1, 2, 6, 9, 100, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        ring_test_t test = {.guard_before = 1, .guard_behind = 2};
        uint64_t batch[RING_CAPACITY] = {1, 2, 3, 4, 5, 6, 7, 8};
        CHECK_EQUAL(ring_push(&test, batch, 8), 8);
        CHECK_EQUAL(ring_pop(&test, batch, 5), 5);
        CHECK_EQUAL(ring_push(&test, batch, 5), 5);
        CHECK_EQUAL(ring_pop(&test, batch, 3), 3);
        CHECK_EQUAL(atoll__ring_room(&test.ring, &test.producer, RING_CAPACITY, 8), 3);
        /* 13 pushed, 8 popped, and the producer knows. A consumer's index past the producer's, or one that goes back: */
        uint64_t before[RING_CAPACITY];
        memcpy(before, test.items, sizeof before);
        bool sound = steps[i] <= 5;
        atomic_store(&test.ring.head, 8 + steps[i]);
        CHECK((ring_push(&test, batch, 8) == ATOLL__RING_CORRUPT) == !sound);
        if (!sound) CHECK(memcmp(before, test.items, sizeof before) == 0);
        /* A producer's index more than the capacity ahead, or one that goes back: */
        test.consumer = (atoll__ring_side_t){.own = 8, .peer = 13};
        sound = steps[i] <= 3;
        atomic_store(&test.ring.tail, 13 + steps[i]);
        memcpy(before, batch, sizeof before);
        CHECK((ring_pop(&test, batch, 8) == ATOLL__RING_CORRUPT) == !sound);
        if (!sound) CHECK(memcmp(before, batch, sizeof before) == 0);
        CHECK_EQUAL(test.guard_before, 1);
        CHECK_EQUAL(test.guard_behind, 2);
    }
}

#define RING_ITEMS 200000u

static void *ring_producer(void *argument) {
    ring_test_t *test = argument;
    uint64_t next = 0;
    while (next < RING_ITEMS) {
        uint64_t batch[5];
        uint32_t count = 1 + (uint32_t)(next % 5);
        for (uint32_t i = 0; i < count; i++) batch[i] = next + i;
        uint32_t pushed = ring_push(test, batch, count);
        if (pushed == 0) sched_yield();
        CHECK(pushed <= count);
        next += pushed;
    }
    return NULL;
}

TEST(ring_threads, "two threads pass items through a ring in order") {
    static ring_test_t test;
    memset(&test, 0, sizeof test);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, ring_producer, &test) == 0);
    uint64_t expected = 0;
    while (expected < RING_ITEMS) {
        uint64_t batch[3];
        uint32_t popped = ring_pop(&test, batch, 3);
        CHECK(popped <= 3);
        if (popped == 0) sched_yield();
        for (uint32_t i = 0; i < popped; i++) CHECK_EQUAL(batch[i], expected++);
    }
    CHECK(pthread_join(thread, NULL) == 0);
}

/* ---- mpmc ---- */

static atoll__mpmc_t *mpmc_make(uint32_t capacity) {
    size_t alignment = _Alignof(atoll__mpmc_t);
    size_t bytes = (atoll__mpmc_bytes(capacity) + alignment - 1) / alignment * alignment;
    atoll__mpmc_t *queue = aligned_alloc(alignment, bytes);
    CHECK(queue != NULL);
    atoll__mpmc_init(queue, capacity);
    return queue;
}

TEST(mpmc_order, "a queue answers full and empty, keeps order, and works wherever it is moved") {
    atoll__mpmc_t *queue = mpmc_make(8);
    uint64_t value = 0;
    uint64_t next = 0;
    uint64_t expected = 0;
    for (uint32_t round = 0; round < 100; round++) {
        CHECK_EQUAL(atoll__mpmc_pop(queue, 8, &value), ATOLL__MPMC_EMPTY);
        for (uint32_t i = 0; i < 8; i++)
            CHECK_EQUAL(atoll__mpmc_push(queue, 8, next++), ATOLL__MPMC_DONE);
        CHECK_EQUAL(atoll__mpmc_push(queue, 8, 99), ATOLL__MPMC_FULL);
        atoll__mpmc_t *moved = mpmc_make(8);
        memcpy(moved, queue, atoll__mpmc_bytes(8));
        memset(queue, 0xFF, atoll__mpmc_bytes(8));
        free(queue);
        queue = moved;
        for (uint32_t i = 0; i < 8; i++) {
            CHECK_EQUAL(atoll__mpmc_pop(queue, 8, &value), ATOLL__MPMC_DONE);
            CHECK_EQUAL(value, expected++);
        }
    }
    free(queue);
}

TEST(mpmc_busy, "while a peer stands between its two steps the answer is busy, not empty or full") {
    atoll__mpmc_t *queue = mpmc_make(2);
    uint64_t value = 0;
    /* A producer took position 0 and went away; another one filled position 1. */
    atomic_store(&queue->tail, 1);
    CHECK_EQUAL(atoll__mpmc_push(queue, 2, 7), ATOLL__MPMC_DONE);
    CHECK_EQUAL(atoll__mpmc_pop(queue, 2, &value), ATOLL__MPMC_BUSY);
    CHECK_EQUAL(atoll__mpmc_push(queue, 2, 8), ATOLL__MPMC_FULL);
    queue->cells[0].value = 6;
    atomic_store(&queue->cells[0].turn, 1);
    CHECK_EQUAL(atoll__mpmc_pop(queue, 2, &value), ATOLL__MPMC_DONE);
    CHECK_EQUAL(value, 6);
    /* A consumer took position 1 and went away. */
    atomic_store(&queue->head, 2);
    CHECK_EQUAL(atoll__mpmc_push(queue, 2, 9), ATOLL__MPMC_DONE);
    CHECK_EQUAL(atoll__mpmc_push(queue, 2, 10), ATOLL__MPMC_BUSY);
    CHECK_EQUAL(atoll__mpmc_pop(queue, 2, &value), ATOLL__MPMC_DONE);
    CHECK_EQUAL(value, 9);
    CHECK_EQUAL(atoll__mpmc_pop(queue, 2, &value), ATOLL__MPMC_EMPTY);
    free(queue);
}

#define MPMC_ITEMS 60000u

typedef struct mpmc_worker {
    atoll__mpmc_t *queue;
    _Atomic uint32_t *taken;
    uint64_t id;
    uint64_t last[2]; /* of each producer, plus one */
} mpmc_worker_t;

static void *mpmc_producer(void *argument) {
    mpmc_worker_t *worker = argument;
    for (uint64_t i = 0; i < MPMC_ITEMS; i++)
        while (atoll__mpmc_push(worker->queue, 16, worker->id << 32 | i) != ATOLL__MPMC_DONE)
            sched_yield();
    return NULL;
}

static void *mpmc_consumer(void *argument) {
    mpmc_worker_t *worker = argument;
    uint64_t value;
    while (atomic_load(worker->taken) < 2 * MPMC_ITEMS) {
        if (atoll__mpmc_pop(worker->queue, 16, &value) != ATOLL__MPMC_DONE) {
            sched_yield();
            continue;
        }
        /* What one producer pushed comes in its order. */
        CHECK((uint32_t)value >= worker->last[value >> 32]);
        worker->last[value >> 32] = (uint32_t)value + 1;
        atomic_fetch_add(worker->taken, 1);
    }
    return NULL;
}

TEST(mpmc_threads, "two producers and two consumers: each value once, each producer's in order") {
    atoll__mpmc_t *queue = mpmc_make(16);
    _Atomic uint32_t taken = 0;
    mpmc_worker_t workers[4];
    pthread_t threads[4];
    for (uint32_t i = 0; i < 4; i++) {
        workers[i] = (mpmc_worker_t){.queue = queue, .taken = &taken, .id = i % 2};
        CHECK(pthread_create(
                  &threads[i], NULL, i < 2 ? mpmc_producer : mpmc_consumer, &workers[i]) == 0);
    }
    for (uint32_t i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    uint64_t value;
    CHECK_EQUAL(atoll__mpmc_pop(queue, 16, &value), ATOLL__MPMC_EMPTY);
    CHECK_EQUAL(atomic_load(&taken), 2 * MPMC_ITEMS);
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t last = workers[2].last[i] > workers[3].last[i] ? workers[2].last[i]
                                                                : workers[3].last[i];
        CHECK_EQUAL(last, MPMC_ITEMS);
    }
    free(queue);
}

/* ---- publication ---- */

#define READERS 3u
#define STRIDE ATOLL__PUBLICATION_WORDS(2u)

TEST(publication_stalled, "a writer goes on while as many readers as there may be stand still") {
    _Atomic uint64_t words[(READERS + 2) * STRIDE];
    memset((void *)words, 0, sizeof words);
    atoll__publication_t cell = {0};
    const atoll__publication_buffers_t buffers = {words, STRIDE, READERS + 2, 2};
    uint64_t held[READERS];
    uint64_t kept[READERS];
    uint64_t value[2];
    uint64_t version = 0;
    for (uint32_t round = 0; round < 50; round++) {
        for (uint32_t i = 0; i < READERS; i++) {
            /* A reader that announced itself and stopped before it read. */
            held[i] = atomic_fetch_add(&cell.current, 1);
            kept[i] = version;
            for (uint32_t more = 0; more <= i; more++) {
                version++;
                atoll__publication_write(
                    &cell, &buffers, (const uint64_t[]){version, ~version});
            }
        }
        for (uint32_t i = 0; i < READERS; i++) {
            _Atomic uint64_t *buffer = atoll__publication_buffer(&buffers, held[i]);
            CHECK_EQUAL(atomic_load(&buffer[ATOLL__VALUE]), kept[i]);
            atomic_fetch_add(&buffer[ATOLL__LEFT], 1);
        }
        atoll__publication_read(&cell, &buffers, value);
        CHECK_EQUAL(value[0], version);
        CHECK_EQUAL(value[1], ~version);
    }
}

typedef struct publication_test {
    atoll__publication_t cell;
    atoll__publication_buffers_t buffers;
    _Atomic uint32_t over;
} publication_test_t;

static void *publication_reader(void *argument) {
    publication_test_t *test = argument;
    uint64_t last = 0;
    while (atomic_load(&test->over) == 0) {
        uint64_t value[2];
        atoll__publication_read(&test->cell, &test->buffers, value);
        CHECK_EQUAL(value[1], value[0] * 3);
        CHECK(value[0] >= last);
        last = value[0];
    }
    return NULL;
}

TEST(publication_threads, "readers see whole values, never an older one, while a writer never rests") {
    static publication_test_t test;
    static _Atomic uint64_t words[(READERS + 2) * STRIDE];
    test.buffers = (atoll__publication_buffers_t){words, STRIDE, READERS + 2, 2};
    atomic_store(&test.over, 0);
    pthread_t threads[READERS];
    for (uint32_t i = 0; i < READERS; i++)
        CHECK(pthread_create(&threads[i], NULL, publication_reader, &test) == 0);
    for (uint64_t version = 1; version < 20000; version++)
        atoll__publication_write(
            &test.cell, &test.buffers, (const uint64_t[]){version, version * 3});
    atomic_store(&test.over, 1);
    for (uint32_t i = 0; i < READERS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

/* ---- counters ---- */

static atoll__counters_t counters;

static void *counting_main(void *argument) {
    (void)argument;
    for (uint32_t round = 0; round < 40; round++) {
        uint32_t shard = atoll__counters_join(&counters);
        for (uint32_t i = 0; i < 50; i++) atoll__counters_add(&counters, shard, round % 8, 2);
        atoll__counters_leave(&counters, shard);
    }
    return NULL;
}

TEST(counter_threads, "threads that come and go lose no count, also when there are no shards left") {
    uint32_t shards[ATOLL__SHARDS_MAX];
    for (uint32_t round = 0; round < 2; round++) {
        pthread_t threads[4];
        for (uint32_t i = 0; i < 4; i++)
            CHECK(pthread_create(&threads[i], NULL, counting_main, NULL) == 0);
        for (uint32_t i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
        for (uint32_t i = 0; i < 8; i++)
            CHECK_EQUAL(atoll__counters_sum(&counters, i), (round + 1) * 4 * 5 * 50 * 2);
        /* The second time, all but shard 0 are taken. */
        for (uint32_t i = 0; i < ATOLL__SHARDS_MAX && round == 0; i++)
            shards[i] = atoll__counters_join(&counters);
    }
    CHECK_EQUAL(shards[ATOLL__SHARDS_MAX - 1], 0);
    CHECK(shards[ATOLL__SHARDS_MAX - 2] != 0);
}
