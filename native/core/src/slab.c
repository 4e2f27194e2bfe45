/* Slots of the six classes, from 64 B to 64 KiB.
 *
 * Owns: each thread's magazines and counters. Must not know where units come from. A slot is taken
 * from and given to magazines of the thread's own, two a class: no lock, no locked instruction. When
 * both are empty or both are full, one is exchanged with the depot, so that a thread which only gives
 * what another takes passes it on by the magazine. */
#include "arena.h"

/* Threads with magazines, for the counters; and what all others counted. */
static struct {
    pthread_mutex_t lock;
    atoll__slab_t *first;
    _Atomic uint64_t taken[ATOLL__CLASSES];
    _Atomic uint64_t given[ATOLL__CLASSES];
    _Atomic uint64_t exchanged[ATOLL__CLASSES];
} threads = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* How often the arena was short; a thread that sees a new value gives back what it hoards. */
static _Atomic uint32_t shortages;

/* By bytes in steps of 64, rounded up. */
static const uint8_t class_by_cells[ATOLL__CELLS_PER_UNIT + 1] = {
    [0 ... 1] = 0,   [2 ... 4] = 1,      [5 ... 16] = 2,
    [17 ... 64] = 3, [65 ... 256] = 4, [257 ... ATOLL__CELLS_PER_UNIT] = 5,
};

static inline uint32_t class_of(uint32_t bytes) {
    return class_by_cells[(bytes + ATOLL_SLOT_BYTES - 1) / ATOLL_SLOT_BYTES];
}

/* ---- a thread's magazines ---- */

static inline int64_t level_of(uint64_t given, uint64_t taken) {
    return (int64_t)(given - taken);
}

/* Where the loaded magazine has the slot of that level. */
static inline uint32_t *slot_at(const atoll__cache_t *cache, int64_t level) {
    return (uint32_t *)(cache->origin + (uintptr_t)level * sizeof(uint32_t));
}

static bool cache_made(const atoll__cache_t *cache) {
    return cache->ceiling != cache->floor;
}

static int64_t cache_level(atoll__cache_t *cache) {
    return level_of(
        atomic_load_explicit(&cache->given, memory_order_relaxed),
        atomic_load_explicit(&cache->taken, memory_order_relaxed));
}

/* Slots in the loaded magazine. */
static uint32_t cache_rounds(atoll__cache_t *cache) {
    return (uint32_t)(cache_level(cache) - cache->floor);
}

/* Loads a magazine that holds that many slots; the counters stay as they are. */
static inline void cache_load(
    atoll__cache_t *cache, uint32_t magazine, int64_t rounds, int64_t capacity) {
    cache->loaded = magazine;
    cache->floor = cache_level(cache) - rounds;
    cache->ceiling = cache->floor + capacity;
    cache->origin = (uintptr_t)atoll__magazine_slots(magazine) -
                    (uintptr_t)cache->floor * sizeof(uint32_t);
}

/* The full spare magazine is loaded in place of the empty one, or the other way round. */
static inline void cache_swap(atoll__cache_t *cache) {
    int64_t capacity = cache->ceiling - cache->floor;
    uint32_t loaded = cache->loaded;
    cache_load(cache, cache->spare, cache->spare_full ? capacity : 0, capacity);
    cache->spare = loaded;
    cache->spare_full = !cache->spare_full;
}

static void slab_list(atoll__slab_t *slab) {
    (void)pthread_mutex_lock(&threads.lock);
    slab->listed = true;
    slab->next = threads.first;
    if (threads.first != NULL) threads.first->before = slab;
    threads.first = slab;
    (void)pthread_mutex_unlock(&threads.lock);
}

/* Gives the thread its magazines of a class; false when there are none left. */
static bool cache_make(atoll__slab_t *slab, uint32_t class) {
    atoll__cache_t *cache = &slab->caches[class];
    uint32_t loaded = atoll__magazine_take(true);
    if (loaded == ATOLL__MAGAZINE_NONE) return false;
    uint32_t spare = atoll__magazine_take(true);
    if (spare == ATOLL__MAGAZINE_NONE) {
        atoll__magazine_give(loaded, true);
        return false;
    }
    cache->spare = spare;
    cache_load(cache, loaded, 0, atoll__depot_rounds(class));
    if (!slab->listed) slab_list(slab);
    return true;
}

