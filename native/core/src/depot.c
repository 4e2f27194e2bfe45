/* The depot: free slots between threads.
 *
 * Owns: full magazines by class, empty ones, single slots, and the units that are cut into slots.
 * Must not know threads. Magazines change hands whole, by one exchange, so that what one thread gives
 * and another takes costs a fraction of an exchange a slot (Bonwick and Adams, "Magazines and vmem",
 * USENIX 2001). A magazine is an array of slot indices outside of the arena. */
#include <string.h>

#include "arena.h"

/* Of threads that have magazines of all classes at once; others do without. */
#define THREADS_MAX 1024u
/* Two magazines a class: 8 + 32 + 128 + 64 + 256 + 640 KiB are the most that a thread hoards, and
 * less of a small arena. */
#define HOARD_SHARE 256u

static const uint32_t rounds_most[ATOLL__CLASSES] = {64, 64, 64, 8, 8, 5};

typedef struct depot {
    atoll__stack_t full;
    uint32_t rounds;
    /* All below: lock. */
    uint32_t carved; /* units, ever */
    /* Slots that were cut and had by somebody. Fresh ones are handed out only when no other is free,
     * so that the most there ever were is the most that threads needed at once. */
    uint32_t had;
    uint32_t peak;
    uint32_t singles_count;
    uint32_t fresh; /* slots of the unit that was cut last, which nobody had yet */
    uint32_t fresh_end;
    bool settled; /* the last compaction left nothing to be found */
    uint64_t settled_head;
    uint32_t singles[ATOLL__ROUNDS_MAX];
} depot_t;

static struct {
    depot_t classes[ATOLL__CLASSES];
    _Atomic uint32_t *links;
    uint32_t magazines_max;
    uint32_t *counts; /* by unit, scratch of the compaction; lock */
    atoll__stack_t empty;
    _Atomic uint32_t made;    /* magazines that were ever taken */
    _Atomic uint32_t lasting; /* in threads' hands for good */
} depots;

bool atoll__depots_open(uint32_t units) {
    uint32_t each = 0;
    for (uint32_t class = 0; class < ATOLL__CLASSES; class++) {
        uint32_t share = units * (ATOLL__UNIT_BYTES / HOARD_SHARE) / atoll__class_bytes(class);
        uint32_t rounds = rounds_most[class] < share ? rounds_most[class] : share;
        if (rounds == 0) rounds = 1;
        depots.classes[class].rounds = rounds;
        uint32_t cells = ATOLL__UNIT_BYTES / atoll__class_bytes(class);
        uint32_t most = (cells + rounds - 1) / rounds;
        if (most > each) each = most;
    }
    /* As many as can be full, and two for each thread and class: when a thread needs an empty one,
     * there is one. */
    depots.magazines_max = units * each + THREADS_MAX * ATOLL__CLASSES * 2;
    uint32_t (*slots)[ATOLL__ROUNDS_MAX];
    slots = atoll__prim_reserve((size_t)depots.magazines_max * sizeof *slots);
    atoll__arena.magazines = slots;
    depots.links = atoll__prim_reserve((size_t)depots.magazines_max * sizeof *depots.links);
    depots.counts = atoll__prim_reserve(units * sizeof *depots.counts);
    return slots != NULL && depots.links != NULL && depots.counts != NULL;
}

uint32_t atoll__depot_rounds(uint32_t class) {
    return depots.classes[class].rounds;
}

/* ---- magazines ---- */

/* Adds to a counter that must not pass a limit; false: it would. */
static bool count_below(_Atomic uint32_t *counter, uint32_t limit, uint32_t *before) {
    *before = atomic_load_explicit(counter, memory_order_relaxed);
    do {
        if (*before >= limit) return false;
    } while (!atomic_compare_exchange_weak_explicit(
        counter, before, *before + 1, memory_order_relaxed, memory_order_relaxed));
    return true;
}

uint32_t atoll__magazine_take(bool lasting) {
    uint32_t before;
    if (lasting && !count_below(&depots.lasting, THREADS_MAX * ATOLL__CLASSES * 2, &before))
        return ATOLL__MAGAZINE_NONE;
    uint32_t magazine = atoll__stack_pop(&depots.empty, depots.links);
    if (magazine != ATOLL__STACK_EMPTY) return magazine;
    if (count_below(&depots.made, depots.magazines_max, &magazine)) return magazine;
    if (lasting) atomic_fetch_sub_explicit(&depots.lasting, 1, memory_order_relaxed);
    return ATOLL__MAGAZINE_NONE;
}

