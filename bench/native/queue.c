/* Values passed from producers to consumers: nanoseconds a value, by the clock on the wall.
 *
 * Owns: Atoll's side of the bench. Its rules are the peers' as well (bench/peers): 64-bit values, a
 * capacity of 1024, thread i bound to processor i % 2, producers first; who finds the queue full or
 * empty pauses 1, 2, 4 … 64 times and then lets another thread run. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

#define CAPACITY 1024u
#define THREADS_MAX 4u
#define SPINS_MAX 64u

typedef struct work {
    pthread_t thread;
    uint32_t index;
    uint64_t values;
    uint64_t sum; /* a consumer's */
} work_t;

static atoll__mpmc_t *queue;
static struct {
    atoll__ring_t ring;
    _Alignas(ATOLL__LINE_BYTES) uint64_t items[CAPACITY];
    _Alignas(ATOLL__LINE_BYTES) atoll__ring_side_t producer;
    _Alignas(ATOLL__LINE_BYTES) atoll__ring_side_t consumer;
} spsc;

static void bind_thread(uint32_t index) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(index % 2, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

static void wait_a_little(uint32_t *spins) {
    if (*spins > SPINS_MAX) {
        (void)sched_yield();
        return;
    }
    for (uint32_t i = 0; i < *spins; i++) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("isb");
#endif
    }
    *spins *= 2;
}

static void *mpmc_produce(void *argument) {
    work_t *work = argument;
    bind_thread(work->index);
    for (uint64_t value = 1; value <= work->values; value++)
        for (uint32_t spins = 1; atoll__mpmc_push(queue, CAPACITY, value) != ATOLL__MPMC_DONE;)
            wait_a_little(&spins);
    return NULL;
}

static void *mpmc_consume(void *argument) {
    work_t *work = argument;
    bind_thread(work->index);
    for (uint64_t i = 0; i < work->values; i++) {
        uint64_t value;
        for (uint32_t spins = 1; atoll__mpmc_pop(queue, CAPACITY, &value) != ATOLL__MPMC_DONE;)
            wait_a_little(&spins);
        work->sum += value;
    }
    return NULL;
}

static void *spsc_produce(void *argument) {
    work_t *work = argument;
    bind_thread(work->index);
    for (uint64_t value = 1; value <= work->values; value++)
        for (uint32_t spins = 1; atoll__ring_push(
                                     &spsc.ring, &spsc.producer, spsc.items, CAPACITY,
                                     sizeof value, &value, 1) != 1;)
            wait_a_little(&spins);
    return NULL;
}

static void *spsc_consume(void *argument) {
    work_t *work = argument;
    bind_thread(work->index);
    for (uint64_t i = 0; i < work->values; i++) {
        uint64_t value = 0;
        for (uint32_t spins = 1; atoll__ring_pop(
                                     &spsc.ring, &spsc.consumer, spsc.items, CAPACITY,
                                     sizeof value, &value, 1) != 1;)
            wait_a_little(&spins);
        work->sum += value;
    }
    return NULL;
}

/* Passes that many values through; half of the threads produce. */
static void pass(
    uint64_t values, uint32_t pairs, void *(*produce)(void *), void *(*consume)(void *)) {
    work_t work[THREADS_MAX] = {0};
    uint64_t each = values / pairs;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 2 * pairs; i++) {
        work[i] = (work_t){.index = i, .values = each};
        if (pthread_create(&work[i].thread, NULL, i < pairs ? produce : consume, &work[i]) != 0)
            abort();
    }
    for (uint32_t i = 0; i < 2 * pairs; i++) {
        (void)pthread_join(work[i].thread, NULL);
        sum += work[i].sum;
    }
    if (sum != pairs * (each * (each + 1) / 2)) abort();
}

static uint64_t now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    const char *name = arguments[1];
    uint64_t values = strtoull(arguments[2], NULL, 10);
    bool is_ring = strcmp(name, "spsc") == 0;
    uint32_t pairs = strcmp(name, "mpmc-2x2") == 0 ? 2 : 1;
    queue = atoll__prim_reserve(atoll__mpmc_bytes(CAPACITY));
    if (queue == NULL) return 1;
    atoll__mpmc_init(queue, CAPACITY);
    void *(*produce)(void *) = is_ring ? spsc_produce : mpmc_produce;
    void *(*consume)(void *) = is_ring ? spsc_consume : mpmc_consume;
    pass(values / 4 + pairs, pairs, produce, consume);
    uint64_t begin = now_ns();
    pass(values, pairs, produce, consume);
    double each = (double)(now_ns() - begin) / (double)values;
    printf("{\"case\":\"%s\",\"value\":%.4f}\n", name, each);
    return 0;
}
