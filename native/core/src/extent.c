/* Extents: payloads that are larger than a unit.
 *
 * Owns: how long each is, and when its pages go back to the system. Must not know classes. An extent
 * is a run of units; its memory is contiguous, so that a frame in it is read like any other. */
#include "arena.h"

#define EXTENT_UNITS_MAX 512u

static struct {
    uint32_t *lengths; /* by first unit; written by who takes it, read by who holds it */
    uint32_t units_max;
    uint32_t used; /* units; lock */
    uint32_t peak; /* lock */
} extents;

bool atoll__extents_open(uint32_t units) {
    extents.units_max = units / 4 < EXTENT_UNITS_MAX ? units / 4 : EXTENT_UNITS_MAX;
    extents.lengths = atoll__prim_reserve(units * sizeof *extents.lengths);
    return extents.lengths != NULL;
}

uint32_t atoll__extent_units_max(void) {
    return extents.units_max;
}

/* Needs the lock. */
static void extent_mark(uint32_t unit, uint32_t count) {
    atoll__unit_mark(unit, ATOLL__UNIT_EXTENT);
    extents.lengths[unit] = count;
    extents.used += count;
    if (extents.used > extents.peak) extents.peak = extents.used;
}

uint32_t atoll__extent_take(uint32_t bytes) {
    uint32_t count = bytes / ATOLL__UNIT_BYTES + (bytes % ATOLL__UNIT_BYTES != 0);
    if (count > extents.units_max) return 0;
    atoll__arena_lock();
    uint32_t unit = atoll__units_take(count);
    if (unit == 0) {
        atoll__arena_unlock();
        atoll__slab_short();
        atoll__arena_lock();
        unit = atoll__depot_units(count);
    }
    if (unit != 0) extent_mark(unit, count);
    atoll__arena_unlock();
    return unit * ATOLL__CELLS_PER_UNIT;
}

void atoll__extent_give(uint32_t cell) {
    uint32_t unit = cell / ATOLL__CELLS_PER_UNIT;
    uint32_t count = extents.lengths[unit];
    /* Before anybody can take it again, and outside of the lock: the system takes its time. */
    bool clean = false;
    if (!atoll__units_kept(count)) {
        size_t bytes = (size_t)count * ATOLL__UNIT_BYTES;
        clean = atoll__prim_discard(
                    atoll__slot_bytes(cell), bytes, atoll__arena.map.page_bytes) == bytes;
    }
    atoll__arena_lock();
    atoll__unit_mark(unit, ATOLL__UNIT_FREE);
    extents.used -= count;
    atoll__units_give(unit, count, clean);
    atoll__arena_unlock();
}

uint32_t atoll__extent_bytes(uint32_t unit) {
    return extents.lengths[unit] * ATOLL__UNIT_BYTES;
}

void atoll__extent_stats(atoll_stats_t *stats) {
    atoll__arena_lock();
    stats->extents_used = extents.used;
    stats->extents_peak = extents.peak;
    atoll__arena_unlock();
}
