/* The arena: one reserved range, cut into units of 64 KiB.
 *
 * Owns: which unit serves what, the free lists, and whose each slot is. Must not know frames or
 * calls. A unit is free, cut into slots of one class (64 B … 64 KiB), or part of an extent. All
 * bookkeeping lies outside of the arena, so that nothing that is written into a slot can harm it. */
#include <string.h>

#include "internal.h"

#define CELLS_PER_UNIT (ATOLL__UNIT_BYTES / ATOLL_SLOT_BYTES)
#define EXTENT_UNITS_MAX 512u
/* Larger extents give their pages back, smaller ones are likely to be reused soon. */
#define DISCARD_UNITS 16u

enum {
    UNIT_FREE = 0,
    UNIT_CLASS = 1, /* + class */
    UNIT_EXTENT = 16,
    UNIT_EXTENT_REST = 17,
    UNIT_RESERVED = 18
};

static const uint32_t class_bytes[ATOLL__CLASSES] = {64, 256, 1024, 4096, 16384, 65536};

static struct {
    uint8_t *base;
    uint32_t units;
    uint32_t units_carved; /* highest unit ever used, plus one; lock */
    uint32_t extent_units_max;
    _Atomic uint64_t *owners; /* by cell: hold << 32 | client, 0 when free */
    _Atomic uint32_t *links;  /* by cell */
    _Atomic uint8_t *kinds;   /* by unit */
    uint32_t *lengths;        /* by first unit of an extent; lock */
    uint32_t *counts;         /* by unit, scratch of the compaction; lock */
    pthread_mutex_t lock;
    atoll__stack_t free[ATOLL__CLASSES];
} arena = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t owner_word(uint32_t client, atoll__hold_t hold) {
    return hold == ATOLL__HOLD_FREE ? 0 : ((uint64_t)hold << 32) | client;
}

atoll_status_t atoll__arena_open(uint64_t bytes) {
    if (arena.base != NULL) return ATOLL_OK;
    uint32_t units = (uint32_t)(bytes / ATOLL__UNIT_BYTES);
    size_t cells = (size_t)units * CELLS_PER_UNIT;
    uint8_t *base = atoll__prim_reserve((size_t)units * ATOLL__UNIT_BYTES);
    arena.owners = atoll__prim_reserve(cells * sizeof *arena.owners);
    arena.links = atoll__prim_reserve(cells * sizeof *arena.links);
    arena.kinds = atoll__prim_reserve(units * sizeof *arena.kinds);
    arena.lengths = atoll__prim_reserve(units * sizeof *arena.lengths);
    arena.counts = atoll__prim_reserve(units * sizeof *arena.counts);
    if (base == NULL || arena.owners == NULL || arena.links == NULL || arena.kinds == NULL ||
        arena.lengths == NULL || arena.counts == NULL)
        return atoll__fail(ATOLL_NO_MEMORY, "Cannot reserve the arena: no address space");
    arena.units = units;
    arena.units_carved = 1;
    arena.extent_units_max = units / 4 < EXTENT_UNITS_MAX ? units / 4 : EXTENT_UNITS_MAX;
    /* Slot 0 means "none": the first unit is never handed out. */
    atomic_store(&arena.kinds[0], UNIT_RESERVED);
    arena.base = base;
    return ATOLL_OK;
}

uint8_t *atoll__arena_base(void) {
    return arena.base;
}

uint64_t atoll__arena_size(void) {
    return (uint64_t)arena.units * ATOLL__UNIT_BYTES;
}

uint32_t atoll__arena_payload_max(void) {
    return arena.extent_units_max * ATOLL__UNIT_BYTES - ATOLL_FRAME_BYTES;
}

static uint32_t class_of(uint32_t bytes) {
    uint32_t class = 0;
    while (class < ATOLL__CLASSES && bytes > class_bytes[class]) class++;
    return class;
}

static uint32_t kind_of(uint32_t unit) {
    return atomic_load_explicit(&arena.kinds[unit], memory_order_relaxed);
}

static void set_kind(uint32_t unit, uint32_t kind) {
    atomic_store_explicit(&arena.kinds[unit], (uint8_t)kind, memory_order_relaxed);
}