void atoll__magazine_give(uint32_t magazine, bool lasting) {
    atoll__stack_push(&depots.empty, depots.links, magazine);
    if (lasting) atomic_fetch_sub_explicit(&depots.lasting, 1, memory_order_relaxed);
}

uint32_t atoll__depot_take(uint32_t class) {
    return atoll__stack_pop(&depots.classes[class].full, depots.links);
}

void atoll__depot_give(uint32_t class, uint32_t magazine) {
    atoll__stack_push(&depots.classes[class].full, depots.links, magazine);
}

/* ---- single slots; all of it needs the lock ---- */

/* Files a single slot; a magazine's worth of them becomes a magazine. Returns how many did. */
static uint32_t single_put(depot_t *depot, uint32_t cell) {
    depot->singles[depot->singles_count++] = cell;
    if (depot->singles_count < depot->rounds) return 0;
    uint32_t magazine = atoll__magazine_take(false);
    assert(magazine != ATOLL__MAGAZINE_NONE);
    memcpy(atoll__magazine_slots(magazine), depot->singles, depot->rounds * sizeof *depot->singles);
    depot->singles_count = 0;
    atoll__stack_push(&depot->full, depots.links, magazine);
    return 1;
}

static uint32_t fill_singles(depot_t *depot, uint32_t *slots, uint32_t most) {
    uint32_t count = depot->singles_count < most ? depot->singles_count : most;
    depot->singles_count -= count;
    memcpy(slots, depot->singles + depot->singles_count, count * sizeof *slots);
    return count;
}

static uint32_t fill_fresh(depot_t *depot, uint32_t class, uint32_t *slots, uint32_t most) {
    uint32_t step = atoll__class_bytes(class) / ATOLL_SLOT_BYTES;
    uint32_t count = 0;
    for (; count < most && depot->fresh < depot->fresh_end; depot->fresh += step)
        slots[count++] = depot->fresh;
    depot->had += count;
    if (depot->had > depot->peak) depot->peak = depot->had;
    return count;
}

/* ---- compaction; needs the lock ---- */

static void count_slots(const uint32_t *slots, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) depots.counts[slots[i] / ATOLL__CELLS_PER_UNIT]++;
}

static void unit_free(uint32_t unit) {
    atoll__unit_mark(unit, ATOLL__UNIT_FREE);
    atoll__units_give(unit, 1, false);
}

/* Puts slots back whose units stay cut; the others' units become free. */
static uint32_t keep_slots(depot_t *depot, uint32_t whole, const uint32_t *slots, uint32_t count) {
    uint32_t magazines = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t unit = slots[i] / ATOLL__CELLS_PER_UNIT;
        if (depots.counts[unit] < whole) {
            magazines += single_put(depot, slots[i]);
        } else if (atoll__unit_kind(unit) != ATOLL__UNIT_FREE) {
            unit_free(unit);
            depot->had -= whole;
        }
    }
    return magazines;
}