static void cache_flush(atoll__cache_t *cache, uint32_t class) {
    if (!cache_made(cache)) return;
    uint32_t rounds = atoll__depot_rounds(class);
    atoll__depot_merge(class, atoll__magazine_slots(cache->loaded), cache_rounds(cache));
    if (cache->spare_full)
        atoll__depot_merge(class, atoll__magazine_slots(cache->spare), rounds);
    cache_load(cache, cache->loaded, 0, rounds);
    cache->spare_full = false;
}

static void slab_flush(atoll__slab_t *slab) {
    for (uint32_t class = 0; class < ATOLL__CLASSES; class++)
        cache_flush(&slab->caches[class], class);
}

void atoll__slab_flush(void) {
    if (atoll__thread_state != NULL) slab_flush(&atoll__thread_state->slab);
}

void atoll__slab_short(void) {
    uint32_t seen = atomic_fetch_add_explicit(&shortages, 1, memory_order_relaxed) + 1;
    if (atoll__thread_state == NULL) return;
    atoll__thread_state->slab.shortages = seen;
    slab_flush(&atoll__thread_state->slab);
}

static void heed_shortage(atoll__slab_t *slab) {
    uint32_t seen = atomic_load_explicit(&shortages, memory_order_relaxed);
    if (seen == slab->shortages) return;
    slab->shortages = seen;
    slab_flush(slab);
}

void atoll__slab_end(atoll__slab_t *slab) {
    slab_flush(slab);
    (void)pthread_mutex_lock(&threads.lock);
    for (uint32_t class = 0; class < ATOLL__CLASSES; class++) {
        atoll__cache_t *cache = &slab->caches[class];
        if (!cache_made(cache)) continue;
        atoll__magazine_give(cache->loaded, true);
        atoll__magazine_give(cache->spare, true);
        atomic_fetch_add(&threads.taken[class], atomic_load(&cache->taken));
        atomic_fetch_add(&threads.given[class], atomic_load(&cache->given));
        atomic_fetch_add(&threads.exchanged[class], atomic_load(&cache->exchanged));
    }
    if (slab->listed) {
        if (slab->next != NULL) slab->next->before = slab->before;
        if (slab->before != NULL)
            slab->before->next = slab->next;
        else
            threads.first = slab->next;
    }
    (void)pthread_mutex_unlock(&threads.lock);
}

/* ---- when the loaded magazine does not serve ---- */

/* Without magazines of its own a thread goes to the depot for each slot. */
static uint32_t take_single(uint32_t class) {
    uint32_t cell = 0;
    if (atoll__depot_fill(class, &cell, 1, false) == 0) {
        atoll__slab_short();
        if (atoll__depot_fill(class, &cell, 1, true) == 0) return 0;
    }
    atomic_fetch_add_explicit(&threads.taken[class], 1, memory_order_relaxed);
    return cell;
}

static void give_single(uint32_t class, uint32_t cell) {
    /* SYNC POINT: slot-counted; as in give_to. */
    atomic_fetch_add_explicit(&threads.given[class], 1, memory_order_release);
    atoll__depot_merge(class, &cell, 1);
}

static void count_exchange(atoll__cache_t *cache) {
    uint64_t count = atomic_load_explicit(&cache->exchanged, memory_order_relaxed);
    atomic_store_explicit(&cache->exchanged, count + 1, memory_order_relaxed);
}

/* This thread's slots of a class; NULL: it must do without. */
static atoll__cache_t *cache_own(uint32_t class) {
    atoll__thread_t *thread = atoll__thread();
    if (thread == NULL) return NULL;
    atoll__cache_t *cache = &thread->slab.caches[class];
    if (!cache_made(cache) && !cache_make(&thread->slab, class)) return NULL;
    heed_shortage(&thread->slab);
    return cache;
}