/* First of `count` free units in a row, 0 when there is none. Needs the lock. */
static uint32_t find_units(uint32_t count) {
    uint32_t run = 0;
    for (uint32_t unit = 1; unit < arena.units; unit++) {
        run = kind_of(unit) == UNIT_FREE ? run + 1 : 0;
        if (run == count) {
            if (unit + 1 > arena.units_carved) arena.units_carved = unit + 1;
            return unit + 1 - count;
        }
    }
    return 0;
}

/* Makes units free whose slots are all in a class's free list. Needs the lock. */
static void compact_class(uint32_t class) {
    uint32_t first = atoll__stack_take_all(&arena.free[class]);
    if (first == ATOLL__STACK_EMPTY) return;
    uint32_t per_unit = ATOLL__UNIT_BYTES / class_bytes[class];
    for (uint32_t next = first + 1; next != 0;) {
        uint32_t cell = next - 1;
        arena.counts[cell / CELLS_PER_UNIT]++;
        next = atomic_load_explicit(&arena.links[cell], memory_order_relaxed);
    }
    for (uint32_t next = first + 1; next != 0;) {
        uint32_t cell = next - 1;
        uint32_t unit = cell / CELLS_PER_UNIT;
        next = atomic_load_explicit(&arena.links[cell], memory_order_relaxed);
        if (arena.counts[unit] == per_unit)
            set_kind(unit, UNIT_FREE);
        else
            atoll__stack_push(&arena.free[class], arena.links, cell);
    }
    memset(arena.counts, 0, arena.units_carved * sizeof *arena.counts);
}

static uint32_t find_units_hard(uint32_t count) {
    uint32_t unit = find_units(count);
    for (uint32_t class = ATOLL__CLASSES; unit == 0 && class-- > 0;) {
        compact_class(class);
        unit = find_units(count);
    }
    return unit;
}

/* Cuts a new unit; one of its slots is returned, the others go to the free list. */
static uint32_t carve(uint32_t class) {
    (void)pthread_mutex_lock(&arena.lock);
    /* Another thread may have carved while this one waited. */
    uint32_t cell = atoll__stack_pop(&arena.free[class], arena.links);
    if (cell == ATOLL__STACK_EMPTY) {
        uint32_t unit = find_units_hard(1);
        /* The compaction may have put slots of this class back. */
        cell = atoll__stack_pop(&arena.free[class], arena.links);
        if (cell == ATOLL__STACK_EMPTY && unit != 0) {
            set_kind(unit, UNIT_CLASS + class);
            uint32_t step = class_bytes[class] / ATOLL_SLOT_BYTES;
            cell = unit * CELLS_PER_UNIT;
            uint32_t end = cell + CELLS_PER_UNIT;
            for (uint32_t i = cell + step; i + step < end; i += step)
                atomic_store_explicit(&arena.links[i], i + step + 1, memory_order_relaxed);
            if (step < CELLS_PER_UNIT)
                atoll__stack_push_chain(
                    &arena.free[class], arena.links, cell + step, end - step);
        }
    }
    (void)pthread_mutex_unlock(&arena.lock);
    return cell;
}

static uint32_t take_extent(uint32_t bytes) {
    uint32_t count = bytes / ATOLL__UNIT_BYTES + (bytes % ATOLL__UNIT_BYTES != 0);
    if (count > arena.extent_units_max) return ATOLL__STACK_EMPTY;
    (void)pthread_mutex_lock(&arena.lock);
    uint32_t unit = find_units_hard(count);
    if (unit != 0) {
        set_kind(unit, UNIT_EXTENT);
        arena.lengths[unit] = count;
        for (uint32_t i = 1; i < count; i++) set_kind(unit + i, UNIT_EXTENT_REST);
    }
    (void)pthread_mutex_unlock(&arena.lock);
    return unit == 0 ? ATOLL__STACK_EMPTY : unit * CELLS_PER_UNIT;
}

static void give_extent(uint32_t unit) {
    (void)pthread_mutex_lock(&arena.lock);
    uint32_t count = arena.lengths[unit];
    if (count >= DISCARD_UNITS)
        (void)atoll__prim_discard(
            arena.base + (size_t)unit * ATOLL__UNIT_BYTES, (size_t)count * ATOLL__UNIT_BYTES,
            4096);
    for (uint32_t i = 0; i < count; i++) set_kind(unit + i, UNIT_FREE);
    (void)pthread_mutex_unlock(&arena.lock);
}

