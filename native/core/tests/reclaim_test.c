/* Hazard pointers, epochs, read-copy-update cells: torture, stalled readers, threads that end. */
#include <stdlib.h>

#include "epoch.h"
#include "harness.h"
#include "hazard.h"
#include "rcu.h"

/* ---- objects that show when they are read after their release ---- */

#define ALIVE 0xA11FEu
#define POISON 0xDDDDDDDDu

typedef struct object {
    atoll__retired_t retired;
    uint32_t state; /* plain: a read that races with the release is a finding of the checkers */
    uint32_t values[2];
} object_t;

static _Atomic uint32_t objects_made;
static _Atomic uint32_t objects_released;

static object_t *object_new(uint32_t value) {
    object_t *object = malloc(sizeof *object);
    CHECK(object != NULL);
    object->state = ALIVE;
    object->values[0] = object->values[1] = value;
    atomic_fetch_add(&objects_made, 1);
    return object;
}

static void object_release(atoll__retired_t *retired) {
    object_t *object = (object_t *)retired;
    CHECK_EQUAL(object->state, ALIVE);
    object->state = POISON;
    object->values[0] = 1;
    object->values[1] = 2;
    atomic_fetch_add(&objects_released, 1);
    free(object);
}

static void object_check(const object_t *object) {
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_EQUAL(object->state, ALIVE);
        CHECK_EQUAL(object->values[0], object->values[1]);
        ATOLL__WINDOW();
    }
}

static void objects_begin(void) {
    atomic_store(&objects_made, 0);
    atomic_store(&objects_released, 0);
    CHECK_EQUAL(atoll__hazard_waiting(), 0);
    CHECK_EQUAL(atoll__epoch_waiting(), 0);
}

static void objects_end(void) {
    atoll__epoch_drain();
    atoll__hazard_scan();
    CHECK_EQUAL(atomic_load(&objects_released), atomic_load(&objects_made));
    CHECK_EQUAL(atoll__hazard_waiting(), 0);
    CHECK_EQUAL(atoll__epoch_waiting(), 0);
}

static void run_thread(void *(*body)(void *), void *argument) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, body, argument) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* ---- torture: readers of two places that writers never leave alone ---- */

#define PLACES 2u
#define READERS 2u
#define SWAPS 20000u

static _Atomic(atoll__retired_t *) places[PLACES];
static atoll__rcu_t cells[PLACES];
static pthread_mutex_t cells_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint32_t over;
static _Atomic uint64_t reads;

static void *hazard_reader(void *unused) {
    (void)unused;
    atoll__hazard_t *hazards[PLACES] = {atoll__hazard_take(), atoll__hazard_take()};
    CHECK(hazards[0] != NULL && hazards[1] != NULL && hazards[0] != hazards[1]);
    while (atomic_load(&over) == 0) {
        const object_t *seen[PLACES];
        for (uint32_t i = 0; i < PLACES; i++)
            seen[i] = (const object_t *)atoll__hazard_protect(hazards[i], &places[i]);
        for (uint32_t i = 0; i < PLACES; i++) object_check(seen[i]);
        atomic_fetch_add_explicit(&reads, 1, memory_order_relaxed);
    }
    for (uint32_t i = 0; i < PLACES; i++) {
        atoll__hazard_reset(hazards[i]);
        atoll__hazard_give(hazards[i]);
    }
    return NULL;
}

static void *hazard_writer(void *unused) {
    (void)unused;
    uint32_t swaps = test_rounds(SWAPS);
    for (uint32_t i = 0; i < swaps; i++) {
        object_t *next = object_new(i);
        atoll__retired_t *before = atomic_exchange_explicit(
            &places[i % PLACES], &next->retired, memory_order_acq_rel);
        ATOLL__WINDOW();
        atoll__hazard_retire(before, object_release);
        /* Soon, so that a reader who is between its load and its look finds the object gone. */
        if (i % 4 == 0) atoll__hazard_scan();
        /* Batch and records of each of three threads. */
        CHECK(atoll__hazard_waiting() < 3 * (ATOLL__HAZARD_BATCH + 2 * 512));
    }
    return NULL;
}

