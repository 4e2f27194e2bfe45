/* Hazard pointers, with hazard.c and fence.c themselves: nobody reads what was released, everything
 * is released in the end, once. */
#include "reclaim.h"

#include "../../src/fence.c"
#include "../../src/hazard.c"

/* ---- what they call ---- */

atoll__thread_t *atoll__thread_make(void) {
    abort();
}
bool atoll__prim_barrier_register(void) {
    return true;
}
bool atoll__prim_barrier(void) {
    model_barrier("fence_heavy barrier");
    return true;
}
void atoll__prim_pause(void) {
}

/* ---- the model ---- */

static _Atomic(atoll__retired_t *) shared;

static void setup(void) {
    reclaim_setup();
    atoll__fence_open();
    atomic_store(&atoll__fence_paid, 0);
    atomic_store(&known, NULL);
    atomic_store(&known_count, 0);
    atomic_store(&orphans, NULL);
    atomic_store(&waiting, 0);
    objects[0].alive = 1;
    atomic_store(&shared, &objects[0].retired);
}

/* As where the kernel has no barrier: readers pay for their fence. */
static void setup_paid(void) {
    setup();
    atomic_store(&atoll__fence_paid, 1);
}

static void read_with(atoll__retired_t *(*protect)(atoll__hazard_t *)) {
    atoll__hazard_t *hazard = atoll__hazard_take();
    object_use(protect(hazard));
    atoll__hazard_reset(hazard);
    atoll__hazard_give(hazard);
    atoll__hazard_leave(atoll__thread_state);
}

static atoll__retired_t *protect_shared(atoll__hazard_t *hazard) {
    return atoll__hazard_protect(hazard, &shared);
}

static void read_one(void) {
    read_with(protect_shared);
}

/* Does not look whether the object still is there once it is announced. */
static atoll__retired_t *protect_blindly(atoll__hazard_t *hazard) {
    atoll__retired_t *seen = atomic_load_explicit(&shared, memory_order_acquire);
    atomic_store_explicit(&hazard->object, seen, memory_order_release);
    atoll__fence_light();
    return seen;
}

static void read_blindly(void) {
    read_with(protect_blindly);
}

static void replace(uint32_t next) {
    objects[next].alive = 1;
    atoll__retired_t *before =
        atomic_exchange_explicit(&shared, &objects[next].retired, memory_order_acq_rel);
    atoll__hazard_retire(before, object_release);
}

static void replace_scan(void) {
    replace(1);
    atoll__hazard_scan();
}

/* The thread ends with what it has retired: another one's scan releases it. */
static void replace_leave(void) {
    replace(1);
    atoll__hazard_leave(atoll__thread_state);
}

/* Looks before there is anything, as the warden may. */
static void scan_twice(void) {
    atoll__hazard_scan();
    atoll__hazard_scan();
}

static void check(void) {
    /* Of the writer's list: the rest is nobody's but the threads' that have not ended. */
    for (uint32_t i = 1; i < MODEL_THREADS; i++) atoll__hazard_leave(&states[i]);
    atoll__hazard_scan();
    MODEL_CHECK(atoll__hazard_waiting() == 0);
    reclaim_check(1);
}

MODEL(
    hazard_one, "hazard: a reader, and a writer who replaces what it reads", .setup = setup,
    .bodies = {read_one, replace_scan}, .check = check, .preemptions = MODEL_ALL, .enter = enter,
    .bites = {
        "hazard_set release", "hazard_set acquire", "hazard_seen acquire", "hazard_record release",
        "hazard_record acquire", "fence_heavy barrier"})

MODEL(
    hazard_paid, "hazard: the same where readers pay for the fence", .setup = setup_paid,
    .bodies = {read_one, replace_scan}, .check = check, .preemptions = MODEL_ALL, .enter = enter,
    .bites = {"fence_light fence", "fence_heavy fence"})

MODEL(
    hazard_blind, "hazard: a reader that does not look again", .setup = setup,
    .bodies = {read_blindly, replace_scan}, .check = check, .preemptions = MODEL_ALL,
    .enter = enter, .mistake = "an announcement that nothing is compared with")

MODEL(
    hazard_ends, "hazard: threads end, two of them with one record, one with what it retired",
    .setup = setup, .bodies = {read_one, read_one, replace_leave, scan_twice}, .check = check,
    .preemptions = 1, .enter = enter,
    .bites = {
        "hazard_taken release", "hazard_taken acquire", "hazard_orphan release",
        "hazard_orphan acquire", "fence_heavy barrier"})
