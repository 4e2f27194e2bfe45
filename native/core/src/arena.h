/* What the files of the memory share: arena.c, unit.c, depot.c, slab.c, extent.c, poison.c.
 *
 * Owns: the layout of the arena and the owner words. Must not be seen by other files: they know
 * slots by internal.h.
 *
 * The arena is cut into units of 64 KiB. A unit is free, cut into slots of one class, or part of an
 * extent. Layers, each knowing those above it only:
 *
 *   unit.c    which units are free, as runs
 *   depot.c   per class: magazines of free slots between threads; cuts units, makes them whole again
 *   slab.c    per thread: two magazines a class, from which slots are taken without any lock
 *   extent.c  payloads of more than a unit
 *   arena.c   opening, owner words seen from outside, sweep, counters
 *
 * All bookkeeping lies outside of the arena: nothing that is written into a slot can harm it. */
#ifndef ATOLL_ARENA_H
#define ATOLL_ARENA_H

#include "internal.h"

#define ATOLL__ROUNDS_MAX 64u
#define ATOLL__CELLS_PER_UNIT (ATOLL__UNIT_BYTES / ATOLL_SLOT_BYTES)

/* What a unit is. */
enum {
    ATOLL__UNIT_FREE = 0, /* or inside of an extent */
    ATOLL__UNIT_CLASS = 1, /* + class */
    ATOLL__UNIT_EXTENT = 16, /* first one of an extent */
    ATOLL__UNIT_RESERVED = 17
};

typedef struct atoll__arena {
    uint8_t *base;
    /* By cell, the 64 bytes that a slot index counts: hold << 32 | client of the slot that starts
     * there, 0 when it is free or none does. Use atoll__owner_of. */
    _Atomic uint64_t *owners;
    _Atomic uint8_t *kinds; /* by unit */
    uint32_t (*magazines)[ATOLL__ROUNDS_MAX]; /* the slots in each */
    uint32_t units;
    uint32_t cells;
    atoll__map_t map;
    /* Of everything in unit.c and depot.c that says "needs the lock". */
    _Alignas(64) pthread_mutex_t lock;
} atoll__arena_t;

extern atoll__arena_t atoll__arena;

static inline void atoll__arena_lock(void) {
    (void)pthread_mutex_lock(&atoll__arena.lock);
}

static inline void atoll__arena_unlock(void) {
    (void)pthread_mutex_unlock(&atoll__arena.lock);
}

static inline uint32_t atoll__class_bytes(uint32_t class) {
    return (uint32_t)ATOLL_SLOT_BYTES << 2 * class;
}

static inline uint32_t atoll__unit_kind(uint32_t unit) {
    return atomic_load_explicit(&atoll__arena.kinds[unit], memory_order_relaxed);
}

/* Whoever reads the kind of a unit owns a slot of it, so that this store came before. */
static inline void atoll__unit_mark(uint32_t unit, uint32_t kind) {
    atomic_store_explicit(&atoll__arena.kinds[unit], (uint8_t)kind, memory_order_relaxed);
}

/* ---- owner words ----
 *
 * A word is changed by the one who holds the slot, and by nobody else:
 *   FREE     the thread whose magazine the slot left
 *   CLIENT   the client's thread; atoll__client_enter lets one in at a time
 *   LIBRARY  who took it so, until others know of it; submit until the call is visible, then whoever
 *            moved the call to ENDED or DONE, or let go of it last, or emptied the chunk's place in
 *            in_held, or popped the event: each is one exchange that one thread wins
 *   AREA     the one who opens the client, before it is visible
 * and of a dead client by the reclaimer, when nobody is inside and no call is left. So a change
 * needs no exchange: a load, a comparison that refuses whatever does not fit (double, forged,
 * foreign), a store. Holders on different threads meet at that other exchange; the words only have to
 * be seen by it, which store-release and load-acquire here make sure of. */

/* A cache line lies between the words of two units: the words of large slots, which are a power of
 * two apart, would all be in the same few sets of the cache. */
#define ATOLL__OWNERS_GAP 8u

static inline _Atomic uint64_t *atoll__owner_of(uint32_t cell) {
    return &atoll__arena.owners[cell + cell / ATOLL__CELLS_PER_UNIT * ATOLL__OWNERS_GAP];
}