/* Two readers and two writers until the writers have done. */
static void torture(void *(*reader)(void *), void *(*writer)(void *)) {
    pthread_t threads[READERS + 2];
    atomic_store(&over, 0);
    atomic_store(&reads, 0);
    for (uint32_t i = 0; i < READERS; i++)
        CHECK(pthread_create(&threads[i], NULL, reader, NULL) == 0);
    while (atomic_load(&reads) == 0) atoll__prim_pause();
    for (uint32_t i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[READERS + i], NULL, writer, NULL) == 0);
    for (uint32_t i = 0; i < 2; i++) CHECK(pthread_join(threads[READERS + i], NULL) == 0);
    atomic_store(&over, 1);
    for (uint32_t i = 0; i < READERS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

TEST(hazard_torture, "reclaim: hazard pointers keep what is read while writers replace it") {
    objects_begin();
    for (uint32_t i = 0; i < PLACES; i++) atomic_store(&places[i], &object_new(0)->retired);
    torture(hazard_reader, hazard_writer);
    for (uint32_t i = 0; i < PLACES; i++)
        atoll__hazard_retire(atomic_exchange(&places[i], NULL), object_release);
    objects_end();
}

static void *epoch_reader(void *unused) {
    (void)unused;
    while (atomic_load(&over) == 0) {
        atoll__pin_t outer = atoll__epoch_pin();
        CHECK(outer.reader != NULL);
        const object_t *first = atoll__rcu_read(&cells[0]);
        object_check(first);
        atoll__pin_t inner = atoll__epoch_pin();
        const object_t *second = atoll__rcu_read(&cells[1]);
        object_check(second);
        atoll__epoch_unpin(inner);
        object_check(second);
        object_check(first);
        atoll__epoch_unpin(outer);
        atomic_fetch_add_explicit(&reads, 1, memory_order_relaxed);
    }
    return NULL;
}

static void *epoch_writer(void *unused) {
    (void)unused;
    uint32_t swaps = test_rounds(SWAPS);
    for (uint32_t i = 0; i < swaps; i++) {
        CHECK(pthread_mutex_lock(&cells_lock) == 0);
        atoll__rcu_t *cell = &cells[i % PLACES];
        const object_t *own = atoll__rcu_own(cell);
        /* Copied and changed: no update of the other writer is lost. */
        object_t *next = object_new(own->values[0] + 1);
        atoll__rcu_publish(cell, &next->retired, object_release);
        CHECK(pthread_mutex_unlock(&cells_lock) == 0);
        CHECK(atoll__epoch_waiting() <= ATOLL__EPOCH_GARBAGE_MAX + 2);
    }
    return NULL;
}

TEST(epoch_torture, "reclaim: epochs keep what is read while writers copy and replace it") {
    objects_begin();
    for (uint32_t i = 0; i < PLACES; i++)
        atoll__rcu_publish(&cells[i], &object_new(0)->retired, object_release);
    torture(epoch_reader, epoch_writer);
    for (uint32_t i = 0; i < PLACES; i++) {
        const object_t *last = atoll__rcu_own(&cells[i]);
        CHECK_EQUAL(last->values[0], test_rounds(SWAPS));
        atoll__rcu_publish(&cells[i], NULL, object_release);
    }
    objects_end();
}

/* ---- hazard pointers, step by step ---- */

TEST(hazard_stalled, "reclaim: a reader that never lets go keeps its one object, and no other") {
    objects_begin();
    atomic_store(&places[0], &object_new(7)->retired);
    atoll__hazard_t *hazard = atoll__hazard_take();
    const object_t *held = (const object_t *)atoll__hazard_protect(hazard, &places[0]);
    for (uint32_t i = 0; i < 10000; i++) {
        object_t *next = object_new(i);
        atoll__hazard_retire(atomic_exchange(&places[0], &next->retired), object_release);
        CHECK(atomic_load(&objects_made) - atomic_load(&objects_released) < 2000);
    }
    atoll__hazard_scan();
    CHECK_EQUAL(atoll__hazard_waiting(), 1);
    object_check(held);
    CHECK_EQUAL(held->values[0], 7);
    /* Protecting another lets go of it. */
    (void)atoll__hazard_protect(hazard, &places[0]);
    atoll__hazard_scan();
    CHECK_EQUAL(atoll__hazard_waiting(), 0);
    atoll__hazard_retire(atomic_exchange(&places[0], NULL), object_release);
    atoll__hazard_scan();
    CHECK_EQUAL(atoll__hazard_waiting(), 1);
    CHECK(atoll__hazard_protect(hazard, &places[0]) == NULL);
    atoll__hazard_give(hazard);
    objects_end();
}

#define MANY 300u

TEST(hazard_many, "reclaim: more protected objects than one round of a scan looks up") {
    objects_begin();
    static _Atomic(atoll__retired_t *) many[MANY];
    static atoll__hazard_t *hazards[MANY];
    for (uint32_t i = 0; i < MANY; i++) {
        hazards[i] = atoll__hazard_take();
        atomic_store(&many[i], &object_new(i)->retired);
        CHECK(atoll__hazard_protect(hazards[i], &many[i]) == atomic_load(&many[i]));
    }
    for (uint32_t i = 0; i < MANY; i++)
        atoll__hazard_retire(atomic_exchange(&many[i], NULL), object_release);
    atoll__hazard_scan();
    CHECK_EQUAL(atoll__hazard_waiting(), MANY);
    for (uint32_t i = 0; i < MANY; i += 3) atoll__hazard_reset(hazards[i]);
    atoll__hazard_scan();
    CHECK_EQUAL(atoll__hazard_waiting(), MANY - MANY / 3);
    for (uint32_t i = 0; i < MANY; i++) {
        atoll__hazard_reset(hazards[i]);
        atoll__hazard_give(hazards[i]);
    }
    objects_end();
}

static void *hazard_retire_ten(void *unused) {
    (void)unused;
    for (uint32_t i = 0; i < 10; i++) {
        object_t *object = object_new(i);
        if (i == 5) atoll__hazard_retire(atomic_exchange(&places[0], NULL), object_release);
        atoll__hazard_retire(&object->retired, object_release);
    }
    return NULL;
}

TEST(hazard_thread_end, "reclaim: what an ended thread retired is released by another") {
    objects_begin();
    atomic_store(&places[0], &object_new(3)->retired);
    atoll__hazard_t *hazard = atoll__hazard_take();
    const object_t *held = (const object_t *)atoll__hazard_protect(hazard, &places[0]);
    run_thread(hazard_retire_ten, NULL);
    CHECK_EQUAL(atoll__hazard_waiting(), 11);
    atoll__hazard_scan();
    CHECK_EQUAL(atoll__hazard_waiting(), 1);
    object_check(held);
    atoll__hazard_reset(hazard);
    atoll__hazard_give(hazard);
    objects_end();
}

static void *hazard_take_one(void *argument) {
    atoll__hazard_t *hazard = atoll__hazard_take();
    atoll__hazard_give(hazard);
    /* The thread's own again, before a new one. */
    CHECK(atoll__hazard_take() == hazard);
    atoll__hazard_give(hazard);
    *(atoll__hazard_t **)argument = hazard;
    return NULL;
}

TEST(hazard_reuse, "reclaim: records of ended threads are used again") {
    atoll__hazard_t *first = NULL;
    atoll__hazard_t *next = NULL;
    run_thread(hazard_take_one, &first);
    for (uint32_t i = 0; i < 20; i++) {
        run_thread(hazard_take_one, &next);
        CHECK(next == first);
    }
}

/* ---- epochs, step by step ---- */

typedef struct holder {
    _Atomic uint32_t pinned;
    _Atomic uint32_t go_on;
    bool nested;
} holder_t;

static void *hold_pin(void *argument) {
    holder_t *holder = argument;
    atoll__pin_t pin = atoll__epoch_pin();
    if (holder->nested) atoll__epoch_unpin(atoll__epoch_pin());
    atomic_store(&holder->pinned, 1);
    while (atomic_load(&holder->go_on) == 0) atoll__prim_pause();
    atoll__epoch_unpin(pin);
    return NULL;
}

static void hold_begin(holder_t *holder, pthread_t *thread) {
    CHECK(pthread_create(thread, NULL, hold_pin, holder) == 0);
    while (atomic_load(&holder->pinned) == 0) atoll__prim_pause();
}

static void hold_end(holder_t *holder, pthread_t thread) {
    atomic_store(&holder->go_on, 1);
    CHECK(pthread_join(thread, NULL) == 0);
}

TEST(epoch_pinned, "reclaim: nothing is released while one who may have it is pinned, also nested") {
    for (uint32_t i = 0; i < 2; i++) {
        objects_begin();
        holder_t holder = {.nested = i == 1};
        pthread_t thread;
        hold_begin(&holder, &thread);
        atoll__epoch_retire(&object_new(1)->retired, object_release);
        for (uint32_t k = 0; k < 10; k++) atoll__epoch_collect();
        CHECK_EQUAL(atomic_load(&objects_released), 0);
        CHECK_EQUAL(atoll__epoch_behind(), 1);
        hold_end(&holder, thread);
        CHECK_EQUAL(atoll__epoch_behind(), 0);
        objects_end();
    }
}

TEST(epoch_two, "reclaim: an object outlives the epoch in which it was retired and the next") {
    objects_begin();
    /* A pin of the epoch before the retirement must not be what keeps it. */
    atoll__epoch_unpin(atoll__epoch_pin());
    atoll__epoch_retire(&object_new(1)->retired, object_release);
    atoll__epoch_collect();
    CHECK_EQUAL(atomic_load(&objects_released), 0);
    /* A reader of the second epoch may have read the clock before the object was unlinked. */
    holder_t holder = {.nested = false};
    pthread_t thread;
    hold_begin(&holder, &thread);
    atoll__epoch_collect();
    CHECK_EQUAL(atomic_load(&objects_released), 1);
    atoll__epoch_retire(&object_new(2)->retired, object_release);
    for (uint32_t k = 0; k < 10; k++) atoll__epoch_collect();
    CHECK_EQUAL(atomic_load(&objects_released), 1);
    hold_end(&holder, thread);
    objects_end();
}

static _Atomic uint32_t retired_so_far;

#define FLOOD (ATOLL__EPOCH_GARBAGE_MAX + 500u)

static void *retire_flood(void *unused) {
    (void)unused;
    for (uint32_t i = 0; i < FLOOD; i++) {
        atoll__epoch_retire(&object_new(i)->retired, object_release);
        atomic_store(&retired_so_far, i + 1);
    }
    return NULL;
}

TEST(epoch_stalled, "reclaim: a stalled reader is counted, and its garbage is bounded") {
    objects_begin();
    holder_t holder = {.nested = false};
    pthread_t thread;
    pthread_t writer;
    hold_begin(&holder, &thread);
    atomic_store(&retired_so_far, 0);
    CHECK(pthread_create(&writer, NULL, retire_flood, NULL) == 0);
    EVENTUALLY(atoll__epoch_waiting() > ATOLL__EPOCH_GARBAGE_MAX);
    for (uint32_t i = 0; i < 20; i++) {
        CHECK_EQUAL(atoll__epoch_waiting(), ATOLL__EPOCH_GARBAGE_MAX + 1);
        CHECK_EQUAL(atomic_load(&retired_so_far), ATOLL__EPOCH_GARBAGE_MAX);
        CHECK_EQUAL(atoll__epoch_behind(), 1);
        CHECK_EQUAL(atomic_load(&objects_released), 0);
        atoll__prim_pause();
    }
    hold_end(&holder, thread);
    CHECK(pthread_join(writer, NULL) == 0);
    CHECK_EQUAL(atomic_load(&retired_so_far), FLOOD);
    objects_end();
}

static void *epoch_retire_five(void *unused) {
    (void)unused;
    atoll__epoch_unpin(atoll__epoch_pin());
    for (uint32_t i = 0; i < 5; i++)
        atoll__epoch_retire(&object_new(i)->retired, object_release);
    return NULL;
}

TEST(epoch_thread_end, "reclaim: what an ended thread retired is released, and its record reused") {
    objects_begin();
    for (uint32_t i = 0; i < 20; i++) run_thread(epoch_retire_five, NULL);
    objects_end();
    CHECK_EQUAL(atomic_load(&objects_released), 100);
}

/* ---- the end of a read ---- */

static _Atomic uint32_t read_step;

/* Says that it has read, in a way that orders nothing. */
static void read_over(void) {
    atomic_store_explicit(&read_step, 1, memory_order_relaxed);
    while (atomic_load_explicit(&read_step, memory_order_relaxed) == 1) atoll__prim_pause();
}

static void *read_by_hazard(void *unused) {
    (void)unused;
    atoll__hazard_t *hazard = atoll__hazard_take();
    object_check((const object_t *)atoll__hazard_protect(hazard, &places[0]));
    atoll__hazard_reset(hazard);
    read_over();
    atoll__hazard_give(hazard);
    return NULL;
}

static void *read_by_epoch(void *unused) {
    (void)unused;
    atoll__pin_t pin = atoll__epoch_pin();
    object_check(atoll__rcu_read(&cells[0]));
    atoll__epoch_unpin(pin);
    read_over();
    return NULL;
}

/* The thread checker fails this one when the release does not follow the read, but only comes later. */
TEST(read_ordered, "reclaim: a release comes after the reads of who has let go, for the memory too") {
    objects_begin();
    for (uint32_t i = 0; i < 2; i++) {
        atomic_store(&places[0], &object_new(1)->retired);
        atoll__rcu_publish(&cells[0], &object_new(1)->retired, object_release);
        atomic_store(&read_step, 0);
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, i == 0 ? read_by_hazard : read_by_epoch, NULL) == 0);
        while (atomic_load_explicit(&read_step, memory_order_relaxed) == 0) atoll__prim_pause();
        atoll__hazard_retire(atomic_exchange(&places[0], NULL), object_release);
        atoll__rcu_publish(&cells[0], NULL, object_release);
        atoll__hazard_scan();
        atoll__epoch_drain();
        CHECK_EQUAL(atomic_load(&objects_released), 2 * (i + 1));
        atomic_store_explicit(&read_step, 2, memory_order_relaxed);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    objects_end();
}
