/* What a thread keeps of the slab allocator.
 *
 * Owns: the layout of a thread's caches. Must not know what else belongs to a thread. */
#ifndef ATOLL_SLAB_H
#define ATOLL_SLAB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ATOLL__CLASSES 6u

/* A thread's slots of one class. The level, given less taken, says how far the loaded magazine is
 * filled: it is empty at the floor and full at the ceiling. Two counters in place of one level: each
 * is moved by one side alone, so that a take right behind a give does not wait for its store, and
 * they are the statistics as well. */
typedef struct atoll__cache {
    /* Written by the thread, read by atoll__slab_stats. */
    _Alignas(64) _Atomic uint64_t taken;
    _Atomic uint64_t given;
    int64_t floor;
    int64_t ceiling;  /* floor plus rounds of a magazine; the same: the thread has none */
    uintptr_t origin; /* where the loaded magazine's slot of level 0 would be */
    _Atomic uint64_t exchanged;
    uint32_t loaded; /* numbers of the two magazines */
    uint32_t spare;
    bool spare_full; /* else it is empty */
} atoll__cache_t;

typedef struct atoll__slab {
    atoll__cache_t caches[ATOLL__CLASSES];
    struct atoll__slab *next; /* slab.c's lock */
    struct atoll__slab *before;
    bool listed;
    uint32_t shortages; /* how many this thread has heeded */
} atoll__slab_t;

/* Gives back what this thread hoards. */
void atoll__slab_flush(void);
/* The thread ends: gives back its slots and magazines, keeps what it counted. */
void atoll__slab_end(atoll__slab_t *slab);
#ifdef ATOLL__POISON
/* Called with what is wrong with a slot; prints it and ends the process unless it is changed. */
extern void (*atoll__poison_report)(const char *what, uint32_t slot);
#endif

#endif
