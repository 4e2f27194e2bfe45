/* The epoch's clock, its readers and its three bags.
 *
 * Owns: when the epoch moves on and what is released then. Must not know what is released.
 *
 * Why E + 2: an object of bag E was unlinked before its retirer looked at the clock and saw E. The
 * retirer's look and each advance are modifications of the clock, so that the advance to E + 1,
 * which came behind the look, acquired the unlinking, and so does whoever sees E + 1. The advance
 * from E + 1 to E + 2 runs its heavy fence after the clock showed E + 1, thus after the unlinking.
 * A reader whose pin that fence does not bring to light looks at pointers after the fence and finds
 * the object gone. One that is seen and pinned to E + 1 had seen the clock at E + 1, thus after the
 * unlinking as well. One that is pinned to anything else stops the advance. */
#include "epoch.h"

#include <stdlib.h>
#include <string.h>

#define BAGS 3u

atoll__epoch_clock_t atoll__epoch_clock = {.now = 1};

static _Atomic(atoll__reader_t *) known;
/* Objects retired in epoch E are in bag E % 3; a late one may be put in the bag of E + 3. */
static _Atomic(atoll__retired_t *) bags[BAGS];
static _Atomic uint32_t waiting;
static _Atomic uint32_t advancing; /* 1: a thread does, and nobody else need */

