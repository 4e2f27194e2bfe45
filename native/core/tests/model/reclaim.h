/* What the models of hazard pointers and of epochs share: objects that show when they are used after
 * their release, threads with a state of their own, records that need no heap.
 *
 * Owns: these. Must not know who waits for whom. To be included in front of the source. */
#ifndef ATOLL_MODEL_RECLAIM_H
#define ATOLL_MODEL_RECLAIM_H

#include <stdlib.h>
#include <string.h>

#include "checker.h"
#include "internal.h"
#include "retired.h"

/* Fibres are one thread: the checker puts each one's state here as it goes on, unseen. */
#define UNSEEN __attribute__((no_sanitize("thread"), noinline))

static atoll__thread_t states[MODEL_THREADS];

UNSEEN static void enter(uint32_t thread) {
    atoll__thread_state = &states[thread];
}

#define OBJECTS 3u

/* Plain members: a read that races with the release is a finding. */
typedef struct object {
    atoll__retired_t retired;
    uint32_t alive;
    uint32_t released;
} object_t;

static object_t objects[OBJECTS];

static void object_release(atoll__retired_t *retired) {
    object_t *object = (object_t *)retired;
    MODEL_CHECK(object->alive == 1);
    object->alive = 0;
    object->released++;
}

static void object_use(const atoll__retired_t *retired) {
    MODEL_CHECK(((const object_t *)retired)->alive == 1);
}

/* Records: never freed, so that a few of them are all there are. */
static _Alignas(128) uint8_t records[MODEL_THREADS][128];
static uint32_t records_used;

UNSEEN static void *record_alloc(size_t alignment, size_t bytes) {
    if (alignment > 128 || bytes > sizeof records[0] || records_used == MODEL_THREADS) abort();
    return records[records_used++];
}

#define aligned_alloc record_alloc

static void reclaim_setup(void) {
    memset(states, 0, sizeof states);
    memset((void *)objects, 0, sizeof objects);
    records_used = 0;
}

/* What was retired was released, once; the others were not. */
static void reclaim_check(uint32_t retired) {
    for (uint32_t i = 0; i < OBJECTS; i++)
        MODEL_CHECK(objects[i].released == (i < retired ? 1 : 0));
}

#endif
