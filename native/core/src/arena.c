/* The arena as the rest of the core sees it.
 *
 * Owns: its mapping, whose each slot is, and what becomes of a dead client's slots. Must not know
 * frames or calls. arena.h says how its parts fit together. */
#include "arena.h"

atoll__arena_t atoll__arena = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct {
    uint32_t asked;
    uint32_t got;
} mapping;

static void mapping_note(const atoll__arena_options_t *options, const atoll__map_t *map) {
    mapping.asked = ATOLL_MAPPING_GUARDED;
    if (options->huge != 0) mapping.asked |= ATOLL_MAPPING_HUGE;
    if (options->prefault != 0) mapping.asked |= ATOLL_MAPPING_PREFAULTED;
    if (options->lock != 0) mapping.asked |= ATOLL_MAPPING_LOCKED;
    if (options->numa != ATOLL__NUMA_NONE) mapping.asked |= ATOLL_MAPPING_BOUND;
    mapping.got = 0;
    if (map->guarded) mapping.got |= ATOLL_MAPPING_GUARDED;
    if (map->pages != ATOLL__PAGES_PLAIN) mapping.got |= ATOLL_MAPPING_HUGE;
    if (map->pages == ATOLL__PAGES_RESERVED) mapping.got |= ATOLL_MAPPING_RESERVED;
    if (map->prefaulted) mapping.got |= ATOLL_MAPPING_PREFAULTED;
    if (map->locked_bytes == map->bytes) mapping.got |= ATOLL_MAPPING_LOCKED;
    if (map->bound) mapping.got |= ATOLL_MAPPING_BOUND;
}

static atoll_status_t no_room(size_t bytes) {
    return atoll__failf(
        ATOLL_NO_MEMORY,
        "Cannot reserve the arena: no address space for %zu bytes and the tables about them; lower "
        "native.arena.bytes or raise `ulimit -v`",
        bytes);
}

atoll_status_t atoll__arena_open(const atoll__arena_options_t *options) {
    atoll__arena_t *arena = &atoll__arena;
    if (arena->base != NULL) return ATOLL_OK;
    const atoll__map_options_t wanted = {
        .bytes = options->bytes / ATOLL__UNIT_BYTES * ATOLL__UNIT_BYTES,
        .numa = options->numa,
        .guard = true,
        .huge = options->huge != 0,
        .prefault = options->prefault != 0,
        .lock = options->lock != 0,
    };
    /* A failure is for good: what was reserved before it stays reserved. */
    if (atoll__prim_map(&wanted, &arena->map) != 0)
        return no_room(wanted.bytes);
    /* Reserved huge pages may have rounded it up. */
    arena->units = (uint32_t)(arena->map.bytes / ATOLL__UNIT_BYTES);
    arena->cells = arena->units * ATOLL__CELLS_PER_UNIT;
    size_t owners = (size_t)arena->cells + (size_t)arena->units * ATOLL__OWNERS_GAP;
    arena->owners = atoll__prim_reserve(owners * sizeof *arena->owners);
    arena->kinds = atoll__prim_reserve(arena->units * sizeof *arena->kinds);
    if (arena->owners == NULL || arena->kinds == NULL || !atoll__units_open(arena->units) ||
        !atoll__depots_open(arena->units) || !atoll__extents_open(arena->units) ||
        !atoll__poison_open(arena->cells))
        return no_room(wanted.bytes);
    atoll__unit_mark(0, ATOLL__UNIT_RESERVED);
    mapping_note(options, &arena->map);
    arena->base = arena->map.base;
    return ATOLL_OK;
}

void atoll__arena_info(atoll_arena_info_t *info) {
    const atoll__map_t *map = &atoll__arena.map;
    info->base = (uint64_t)(uintptr_t)map->base;
    info->size = map->bytes;
    info->payload_bytes_max = atoll__arena_payload_max();
    info->mapping_asked = mapping.asked;
    info->mapping_got = mapping.got;
    info->page_bytes = (uint32_t)map->page_bytes;
    info->numa_nodes = map->numa_nodes;
    info->locked_bytes = map->locked_bytes;
}

uint8_t *atoll__arena_base(void) {
    return atoll__arena.base;
}

uint64_t atoll__arena_size(void) {
    return atoll__arena.map.bytes;
}

uint32_t atoll__arena_payload_max(void) {
    return atoll__extent_units_max() * ATOLL__UNIT_BYTES - ATOLL_FRAME_BYTES;
}

bool atoll__slot_is(uint32_t client, uint32_t slot, atoll__hold_t hold) {
    if (slot >= atoll__arena.cells) return false;
    /* SYNC POINT: slot-hold, a look. */
    uint64_t word = atomic_load_explicit(atoll__owner_of(slot), memory_order_acquire);
    return word == atoll__owner_word(client, hold);
}

bool atoll__slot_move(uint32_t client, uint32_t slot, atoll__hold_t from, atoll__hold_t to) {
    assert(from != ATOLL__HOLD_FREE && to != ATOLL__HOLD_FREE);
    return atoll__owner_move(client, slot, from, to);
}

uint32_t atoll__slot_capacity(uint32_t slot) {
    uint32_t unit = slot / ATOLL__CELLS_PER_UNIT;
    uint32_t kind = atoll__unit_kind(unit);
    if (kind == ATOLL__UNIT_EXTENT) return atoll__extent_bytes(unit);
    return atoll__class_bytes(kind - ATOLL__UNIT_CLASS);
}

uint8_t *atoll__slot_bytes(uint32_t slot) {
    return atoll__arena.base + (size_t)slot * ATOLL_SLOT_BYTES;
}

void atoll__arena_sweep(uint32_t client) {
    atoll__arena_lock();
    uint32_t units = atoll__units_top();
    atoll__arena_unlock();
    for (uint32_t unit = 1; unit < units; unit++) {
        /* The kind of a unit without a slot of this client may change meanwhile; then none of its
         * words names this client, whatever the step. */
        uint32_t kind = atoll__unit_kind(unit);
        uint32_t step = ATOLL__CELLS_PER_UNIT;
        if (kind >= ATOLL__UNIT_CLASS && kind < ATOLL__UNIT_CLASS + ATOLL__CLASSES)
            step = atoll__class_bytes(kind - ATOLL__UNIT_CLASS) / ATOLL_SLOT_BYTES;
        else if (kind != ATOLL__UNIT_EXTENT)
            continue;
        uint32_t first = unit * ATOLL__CELLS_PER_UNIT;
        for (uint32_t cell = first; cell < first + ATOLL__CELLS_PER_UNIT; cell += step) {
            /* SYNC POINT: slot-hold. */
            uint64_t word = atomic_load_explicit(atoll__owner_of(cell), memory_order_acquire);
            if (word != 0 && (uint32_t)word == client)
                (void)atoll__slot_free(client, cell, (atoll__hold_t)(word >> 32));
        }
    }
    /* This thread takes hardly ever any itself. */
    atoll__slab_flush();
}

void atoll__arena_stats(atoll_stats_t *stats) {
    atoll__slab_stats(stats);
    atoll__depot_stats(stats);
    atoll__extent_stats(stats);
}
