/* Records of hazard pointers, and the scan.
 *
 * Owns: the list of all records, batches of retired objects, what ended threads left. Must not know
 * what is protected. */
#include "hazard.h"

#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Protected objects looked up at once; more than that takes another round. */
#define ROUND 128u

static _Atomic(atoll__hazard_t *) known;
static _Atomic uint32_t known_count;
static _Atomic(atoll__retired_t *) orphans;
static _Atomic uint32_t waiting;

/* A record that a thread has given up, or a new one; NULL: out of memory. */
static atoll__hazard_t *record_claim(void) {
    /* SYNC POINT: hazard-record; what precedes the push is seen by who follows the list. */
    atoll__hazard_t *record =
        atomic_load_explicit(&known, ATOLL__SYNC(hazard_record, acquire));
    for (; record != NULL; record = record->next_known) {
        uint32_t taken = 0;
        /* SYNC POINT: hazard-taken, the next owner's end. */
        if (atomic_load_explicit(&record->taken, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(
                &record->taken, &taken, 1, ATOLL__SYNC(hazard_taken, acquire),
                memory_order_relaxed))
            return record;
    }
    record = aligned_alloc(_Alignof(atoll__hazard_t), sizeof *record);
    if (record == NULL) return NULL;
    memset(record, 0, sizeof *record);
    atomic_store_explicit(&record->taken, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&known_count, 1, memory_order_relaxed);
    record->next_known = atomic_load_explicit(&known, memory_order_relaxed);
    /* SYNC POINT: hazard-record, the pusher's end. */
    while (!atomic_compare_exchange_weak_explicit(
        &known, &record->next_known, record, ATOLL__SYNC(hazard_record, release),
        memory_order_relaxed)) {
    }
    return record;
}

atoll__hazard_t *atoll__hazard_take(void) {
    atoll__thread_t *thread = atoll__thread();
    if (thread == NULL) return NULL;
    atoll__hazard_t *record = thread->hazards;
    if (record != NULL) {
        thread->hazards = record->next_idle;
        return record;
    }
    atoll__fence_open();
    return record_claim();
}

void atoll__hazard_give(atoll__hazard_t *record) {
    assert(atomic_load_explicit(&record->object, memory_order_relaxed) == NULL);
    /* Not made here: who took a record has a state. */
    atoll__thread_t *thread = atoll__thread_state;
    record->next_idle = thread->hazards;
    thread->hazards = record;
}

static int by_address(const void *left, const void *right) {
    uintptr_t a = (uintptr_t) * (atoll__retired_t *const *)left;
    uintptr_t b = (uintptr_t) * (atoll__retired_t *const *)right;
    return a < b ? -1 : a > b ? 1 : 0;
}

/* Moves the protected ones of a list in front of another. */
static void keep_protected(
    atoll__retired_t **list, atoll__retired_t **kept, atoll__retired_t **objects, size_t count) {
    qsort(objects, count, sizeof *objects, by_address);
    for (atoll__retired_t **link = list; *link != NULL;) {
        atoll__retired_t *object = *link;
        if (bsearch(&object, objects, count, sizeof *objects, by_address) == NULL) {
            link = &object->next;
            continue;
        }
        *link = object->next;
        object->next = *kept;
        *kept = object;
    }
}

/* Takes the protected ones out of a list and returns them. */
static atoll__retired_t *split(atoll__retired_t **list) {
    atoll__retired_t *kept = NULL;
    atoll__retired_t *objects[ROUND];
    size_t count = 0;
    /* SYNC POINT: hazard-record, the scanner's end. */
    atoll__hazard_t *record =
        atomic_load_explicit(&known, ATOLL__SYNC(hazard_record, acquire));
    for (; record != NULL; record = record->next_known) {
        /* SYNC POINT: hazard-scan. Acquires the reads of what the record no longer protects; paired
         * with hazard-set. */
        atoll__retired_t *object =
            atomic_load_explicit(&record->object, ATOLL__SYNC(hazard_set, acquire));
        if (object == NULL) continue;
        objects[count++] = object;
        if (count < ROUND) continue;
        keep_protected(list, &kept, objects, count);
        count = 0;
    }
    if (count > 0) keep_protected(list, &kept, objects, count);
    return kept;
}

/* The last of a list that is not empty. */
static atoll__retired_t *last_of(atoll__retired_t *list) {
    while (list->next != NULL) list = list->next;
    return list;
}

static void orphan(atoll__retired_t *first) {
    atoll__retired_t *last = last_of(first);
    last->next = atomic_load_explicit(&orphans, memory_order_relaxed);
    /* SYNC POINT: hazard-orphan; what was retired, for who takes the list. */
    while (!atomic_compare_exchange_weak_explicit(
        &orphans, &last->next, first, ATOLL__SYNC(hazard_orphan, release),
        memory_order_relaxed)) {
    }
}

/* Releases what can be of a list and of the orphans; returns what is still protected. */
static atoll__retired_t *release_unprotected(atoll__retired_t *list) {
    /* SYNC POINT: hazard-orphan, the taker's end. */
    atoll__retired_t *more =
        atomic_exchange_explicit(&orphans, NULL, ATOLL__SYNC(hazard_orphan, acquire));
    if (list == NULL)
        list = more;
    else
        last_of(list)->next = more;
    if (list == NULL) return NULL;
    if (!atoll__fence_heavy()) return list;
    atoll__retired_t *kept = split(&list);
    uint32_t released = 0;
    while (list != NULL) {
        atoll__retired_t *object = list;
        list = object->next;
        object->release(object);
        released++;
    }
    atomic_fetch_sub_explicit(&waiting, released, memory_order_relaxed);
    return kept;
}

static void scan(atoll__thread_t *thread) {
    atoll__retired_t *list = thread->retired;
    thread->retired = NULL;
    thread->retired_count = 0;
    list = release_unprotected(list);
    /* In front of what a release has retired meanwhile. */
    while (list != NULL) {
        atoll__retired_t *object = list;
        list = object->next;
        object->next = thread->retired;
        thread->retired = object;
        thread->retired_count++;
    }
}

void atoll__hazard_scan(void) {
    if (atoll__hazard_waiting() == 0) return;
    atoll__fence_open();
    atoll__thread_t *thread = atoll__thread();
    if (thread != NULL) {
        scan(thread);
        return;
    }
    atoll__retired_t *kept = release_unprotected(NULL);
    if (kept != NULL) orphan(kept);
}

void atoll__hazard_retire(atoll__retired_t *object, atoll__release_t release) {
    object->release = release;
    object->next = NULL;
    /* Only this thread's own scans release it, or whoever finds it orphaned: nobody is asked to look. */
    atomic_fetch_add_explicit(&waiting, 1, memory_order_relaxed);
    atoll__thread_t *thread = atoll__thread();
    if (thread == NULL) {
        orphan(object);
        return;
    }
    object->next = thread->retired;
    thread->retired = object;
    thread->retired_count++;
    /* As many again as can be kept: each scan releases at least half, whoever protects what. */
    uint32_t records = atomic_load_explicit(&known_count, memory_order_relaxed);
    if (thread->retired_count >= ATOLL__HAZARD_BATCH + 2u * records) atoll__hazard_scan();
}

uint32_t atoll__hazard_waiting(void) {
    return atomic_load_explicit(&waiting, memory_order_relaxed);
}

void atoll__hazard_leave(atoll__thread_t *thread) {
    while (thread->hazards != NULL) {
        atoll__hazard_t *record = thread->hazards;
        thread->hazards = record->next_idle;
        /* SYNC POINT: hazard-taken. The next owner's next_idle is written after this one's was read. */
        atomic_store_explicit(&record->taken, 0, ATOLL__SYNC(hazard_taken, release));
    }
    if (thread->retired != NULL) orphan(thread->retired);
    thread->retired = NULL;
    thread->retired_count = 0;
}
