/* Epochs and read-copy-update cells, with epoch.c itself: nobody reads what was released, everything
 * is released in the end, once. */
#include "reclaim.h"

#include "../../src/epoch.c"
#include "rcu.h"

static atoll__rcu_t cell;

static void setup(void) {
    reclaim_setup();
    atoll__fence_open();
    atomic_store(&atoll__fence_paid, 0);
    atomic_store(&atoll__epoch_clock.now, 1);
    atomic_store(&known, NULL);
    for (uint32_t i = 0; i < BAGS; i++) atomic_store(&bags[i], NULL);
    atomic_store(&waiting, 0);
    atomic_store(&advancing, 0);
    objects[0].alive = 1;
    atomic_store(&cell.current, &objects[0].retired);
}

static void setup_paid(void) {
    setup();
    atomic_store(&atoll__fence_paid, 1);
}

static void read_pinned(void) {
    atoll__pin_t pin = atoll__epoch_pin();
    object_use(atoll__rcu_read(&cell));
    atoll__epoch_unpin(pin);
}

static void read_one(void) {
    read_pinned();
    atoll__epoch_leave(atoll__thread_state->reader);
}

/* Reads on after its pin has ended. */
static void read_late(void) {
    atoll__pin_t pin = atoll__epoch_pin();
    const atoll__retired_t *object = atoll__rcu_read(&cell);
    atoll__epoch_unpin(pin);
    object_use(object);
}

static void replace(uint32_t next) {
    objects[next].alive = 1;
    atoll__rcu_publish(&cell, &objects[next].retired, object_release);
}

static void replace_one(void) {
    replace(1);
}

static void replace_collect(void) {
    replace(1);
    atoll__epoch_collect();
    atoll__epoch_collect();
}

static void replace_next(void) {
    replace(2);
}

static void collect_once(void) {
    atoll__epoch_collect();
}

static void collect_twice(void) {
    atoll__epoch_collect();
    atoll__epoch_collect();
}

/* One object waits from the beginning, so that the epoch may move on at any time. */
static void setup_waiting(void) {
    setup();
    replace(1);
}

static void setup_waiting_paid(void) {
    setup_waiting();
    atomic_store(&atoll__fence_paid, 1);
}

/* Another cell beside: two threads retire at once. */
static atoll__rcu_t other;

static void setup_both(void) {
    setup();
    objects[1].alive = 1;
    atomic_store(&other.current, &objects[1].retired);
}

static void clear_one(void) {
    atoll__rcu_publish(&cell, NULL, object_release);
}

static void clear_other(void) {
    atoll__rcu_publish(&other, NULL, object_release);
}

static void check(void) {
    atoll__epoch_drain();
    MODEL_CHECK(atoll__epoch_waiting() == 0);
    reclaim_check(1);
}

static void check_two(void) {
    atoll__epoch_drain();
    MODEL_CHECK(atoll__epoch_waiting() == 0);
    reclaim_check(2);
}

MODEL(
    epoch_one, "epoch: a reader, and a writer who replaces what it reads", .setup = setup,
    .bodies = {read_one, replace_collect}, .check = check, .preemptions = MODEL_ALL,
    .enter = enter,
    .bites = {
        "epoch_pin release", "epoch_pin acquire", "reader_record release",
        "reader_record acquire", "rcu_publish acq_rel", "rcu_publish acquire",
        "fence_heavy barrier"})

MODEL(
    epoch_paid, "epoch: a reader that pays, a writer, another who moves the epoch on",
    .setup = setup_paid, .bodies = {read_one, replace_one, collect_twice}, .check = check,
    .preemptions = 2, .enter = enter, .bites = {"fence_light fence", "fence_heavy fence"})

MODEL(
    epoch_late, "epoch: a reader that reads on after its pin", .setup = setup,
    .bodies = {read_late, replace_collect}, .check = check, .preemptions = MODEL_ALL,
    .enter = enter, .mistake = "a read behind the pin's end")

MODEL(
    epoch_bags, "epoch: two threads retire into one bag, another empties it", .setup = setup_both,
    .bodies = {clear_one, clear_other, collect_twice}, .check = check_two, .preemptions = 2,
    .enter = enter, .bites = {"epoch_bag release", "epoch_bag acquire"})

MODEL(
    epoch_turns, "epoch: two others move the epoch on while one retires and one reads",
    .setup = setup_waiting, .bodies = {collect_twice, collect_once, read_pinned, replace_next},
    .check = check_two, .preemptions = 2, .enter = enter,
    .bites = {"epoch_stamp acq_rel", "epoch_read acquire"})

MODEL(
    epoch_turns_paid, "epoch: the same where the reader pays for the fence",
    .setup = setup_waiting_paid,
    .bodies = {collect_twice, collect_once, read_pinned, replace_next}, .check = check_two,
    .preemptions = 2, .enter = enter,
    .bites = {"epoch_turn release", "epoch_turn acquire", "epoch_advance acq_rel"})

MODEL(
    epoch_ends, "epoch: two readers that end, one after the other with one record",
    .setup = setup, .bodies = {read_one, read_one, replace_collect}, .check = check,
    .preemptions = 2, .enter = enter, .bites = {"reader_taken release", "reader_taken acquire"})