/* Both magazines are empty. */
static void refill(atoll__cache_t *cache, uint32_t class) {
    uint32_t most = atoll__depot_rounds(class);
    uint32_t full = atoll__depot_take(class);
    if (full != ATOLL__MAGAZINE_NONE) {
        atoll__magazine_give(cache->spare, false);
        cache->spare = cache->loaded;
        cache_load(cache, full, most, most);
        count_exchange(cache);
        return;
    }
    uint32_t *slots = atoll__magazine_slots(cache->loaded);
    uint32_t rounds = atoll__depot_fill(class, slots, most, false);
    if (rounds == 0) {
        atoll__slab_short();
        /* One slot only: what is short is not hoarded. */
        rounds = atoll__depot_fill(class, slots, 1, true);
    }
    cache_load(cache, cache->loaded, rounds, most);
}

/* Both magazines are full; false: there is no empty one. */
static bool empty_out(atoll__cache_t *cache, uint32_t class) {
    uint32_t empty = atoll__magazine_take(false);
    if (empty == ATOLL__MAGAZINE_NONE) return false;
    atoll__depot_give(class, cache->spare);
    cache->spare = cache->loaded;
    cache_load(cache, empty, 0, atoll__depot_rounds(class));
    count_exchange(cache);
    return true;
}

static inline uint32_t take_from(atoll__cache_t *cache, uint64_t given, uint64_t taken) {
    uint32_t cell = *slot_at(cache, level_of(given, taken) - 1);
    atomic_store_explicit(&cache->taken, taken + 1, memory_order_relaxed);
    return cell;
}

/* ---- slots ---- */

static inline uint32_t hand_out(uint32_t client, uint32_t cell, uint32_t bytes, atoll__hold_t hold) {
    (void)bytes;
    atoll__poison_take(cell, bytes);
    /* SYNC POINT: slot-hold, the first holder's end. */
    atomic_store_explicit(
        atoll__owner_of(cell), atoll__owner_word(client, hold), memory_order_release);
    return cell;
}

/* Neither magazine serves, or there are none. */
static uint32_t take_from_depot(uint32_t class) {
    atoll__cache_t *cache = cache_own(class);
    if (cache == NULL) return take_single(class);
    /* Heeding a shortage may have emptied the spare one as well, but filled none. */
    refill(cache, class);
    if (cache_rounds(cache) == 0) return 0;
    return take_from(cache, atomic_load(&cache->given), atomic_load(&cache->taken));
}

static __attribute__((noinline)) uint32_t take_slowly(
    uint32_t client, uint32_t bytes, atoll__hold_t hold) {
    uint32_t cell;
    if (bytes > ATOLL__UNIT_BYTES) {
        cell = atoll__extent_take(bytes);
        return cell == 0 ? 0 : hand_out(client, cell, atoll__slot_capacity(cell), hold);
    }
    uint32_t class = class_of(bytes);
    atoll__thread_t *thread = atoll__thread_state;
    atoll__cache_t *cache = thread == NULL ? NULL : &thread->slab.caches[class];
    if (cache != NULL && cache->spare_full) {
        cache_swap(cache);
        cell = take_from(cache, atomic_load(&cache->given), atomic_load(&cache->taken));
    } else {
        cell = take_from_depot(class);
        if (cell == 0) return 0;
    }
    return hand_out(client, cell, atoll__class_bytes(class), hold);
}

uint32_t atoll__slot_take(uint32_t client, uint32_t bytes, atoll__hold_t hold) {
    atoll__thread_t *thread = atoll__thread_state;
    if (thread == NULL || bytes > ATOLL__UNIT_BYTES) return take_slowly(client, bytes, hold);
    uint32_t class = class_of(bytes);
    atoll__cache_t *cache = &thread->slab.caches[class];
    uint64_t given = atomic_load_explicit(&cache->given, memory_order_relaxed);
    uint64_t taken = atomic_load_explicit(&cache->taken, memory_order_relaxed);
    if (level_of(given, taken) == cache->floor) return take_slowly(client, bytes, hold);
    uint32_t cell = take_from(cache, given, taken);
    return hand_out(client, cell, atoll__class_bytes(class), hold);
}