/* Of a slot that is not free. */
static inline uint64_t atoll__owner_word(uint32_t client, atoll__hold_t hold) {
    return (uint64_t)hold << 32 | client;
}

static inline bool atoll__owner_move(
    uint32_t client, uint32_t cell, atoll__hold_t from, atoll__hold_t to) {
    if (cell >= atoll__arena.cells) return false;
    _Atomic uint64_t *owner = atoll__owner_of(cell);
    /* SYNC POINT: slot-hold, the new holder's end. */
    uint64_t word = atomic_load_explicit(owner, memory_order_acquire);
    ATOLL__WINDOW();
    if (word != atoll__owner_word(client, from)) return false;
    /* SYNC POINT: slot-hold releases what the old holder did with the slot;
     * for the load above, in atoll__slot_is and in atoll__arena_sweep. */
    uint64_t next = to == ATOLL__HOLD_FREE ? 0 : atoll__owner_word(client, to);
    atomic_store_explicit(owner, next, memory_order_release);
    return true;
}

/* ---- unit.c: all of it needs the lock, but for atoll__units_kept ---- */

bool atoll__units_open(uint32_t units);
/* First of `count` units in a row, 0 when there is none. */
uint32_t atoll__units_take(uint32_t count);
/* Gives units back; clean: they read as zero and hold no memory. */
void atoll__units_give(uint32_t first, uint32_t count, bool clean);
/* Whether so many units may be given back with their pages. */
bool atoll__units_kept(uint32_t count);
/* Highest unit ever taken, plus one. */
uint32_t atoll__units_top(void);

/* ---- depot.c ---- */

#define ATOLL__MAGAZINE_NONE ATOLL__STACK_EMPTY

bool atoll__depots_open(uint32_t units);
/* Slots that a magazine of the class holds. */
uint32_t atoll__depot_rounds(uint32_t class);
static inline uint32_t *atoll__magazine_slots(uint32_t magazine) {
    return atoll__arena.magazines[magazine];
}
/* An empty one, and back. A thread asks for two a class with `lasting` and gives them back so. */
uint32_t atoll__magazine_take(bool lasting);
void atoll__magazine_give(uint32_t magazine, bool lasting);
/* A full magazine of the class, ATOLL__MAGAZINE_NONE when there is none. No lock. */
uint32_t atoll__depot_take(uint32_t class);
void atoll__depot_give(uint32_t class, uint32_t magazine);
/* Writes up to `most` free slots, but from one unit at most; returns how many. With `hard` it first
 * looks for units that could be made whole again. */
uint32_t atoll__depot_fill(uint32_t class, uint32_t *slots, uint32_t most, bool hard);
/* Gives single slots back. */
void atoll__depot_merge(uint32_t class, const uint32_t *slots, uint32_t count);
/* As atoll__units_take, but makes units whole again if it has to. Needs the lock. */
uint32_t atoll__depot_units(uint32_t count);
void atoll__depot_stats(atoll_stats_t *stats);

/* ---- slab.c, extent.c ---- */

/* The arena is short: gives this thread's slots to the depot, tells other threads to do so. */
void atoll__slab_short(void);
void atoll__slab_stats(atoll_stats_t *stats);

bool atoll__extents_open(uint32_t units);
uint32_t atoll__extent_units_max(void);
/* First cell of an extent for that many bytes, 0 when there is none. */
uint32_t atoll__extent_take(uint32_t bytes);
void atoll__extent_give(uint32_t cell);
uint32_t atoll__extent_bytes(uint32_t unit);
void atoll__extent_stats(atoll_stats_t *stats);

/* ---- poison.c: debug builds (-DATOLL__POISON) ---- */

#ifdef ATOLL__POISON
bool atoll__poison_open(uint32_t cells);
/* Looks for writes after the slot was given back, and for a slot that is handed out twice. */
void atoll__poison_take(uint32_t cell, uint32_t bytes);
void atoll__poison_give(uint32_t cell, uint32_t bytes);
/* The library freed what it did not hold. */
void atoll__poison_double(uint32_t cell);
#else
#define atoll__poison_open(cells) true
#define atoll__poison_take(cell, bytes) ((void)0)
#define atoll__poison_give(cell, bytes) ((void)0)
#define atoll__poison_double(cell) ((void)0)
#endif

#endif