/* Makes units free all of whose slots are in the depot; false when there is nothing to look at. */
static bool compact(uint32_t class) {
    depot_t *depot = &depots.classes[class];
    uint64_t head = atomic_load_explicit(&depot->full.head, memory_order_relaxed);
    if (depot->settled && head == depot->settled_head) return false;
    uint32_t first = atoll__stack_take_all(&depot->full);
    uint32_t whole = ATOLL__UNIT_BYTES / atoll__class_bytes(class);
    uint32_t step = ATOLL__CELLS_PER_UNIT / whole;
    uint32_t singles[ATOLL__ROUNDS_MAX];
    uint32_t singles_count = fill_singles(depot, singles, ATOLL__ROUNDS_MAX);
    count_slots(singles, singles_count);
    uint32_t fresh = (depot->fresh_end - depot->fresh) / step;
    uint32_t fresh_unit = depot->fresh / ATOLL__CELLS_PER_UNIT;
    if (fresh == whole) {
        /* Nobody had any of it: the thread that cut it was served by what another one gave
         * meanwhile. None of its slots is in a list that would lead back to it. */
        unit_free(fresh_unit);
        depot->fresh = depot->fresh_end;
    } else if (fresh > 0) {
        depots.counts[fresh_unit] += fresh;
    }
    for (uint32_t at = first; at != ATOLL__STACK_EMPTY;
         at = atomic_load_explicit(&depots.links[at], memory_order_relaxed) - 1u)
        count_slots(atoll__magazine_slots(at), depot->rounds);
    /* Fresh slots need no magazine: they go with their unit or stay as they are. */
    if (depot->fresh < depot->fresh_end && depots.counts[fresh_unit] == whole) {
        depot->had += fresh;
        depot->fresh = depot->fresh_end;
    }
    uint32_t pushed = keep_slots(depot, whole, singles, singles_count);
    for (uint32_t at = first; at != ATOLL__STACK_EMPTY;) {
        uint32_t next = atomic_load_explicit(&depots.links[at], memory_order_relaxed) - 1u;
        uint32_t slots[ATOLL__ROUNDS_MAX];
        memcpy(slots, atoll__magazine_slots(at), depot->rounds * sizeof *slots);
        atoll__magazine_give(at, false);
        pushed += keep_slots(depot, whole, slots, depot->rounds);
        at = next;
    }
    memset(depots.counts, 0, atoll__units_top() * sizeof *depots.counts);
    /* Each change of the head counts its tag up. Has nobody come between, the next compaction would
     * find the same: a full arena is not searched again for each slot that it has not. */
    uint64_t now = atomic_load_explicit(&depot->full.head, memory_order_relaxed);
    uint32_t changes = pushed + (first != ATOLL__STACK_EMPTY ? 1 : 0);
    depot->settled = (uint32_t)(now >> 32) == (uint32_t)(head >> 32) + changes;
    depot->settled_head = now;
    return true;
}

uint32_t atoll__depot_units(uint32_t count) {
    uint32_t unit = atoll__units_take(count);
    for (uint32_t class = ATOLL__CLASSES; unit == 0 && class-- > 0;) {
        /* Others give full magazines without the lock. */
        ATOLL__WINDOW();
        if (compact(class)) unit = atoll__units_take(count);
    }
    return unit;
}

/* ---- what needs no lock of the caller ---- */

/* Slots that are there without cutting a unit. Needs the lock. */
static uint32_t fill_known(depot_t *depot, uint32_t class, uint32_t *slots, uint32_t most) {
    uint32_t count = fill_singles(depot, slots, most);
    if (count == 0) count = fill_fresh(depot, class, slots, most);
    if (count > 0) return count;
    /* Another thread may have given one while this one waited for the lock. */
    uint32_t magazine = atoll__stack_pop(&depot->full, depots.links);
    if (magazine == ATOLL__STACK_EMPTY) return 0;
    uint32_t given[ATOLL__ROUNDS_MAX];
    memcpy(given, atoll__magazine_slots(magazine), depot->rounds * sizeof *given);
    atoll__magazine_give(magazine, false);
    for (uint32_t i = 0; i < depot->rounds; i++) {
        if (count < most)
            slots[count++] = given[i];
        else
            (void)single_put(depot, given[i]);
    }
    depot->settled = false;
    return count;
}

uint32_t atoll__depot_fill(uint32_t class, uint32_t *slots, uint32_t most, bool hard) {
    depot_t *depot = &depots.classes[class];
    atoll__arena_lock();
    uint32_t count = fill_known(depot, class, slots, most);
    if (count == 0) {
        uint32_t unit = hard ? atoll__depot_units(1) : atoll__units_take(1);
        if (unit != 0) {
            atoll__unit_mark(unit, ATOLL__UNIT_CLASS + class);
            depot->carved++;
            depot->fresh = unit * ATOLL__CELLS_PER_UNIT;
            depot->fresh_end = depot->fresh + ATOLL__CELLS_PER_UNIT;
            depot->settled = false;
        }
        /* Also where no unit was found: the compaction may have filed slots of this class. */
        count = fill_known(depot, class, slots, most);
    }
    atoll__arena_unlock();
    return count;
}

void atoll__depot_merge(uint32_t class, const uint32_t *slots, uint32_t count) {
    if (count == 0) return;
    depot_t *depot = &depots.classes[class];
    atoll__arena_lock();
    for (uint32_t i = 0; i < count; i++) (void)single_put(depot, slots[i]);
    depot->settled = false;
    atoll__arena_unlock();
}

void atoll__depot_stats(atoll_stats_t *stats) {
    atoll__arena_lock();
    for (uint32_t class = 0; class < ATOLL__CLASSES; class++) {
        stats->slots_peak[class] = depots.classes[class].peak;
        stats->units_carved[class] = depots.classes[class].carved;
    }
    atoll__arena_unlock();
}