static inline void give_to(atoll__cache_t *cache, uint64_t given, uint64_t taken, uint32_t cell) {
    *slot_at(cache, level_of(given, taken)) = cell;
    /* SYNC POINT: slot-counted releases the count of its taking, which came before on whatever
     * thread, for atoll__slab_stats. */
    atomic_store_explicit(&cache->given, given + 1, memory_order_release);
}

/* Neither magazine serves, or there are none. */
static void give_to_depot(uint32_t class, uint32_t cell) {
    atoll__cache_t *cache = cache_own(class);
    /* Heeding a shortage may have emptied both. */
    bool full = cache != NULL && cache_level(cache) == cache->ceiling;
    if (cache == NULL || (full && !empty_out(cache, class)))
        give_single(class, cell);
    else
        give_to(cache, atomic_load(&cache->given), atomic_load(&cache->taken), cell);
}

static __attribute__((noinline)) bool give_slowly(uint32_t cell, uint32_t kind) {
    if (kind == ATOLL__UNIT_EXTENT) {
        atoll__extent_give(cell);
        return true;
    }
    uint32_t class = kind - ATOLL__UNIT_CLASS;
    atoll__thread_t *thread = atoll__thread_state;
    atoll__cache_t *cache = thread == NULL ? NULL : &thread->slab.caches[class];
    if (cache != NULL && cache_made(cache) && !cache->spare_full) {
        cache_swap(cache);
        give_to(cache, atomic_load(&cache->given), atomic_load(&cache->taken), cell);
    } else {
        give_to_depot(class, cell);
    }
    return true;
}

bool atoll__slot_free(uint32_t client, uint32_t slot, atoll__hold_t from) {
    if (!atoll__owner_move(client, slot, from, ATOLL__HOLD_FREE)) {
        if (from != ATOLL__HOLD_CLIENT) atoll__poison_double(slot);
        return false;
    }
    atoll__poison_give(slot, atoll__slot_capacity(slot));
    uint32_t kind = atoll__unit_kind(slot / ATOLL__CELLS_PER_UNIT);
    atoll__thread_t *thread = atoll__thread_state;
    if (thread == NULL || kind == ATOLL__UNIT_EXTENT) return give_slowly(slot, kind);
    atoll__cache_t *cache = &thread->slab.caches[kind - ATOLL__UNIT_CLASS];
    uint64_t given = atomic_load_explicit(&cache->given, memory_order_relaxed);
    uint64_t taken = atomic_load_explicit(&cache->taken, memory_order_relaxed);
    if (level_of(given, taken) == cache->ceiling) return give_slowly(slot, kind);
    give_to(cache, given, taken, slot);
    return true;
}

/* Given is read before taken: no slot is seen given and not taken. */
void atoll__slab_stats(atoll_stats_t *stats) {
    (void)pthread_mutex_lock(&threads.lock);
    for (uint32_t class = 0; class < ATOLL__CLASSES; class++) {
        /* SYNC POINT: slot-counted, the end that sums up: given by threads without magazines. */
        uint64_t given = atomic_load_explicit(&threads.given[class], memory_order_acquire);
        /* SYNC POINT: slot-counted, given by each of the others. */
        for (atoll__slab_t *slab = threads.first; slab != NULL; slab = slab->next)
            given += atomic_load_explicit(&slab->caches[class].given, memory_order_acquire);
        uint64_t taken = atomic_load_explicit(&threads.taken[class], memory_order_relaxed);
        uint64_t exchanged = atomic_load_explicit(&threads.exchanged[class], memory_order_relaxed);
        for (atoll__slab_t *slab = threads.first; slab != NULL; slab = slab->next) {
            taken += atomic_load_explicit(&slab->caches[class].taken, memory_order_relaxed);
            exchanged += atomic_load_explicit(&slab->caches[class].exchanged, memory_order_relaxed);
        }
        stats->slots_taken[class] = taken;
        stats->slots_given[class] = given;
        stats->slots_used[class] = (uint32_t)(taken - given);
        stats->magazines_exchanged[class] = exchanged;
    }
    (void)pthread_mutex_unlock(&threads.lock);
}