uint32_t atoll__slot_take(uint32_t client, uint32_t bytes, atoll__hold_t hold) {
    uint32_t class = class_of(bytes);
    uint32_t cell;
    if (class == ATOLL__CLASSES) {
        cell = take_extent(bytes);
    } else {
        cell = atoll__stack_pop(&arena.free[class], arena.links);
        if (cell == ATOLL__STACK_EMPTY) cell = carve(class);
    }
    if (cell == ATOLL__STACK_EMPTY) return 0;
    atomic_store_explicit(&arena.owners[cell], owner_word(client, hold), memory_order_release);
    return cell;
}

bool atoll__slot_is(uint32_t client, uint32_t slot, atoll__hold_t hold) {
    if (slot == 0 || slot >= arena.units * CELLS_PER_UNIT) return false;
    uint64_t word = atomic_load_explicit(&arena.owners[slot], memory_order_acquire);
    return word == owner_word(client, hold);
}

bool atoll__slot_move(uint32_t client, uint32_t slot, atoll__hold_t from, atoll__hold_t to) {
    if (slot == 0 || slot >= arena.units * CELLS_PER_UNIT) return false;
    uint64_t word = owner_word(client, from);
    /* SYNC POINT: slot-hold releases what the old holder did with the slot, acquires it for the
     * new one; both ends are this exchange. */
    return atomic_compare_exchange_strong_explicit(
        &arena.owners[slot], &word, owner_word(client, to), memory_order_acq_rel,
        memory_order_relaxed);
}

bool atoll__slot_free(uint32_t client, uint32_t slot, atoll__hold_t from) {
    if (!atoll__slot_move(client, slot, from, ATOLL__HOLD_FREE)) return false;
    uint32_t unit = slot / CELLS_PER_UNIT;
    uint32_t kind = kind_of(unit);
    if (kind == UNIT_EXTENT)
        give_extent(unit);
    else
        atoll__stack_push(&arena.free[kind - UNIT_CLASS], arena.links, slot);
    return true;
}

uint32_t atoll__slot_capacity(uint32_t slot) {
    uint32_t unit = slot / CELLS_PER_UNIT;
    uint32_t kind = kind_of(unit);
    if (kind == UNIT_EXTENT) return arena.lengths[unit] * ATOLL__UNIT_BYTES;
    return class_bytes[kind - UNIT_CLASS];
}

uint8_t *atoll__slot_bytes(uint32_t slot) {
    return arena.base + (size_t)slot * ATOLL_SLOT_BYTES;
}

void atoll__arena_sweep(uint32_t client) {
    (void)pthread_mutex_lock(&arena.lock);
    uint32_t units = arena.units_carved;
    (void)pthread_mutex_unlock(&arena.lock);
    for (uint32_t unit = 1; unit < units; unit++) {
        uint32_t kind = kind_of(unit);
        uint32_t step;
        if (kind == UNIT_EXTENT)
            step = CELLS_PER_UNIT;
        else if (kind >= UNIT_CLASS && kind < UNIT_CLASS + ATOLL__CLASSES)
            step = class_bytes[kind - UNIT_CLASS] / ATOLL_SLOT_BYTES;
        else
            continue;
        uint32_t first = unit * CELLS_PER_UNIT;
        for (uint32_t cell = first; cell < first + CELLS_PER_UNIT; cell += step) {
            uint64_t word = atomic_load_explicit(&arena.owners[cell], memory_order_acquire);
            if (word != 0 && (uint32_t)word == client)
                (void)atoll__slot_free(client, cell, (atoll__hold_t)(word >> 32));
        }
    }
}

void atoll__arena_stats(atoll_stats_t *stats) {
    (void)pthread_mutex_lock(&arena.lock);
    for (uint32_t unit = 1; unit < arena.units_carved; unit++) {
        uint32_t kind = kind_of(unit);
        if (kind == UNIT_EXTENT) stats->extents_used += arena.lengths[unit];
        if (kind < UNIT_CLASS || kind >= UNIT_CLASS + ATOLL__CLASSES) continue;
        uint32_t class = kind - UNIT_CLASS;
        uint32_t step = class_bytes[class] / ATOLL_SLOT_BYTES;
        uint32_t first = unit * CELLS_PER_UNIT;
        for (uint32_t cell = first; cell < first + CELLS_PER_UNIT; cell += step)
            stats->slots_used[class] +=
                atomic_load_explicit(&arena.owners[cell], memory_order_relaxed) != 0;
    }
    (void)pthread_mutex_unlock(&arena.lock);
}
