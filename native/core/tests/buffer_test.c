/* Buffers that several holders share. */
#include <string.h>

#include "buffer.h"
#include "harness.h"

static atoll__buffer_t *shared;

static void *buffer_holder(void *unused) {
    (void)unused;
    for (uint32_t i = 0; i < 20000; i++) {
        atoll__buffer_acquire(shared);
        CHECK_EQUAL(shared->bytes[i % 1000], 'b');
        atoll__buffer_release(shared);
    }
    /* What main gave this thread. */
    atoll__buffer_release(shared);
    return NULL;
}

TEST(buffer_shared, "reclaim: a shared buffer stays until its last holder has let go") {
    shared = atoll__buffer_new(1000);
    CHECK(shared != NULL);
    CHECK_EQUAL((uintptr_t)shared->bytes % 16, 0);
    CHECK(atoll__buffer_of(shared->bytes) == shared);
    memset(shared->bytes, 'b', 1000);
    pthread_t threads[2];
    for (uint32_t i = 0; i < 2; i++) {
        atoll__buffer_acquire(shared);
        CHECK(pthread_create(&threads[i], NULL, buffer_holder, NULL) == 0);
    }
    for (uint32_t i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_EQUAL(atomic_load(&shared->holders), 1);
    CHECK_EQUAL(shared->bytes[999], 'b');
    atoll__buffer_release(shared);
    CHECK(atoll__buffer_new(UINT64_MAX) == NULL);
}

static _Atomic uint32_t read_step;

static void *buffer_read_once(void *unused) {
    (void)unused;
    CHECK_EQUAL(shared->bytes[7], 'b');
    atoll__buffer_release(shared);
    /* Says so in a way that orders nothing. */
    atomic_store_explicit(&read_step, 1, memory_order_relaxed);
    while (atomic_load_explicit(&read_step, memory_order_relaxed) == 1) atoll__prim_pause();
    return NULL;
}

/* The thread checker fails this one when the last release only comes later. */
TEST(buffer_ordered, "reclaim: the last holder frees a buffer after the reads of all the others") {
    shared = atoll__buffer_new(100);
    CHECK(shared != NULL);
    memset(shared->bytes, 'b', 100);
    atoll__buffer_acquire(shared);
    atomic_store(&read_step, 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, buffer_read_once, NULL) == 0);
    while (atomic_load_explicit(&read_step, memory_order_relaxed) == 0) atoll__prim_pause();
    CHECK_EQUAL(atomic_load_explicit(&shared->holders, memory_order_relaxed), 1);
    atoll__buffer_release(shared);
    atomic_store_explicit(&read_step, 2, memory_order_relaxed);
    CHECK(pthread_join(thread, NULL) == 0);
}