/* A record that a thread has given up, or a new one; NULL: out of memory. */
static atoll__reader_t *record_claim(void) {
    /* SYNC POINT: reader-record; what precedes the push is seen by who follows the list. */
    atoll__reader_t *reader =
        atomic_load_explicit(&known, ATOLL__SYNC(reader_record, acquire));
    for (; reader != NULL; reader = reader->next_known) {
        uint32_t taken = 0;
        /* SYNC POINT: reader-taken, the next owner's end. */
        if (atomic_load_explicit(&reader->taken, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(
                &reader->taken, &taken, 1, ATOLL__SYNC(reader_taken, acquire),
                memory_order_relaxed))
            return reader;
    }
    reader = aligned_alloc(_Alignof(atoll__reader_t), sizeof *reader);
    if (reader == NULL) return NULL;
    memset(reader, 0, sizeof *reader);
    atomic_store_explicit(&reader->taken, 1, memory_order_relaxed);
    reader->next_known = atomic_load_explicit(&known, memory_order_relaxed);
    /* SYNC POINT: reader-record, the pusher's end. The push counts as part of the first pin: a look
     * that misses it has run its heavy fence before the reads of that pin. */
    while (!atomic_compare_exchange_weak_explicit(
        &known, &reader->next_known, reader, ATOLL__SYNC(reader_record, release),
        memory_order_relaxed)) {
    }
    return reader;
}

atoll__reader_t *atoll__epoch_join(void) {
    atoll__thread_t *thread = atoll__thread();
    if (thread == NULL) return NULL;
    atoll__fence_open();
    if (thread->reader == NULL) thread->reader = record_claim();
    return thread->reader;
}

void atoll__epoch_leave(atoll__reader_t *reader) {
    if (reader == NULL) return;
    assert(atomic_load_explicit(&reader->epoch, memory_order_relaxed) == 0);
    /* SYNC POINT: reader-taken. The next owner goes on from the record as it is now. */
    atomic_store_explicit(&reader->taken, 0, ATOLL__SYNC(reader_taken, release));
}

static uint32_t pinned_to_other(uint64_t now) {
    uint32_t count = 0;
    /* SYNC POINT: reader-record, the looker's end. */
    atoll__reader_t *reader =
        atomic_load_explicit(&known, ATOLL__SYNC(reader_record, acquire));
    for (; reader != NULL; reader = reader->next_known) {
        /* SYNC POINT: epoch-look. Acquires the reads of pins that have ended; paired with
         * epoch-pin. */
        uint64_t epoch =
            atomic_load_explicit(&reader->epoch, ATOLL__SYNC(epoch_pin, acquire));
        if (epoch != 0 && epoch != now) count++;
    }
    return count;
}

uint32_t atoll__epoch_behind(void) {
    /* SYNC POINT: epoch-read, for a count only; paired with epoch-advance. */
    return pinned_to_other(atomic_load_explicit(&atoll__epoch_clock.now, memory_order_acquire));
}

uint32_t atoll__epoch_waiting(void) {
    /* SYNC POINT: tick-look; paired with retired-counted. */
    return atomic_load_explicit(&waiting, memory_order_seq_cst);
}

/* The next epoch, if nobody is behind, and what its beginning lets go. */
static atoll__retired_t *advance(void) {
    uint64_t now = atomic_load_explicit(&atoll__epoch_clock.now, memory_order_relaxed);
    if (!atoll__fence_heavy() || pinned_to_other(now) > 0) return NULL;
    ATOLL__WINDOW();
    now++;
    /* SYNC POINT: epoch-advance. Acquires what was unlinked before others saw the epoch that ends
     * here, for all who see the next one; paired with epoch-read, epoch-stamp. */
    (void)atomic_exchange_explicit(
        &atoll__epoch_clock.now, now, ATOLL__SYNC(epoch_advance, acq_rel));
    /* The bag of now - 2. Nothing younger is in it: the bag serves now + 1 next, which cannot begin
     * while this thread is here.
     * SYNC POINT: epoch-bag, the taker's end. */
    return atomic_exchange_explicit(
        &bags[(now + 1) % BAGS], NULL, ATOLL__SYNC(epoch_bag, acquire));
}

void atoll__epoch_collect(void) {
    if (atoll__epoch_waiting() == 0) return;
    atoll__fence_open();
    /* SYNC POINT: epoch-turn. One advance after the other: the reads that one has acquired are known
     * to the next. */
    if (atomic_exchange_explicit(&advancing, 1, ATOLL__SYNC(epoch_turn, acquire)) != 0) return;
    atoll__retired_t *list = advance();
    /* SYNC POINT: epoch-turn, its end. */
    atomic_store_explicit(&advancing, 0, ATOLL__SYNC(epoch_turn, release));
    uint32_t released = 0;
    while (list != NULL) {
        atoll__retired_t *object = list;
        list = object->next;
        object->release(object);
        released++;
    }
    atomic_fetch_sub_explicit(&waiting, released, memory_order_relaxed);
}

void atoll__epoch_drain(void) {
    for (uint32_t i = 0; i < BAGS; i++) atoll__epoch_collect();
}

static bool pinned_here(void) {
    const atoll__thread_t *thread = atoll__thread_state;
    return thread != NULL && thread->reader != NULL &&
           atomic_load_explicit(&thread->reader->epoch, memory_order_relaxed) != 0;
}

void atoll__epoch_retire(atoll__retired_t *object, atoll__release_t release) {
    assert(!pinned_here());
    object->release = release;
    /* SYNC POINT: epoch-stamp. A modification that changes nothing: it finds the newest epoch, and the
     * advance from it acquires the unlinking; paired with epoch-advance. */
    uint64_t now =
        atomic_fetch_add_explicit(&atoll__epoch_clock.now, 0, ATOLL__SYNC(epoch_stamp, acq_rel));
    ATOLL__WINDOW();
    _Atomic(atoll__retired_t *) *bag = &bags[now % BAGS];
    object->next = atomic_load_explicit(bag, memory_order_relaxed);
    /* SYNC POINT: retired-counted. Before it can be released, and before the warden is asked to look
     * (tick-wanted); paired with tick-look. */
    uint32_t count = atomic_fetch_add_explicit(&waiting, 1, memory_order_seq_cst) + 1;
    /* SYNC POINT: epoch-bag releases the object, for who takes the bag. */
    while (!atomic_compare_exchange_weak_explicit(
        bag, &object->next, object, ATOLL__SYNC(epoch_bag, release), memory_order_relaxed)) {
    }
    if (count % ATOLL__EPOCH_BATCH == 0) atoll__epoch_collect();
    while (atoll__epoch_waiting() > ATOLL__EPOCH_GARBAGE_MAX) {
        atoll__epoch_collect();
        if (atoll__epoch_waiting() > ATOLL__EPOCH_GARBAGE_MAX) atoll__prim_pause();
    }
}
