/* Slots, magazines and extents: counters, what passes between threads, what is given back. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "arena.h"
#include "harness.h"

#define MANY 3000u

static uint32_t many[MANY];

static void take_many(uint32_t client, uint32_t bytes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        many[i] = atoll__slot_take(client, bytes, ATOLL__HOLD_LIBRARY);
        CHECK(many[i] != 0);
    }
}

static void give_many(uint32_t client, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        CHECK(atoll__slot_free(client, many[i], ATOLL__HOLD_LIBRARY));
}

static void in_thread(void *(*body)(void *), void *argument) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, body, argument) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

TEST(slab_counters, "slab: each class counts what is taken, given, in use, and its high-water mark") {
    peer_t peer = peer_open();
    const uint32_t sizes[] = {64, 256, 1024, 4096, 16384, 65536};
    for (uint32_t class = 0; class < ATOLL__CLASSES; class++) {
        atoll_stats_t before = stats_now();
        uint32_t count = class < 3 ? 2000 : 40;
        take_many(peer.client, sizes[class], count);
        atoll_stats_t full = stats_now();
        CHECK_EQUAL(full.slots_taken[class] - before.slots_taken[class], count);
        CHECK_EQUAL(full.slots_given[class], before.slots_given[class]);
        CHECK_EQUAL(full.slots_used[class] - before.slots_used[class], count);
        CHECK(full.slots_peak[class] >= full.slots_used[class]);
        uint32_t per_unit = ATOLL__UNIT_BYTES / sizes[class];
        CHECK(full.units_carved[class] >= full.slots_peak[class] / per_unit);
        give_many(peer.client, count);
        atoll_stats_t after = stats_now();
        CHECK_EQUAL(after.slots_used[class], before.slots_used[class]);
        CHECK_EQUAL(after.slots_given[class] - before.slots_given[class], count);
        CHECK_EQUAL(after.slots_peak[class], full.slots_peak[class]);
        /* What is free serves again before anything is cut. */
        take_many(peer.client, sizes[class], count);
        give_many(peer.client, count);
        atoll_stats_t again = stats_now();
        CHECK_EQUAL(again.slots_peak[class], after.slots_peak[class]);
        CHECK_EQUAL(again.units_carved[class], after.units_carved[class]);
        for (uint32_t other = 0; other < ATOLL__CLASSES; other++)
            if (other != class) CHECK_EQUAL(again.slots_taken[other], before.slots_taken[other]);
    }
    peer_close(&peer);
}

static void *give_all(void *argument) {
    give_many(*(uint32_t *)argument, MANY);
    return NULL;
}

TEST(slab_remote, "slab: what one thread takes and another gives passes by the magazine") {
    peer_t peer = peer_open();
    const uint32_t class = 1;
    uint32_t rounds = atoll__depot_rounds(class);
    for (uint32_t round = 0; round < 3; round++) {
        atoll_stats_t before = stats_now();
        take_many(peer.client, 256, MANY);
        in_thread(give_all, &peer.client);
        atoll_stats_t after = stats_now();
        CHECK_EQUAL(after.slots_used[class], before.slots_used[class]);
        /* Two stay with the giver until it ends; from the second round on the taker gets by the
         * magazine what the giver gave. */
        uint64_t exchanged = after.magazines_exchanged[class] - before.magazines_exchanged[class];
        CHECK(exchanged >= MANY / rounds - 2);
        CHECK(exchanged <= 2 * (MANY / rounds + 1));
        if (round > 0) CHECK_EQUAL(after.units_carved[class], before.units_carved[class]);
    }
    peer_close(&peer);
}

/* How many slots of 64 KiB there are at most; all are given back. */
static uint32_t whole_units(uint32_t client) {
    uint32_t count = 0;
    while (count < MANY) {
        many[count] = atoll__slot_take(client, 65536, ATOLL__HOLD_LIBRARY);
        if (many[count] == 0) break;
        count++;
    }
    give_many(client, count);
    return count;
}

static void *hoard(void *argument) {
    uint32_t client = *(uint32_t *)argument;
    const uint32_t sizes[] = {1, 200, 1000, 4000, 16000, 65536, 200000};
    uint32_t slots[7];
    for (uint32_t i = 0; i < 7; i++)
        slots[i] = atoll__slot_take(client, sizes[i], ATOLL__HOLD_LIBRARY);
    for (uint32_t i = 0; i < 7; i++) CHECK(atoll__slot_free(client, slots[i], ATOLL__HOLD_LIBRARY));
    return NULL;
}

TEST(slab_thread_end, "slab: a thread that ends gives back what it hoards, and its counts stay") {
    peer_t peer = peer_open();
    uint32_t units = whole_units(peer.client);
    atoll_stats_t before = stats_now();
    for (uint32_t i = 0; i < 50; i++) in_thread(hoard, &peer.client);
    atoll_stats_t after = stats_now();
    for (uint32_t class = 0; class < ATOLL__CLASSES; class++) {
        CHECK_EQUAL(after.slots_taken[class] - before.slots_taken[class], 50);
        CHECK_EQUAL(after.slots_used[class], before.slots_used[class]);
    }
    CHECK_EQUAL(whole_units(peer.client), units);
    peer_close(&peer);
}

static _Atomic uint32_t idle_step;

static void *idle_thread(void *argument) {
    uint32_t client = *(uint32_t *)argument;
    uint32_t held[64];
    uint32_t rounds = 2 * atoll__depot_rounds(5);
    for (uint32_t i = 0; i < rounds; i++)
        held[i] = atoll__slot_take(client, 65536, ATOLL__HOLD_LIBRARY);
    for (uint32_t i = 0; i < rounds; i++)
        CHECK(atoll__slot_free(client, held[i], ATOLL__HOLD_LIBRARY));
    atomic_store(&idle_step, 1);
    EVENTUALLY(atomic_load(&idle_step) == 2);
    /* The next time it comes by the depot, in any class, it hears of the shortage. */
    uint32_t slot = atoll__slot_take(client, 64, ATOLL__HOLD_LIBRARY);
    CHECK(slot == 0 || atoll__slot_free(client, slot, ATOLL__HOLD_LIBRARY));
    atomic_store(&idle_step, 3);
    EVENTUALLY(atomic_load(&idle_step) == 4);
    return NULL;
}

TEST(slab_short, "slab: when the arena is short, threads give back what they hoard") {
    peer_t peer = peer_open();
    uint32_t units = whole_units(peer.client);
    pthread_t thread;
    atomic_store(&idle_step, 0);
    CHECK(pthread_create(&thread, NULL, idle_thread, &peer.client) == 0);
    EVENTUALLY(atomic_load(&idle_step) == 1);
    CHECK(whole_units(peer.client) < units);
    atomic_store(&idle_step, 2);
    EVENTUALLY(atomic_load(&idle_step) == 3);
    CHECK(whole_units(peer.client) + 1 >= units);
    atomic_store(&idle_step, 4);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EQUAL(whole_units(peer.client), units);
    peer_close(&peer);
}

/* More units than any arena has: asking for them looks at every class. */
#define NEVER_UNITS (1u << 20)

static void compact_all(void) {
    atoll__slab_flush();
    atoll__arena_lock();
    uint32_t unit = atoll__depot_units(NEVER_UNITS);
    atoll__arena_unlock();
    CHECK_EQUAL(unit, 0);
}

TEST(slab_fresh, "slab: a unit that was cut, and of which nobody had a slot, becomes free again") {
    peer_t peer = peer_open();
    uint32_t units = whole_units(peer.client);
    compact_all();
    /* Of the largest class nothing is free now but whole units: one is cut, and no slot taken. */
    uint32_t none = 0;
    uint32_t carved = stats_now().units_carved[ATOLL__CLASSES - 1];
    CHECK_EQUAL(atoll__depot_fill(ATOLL__CLASSES - 1, &none, 0, false), 0);
    CHECK_EQUAL(stats_now().units_carved[ATOLL__CLASSES - 1], carved + 1);
    compact_all();
    CHECK_EQUAL(whole_units(peer.client), units);
    peer_close(&peer);
}

typedef struct {
    uint32_t client;
    uint32_t seed;
    uint32_t short_of; /* how often there was no slot */
    uint32_t slots[8 * MANY];
} greedy_t;

/* Takes slots of one class after the other until there are none, and gives them back. */
static void *greedy(void *argument) {
    greedy_t *greedy = argument;
    for (uint32_t round = 0; round < 60; round++) {
        greedy->seed = greedy->seed * 1664525u + 1013904223u;
        uint32_t bytes = 64u << 2 * ((greedy->seed >> 16) % ATOLL__CLASSES);
        uint32_t count = 0;
        for (; count < 8 * MANY; count++) {
            uint32_t slot = atoll__slot_take(greedy->client, bytes, ATOLL__HOLD_LIBRARY);
            if (slot == 0) break;
            greedy->slots[count] = slot;
        }
        if (count < 8 * MANY) greedy->short_of++;
        while (count-- > 0)
            CHECK(atoll__slot_free(greedy->client, greedy->slots[count], ATOLL__HOLD_LIBRARY));
    }
    return NULL;
}

TEST(slab_greedy, "slab: two threads that use the arena up, class after class, lose no unit") {
    peer_t peer = peer_open();
    uint32_t units = whole_units(peer.client);
    static greedy_t greedies[2];
    pthread_t threads[2];
    for (uint32_t i = 0; i < 2; i++) {
        greedies[i] = (greedy_t){.client = peer.client, .seed = 11 + i};
        CHECK(pthread_create(&threads[i], NULL, greedy, &greedies[i]) == 0);
    }
    for (uint32_t i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(greedies[0].short_of + greedies[1].short_of > 0);
    CHECK_EQUAL(whole_units(peer.client), units);
    peer_close(&peer);
}

static void *take_and_give(void *argument) {
    uint32_t client = *(uint32_t *)argument;
    uint32_t slots[200];
    for (uint32_t i = 0; i < 200; i++) {
        slots[i] = atoll__slot_take(client, 256, ATOLL__HOLD_LIBRARY);
        CHECK(slots[i] != 0);
        memset(atoll__slot_bytes(slots[i]), (int)i, 256);
    }
    for (uint32_t i = 0; i < 200; i++) {
        CHECK_EQUAL(atoll__slot_bytes(slots[i])[255], i);
        CHECK(atoll__slot_free(client, slots[i], ATOLL__HOLD_LIBRARY));
    }
    return NULL;
}

TEST(slab_without, "slab: a thread for which there are no magazines goes without, and counts") {
    peer_t peer = peer_open();
    static uint32_t magazines[1 << 16];
    uint32_t count = 0;
    while ((magazines[count] = atoll__magazine_take(true)) != ATOLL__MAGAZINE_NONE) count++;
    CHECK(count > 0);
    atoll_stats_t before = stats_now();
    in_thread(take_and_give, &peer.client);
    atoll_stats_t after = stats_now();
    CHECK_EQUAL(after.slots_taken[1] - before.slots_taken[1], 200);
    CHECK_EQUAL(after.slots_used[1], before.slots_used[1]);
    CHECK_EQUAL(after.magazines_exchanged[1], before.magazines_exchanged[1]);
    for (uint32_t i = 0; i < count; i++) atoll__magazine_give(magazines[i], true);
    in_thread(take_and_give, &peer.client);
    CHECK(stats_now().magazines_exchanged[1] > before.magazines_exchanged[1]);
    peer_close(&peer);
}

/* ---- extents ---- */

TEST(extent_runs, "extents: any order of taking and giving leaves no two at one place, nothing lost") {
    peer_t peer = peer_open();
    enum { HELD = 24 };
    uint32_t slots[HELD] = {0};
    uint32_t bytes[HELD] = {0};
    uint32_t seed = 7;
    uint32_t refused = 0;
    for (uint32_t round = 0; round < 4000; round++) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t i = (seed >> 16) % HELD;
        if (slots[i] != 0) {
            CHECK_EQUAL(atoll__slot_bytes(slots[i])[0], i);
            CHECK_EQUAL(atoll__slot_bytes(slots[i])[bytes[i] - 1], i);
            CHECK(atoll__slot_free(peer.client, slots[i], ATOLL__HOLD_LIBRARY));
            slots[i] = 0;
            continue;
        }
        bytes[i] = 65537 + (seed >> 8) % (3u << 20);
        slots[i] = atoll__slot_take(peer.client, bytes[i], ATOLL__HOLD_LIBRARY);
        if (slots[i] == 0) {
            refused++;
            continue;
        }
        CHECK(atoll__slot_capacity(slots[i]) >= bytes[i]);
        CHECK(atoll__slot_capacity(slots[i]) < bytes[i] + 65536);
        atoll__slot_bytes(slots[i])[0] = (uint8_t)i;
        atoll__slot_bytes(slots[i])[bytes[i] - 1] = (uint8_t)i;
    }
    /* Sometimes there was too little: the last bin was searched as well. */
    CHECK(refused > 0);
    CHECK(stats_now().extents_peak >= stats_now().extents_used);
    for (uint32_t i = 0; i < HELD; i++)
        if (slots[i] != 0) CHECK(atoll__slot_free(peer.client, slots[i], ATOLL__HOLD_LIBRARY));
    CHECK_EQUAL(stats_now().extents_used, 0);
    /* Neighbours became one run again: the largest payload fits three times into four quarters. */
    uint32_t largest = atoll__arena_payload_max() + ATOLL_FRAME_BYTES;
    for (uint32_t i = 0; i < 3; i++) {
        slots[i] = atoll__slot_take(peer.client, largest, ATOLL__HOLD_LIBRARY);
        CHECK(slots[i] != 0);
    }
    for (uint32_t i = 0; i < 3; i++)
        CHECK(atoll__slot_free(peer.client, slots[i], ATOLL__HOLD_LIBRARY));
    CHECK_EQUAL(atoll__slot_take(peer.client, largest + 1, ATOLL__HOLD_LIBRARY), 0);
    peer_close(&peer);
}

static size_t arena_resident(void) {
    size_t pages = (size_t)atoll__arena_size() / 4096;
    unsigned char *map = malloc(pages);
    CHECK(map != NULL && mincore(atoll__arena_base(), (size_t)atoll__arena_size(), map) == 0);
    size_t bytes = 0;
    for (size_t i = 0; i < pages; i++) bytes += (size_t)(map[i] & 1) * 4096;
    free(map);
    return bytes;
}

TEST(extent_pages, "extents: large ones give their pages back, what is used again soon keeps them") {
    peer_t peer = peer_open();
    const uint32_t size = 8u << 20;
    uint32_t slots[3];
    for (uint32_t i = 0; i < 3; i++) {
        slots[i] = atoll__slot_take(peer.client, size, ATOLL__HOLD_LIBRARY);
        CHECK(slots[i] != 0);
        memset(atoll__slot_bytes(slots[i]), 1, size);
    }
    size_t full = arena_resident();
    CHECK(full >= 3 * (size_t)size);
    for (uint32_t i = 0; i < 3; i++)
        CHECK(atoll__slot_free(peer.client, slots[i], ATOLL__HOLD_LIBRARY));
    CHECK(arena_resident() <= full - 2 * (size_t)size);
    /* A small one keeps its pages: no system call each time it is used. */
    uint32_t slot = atoll__slot_take(peer.client, 131072, ATOLL__HOLD_LIBRARY);
    memset(atoll__slot_bytes(slot), 1, 131072);
    size_t with = arena_resident();
    CHECK(atoll__slot_free(peer.client, slot, ATOLL__HOLD_LIBRARY));
    CHECK_EQUAL(arena_resident(), with);
    peer_close(&peer);
}

/* ---- who holds what ---- */

static _Atomic uint32_t guess_over;
static _Atomic uint32_t guessed;

/* A client that tries the number of every unit. */
static void *guess_main(void *argument) {
    uint32_t client = *(uint32_t *)argument;
    while (atomic_load(&guess_over) == 0)
        for (uint32_t unit = 1; unit < atoll__arena.units; unit++)
            if (atoll_slot_give(client, unit * ATOLL__CELLS_PER_UNIT) == ATOLL_OK)
                atomic_fetch_add(&guessed, 1);
    return NULL;
}

TEST(hold_guessed, "A30: the slots of a reply that is being written cannot be given back by guessing") {
    peer_t peer = peer_open();
    uint32_t units = whole_units(peer.client);
    /* Two units are left where the reply needs three: it fails behind the second. */
    take_many(peer.client, 65536, units - 2);
    static uint8_t bytes[3 * 65536];
    const atoll_frame_t frame = {.kind = ATOLL_KIND_REPLY};
    pthread_t thread;
    atomic_store(&guess_over, 0);
    atomic_store(&guessed, 0);
    CHECK(pthread_create(&thread, NULL, guess_main, &peer.client) == 0);
    for (uint32_t i = 0; i < 2000; i++)
        CHECK_EQUAL(atoll__chain_write(peer.client, many[0], &frame, bytes, sizeof bytes), 0);
    atomic_store(&guess_over, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EQUAL(atomic_load(&guessed), 0);
    give_many(peer.client, units - 2);
    CHECK_EQUAL(whole_units(peer.client), units);
    peer_close(&peer);
}

/* ---- poison ---- */

#ifdef ATOLL__POISON

static char found[128];

static void remember(const char *what, uint32_t slot) {
    (void)snprintf(found, sizeof found, "%u %s", slot, what);
}

/* As a stray pointer does, past the checker's eyes. */
static __attribute__((no_sanitize("address"), noinline)) void stray_write(
    volatile uint8_t *byte) {
    *byte ^= 1;
}

TEST(poison_write, "poison: a write into a slot that was given back is found when it is taken") {
    peer_t peer = peer_open();
    void (*report)(const char *, uint32_t) = atoll__poison_report;
    atoll__poison_report = remember;
    const uint32_t sizes[] = {64, 1024, 65536};
    for (uint32_t i = 0; i < 3; i++) {
        for (uint32_t at = 0; at < sizes[i]; at += sizes[i] / 2 - 1) {
            found[0] = '\0';
            uint32_t slot = atoll__slot_take(peer.client, sizes[i], ATOLL__HOLD_LIBRARY);
            CHECK(atoll__slot_free(peer.client, slot, ATOLL__HOLD_LIBRARY));
            CHECK_EQUAL(found[0], 0);
            stray_write(atoll__slot_bytes(slot) + at);
            /* The slot that was given last is the next one. */
            uint32_t again = atoll__slot_take(peer.client, sizes[i], ATOLL__HOLD_LIBRARY);
            CHECK_EQUAL(again, slot);
            CHECK(strstr(found, "was written to after it was given back") != NULL);
            CHECK(atoll__slot_free(peer.client, again, ATOLL__HOLD_LIBRARY));
        }
    }
    atoll__poison_report = report;
    peer_close(&peer);
}

TEST(poison_double, "poison: the library's double free is found, a client's is refused only") {
    peer_t peer = peer_open();
    void (*report)(const char *, uint32_t) = atoll__poison_report;
    atoll__poison_report = remember;
    found[0] = '\0';
    uint32_t slot = atoll_slot_take(peer.client, 64);
    CHECK_EQUAL(atoll_slot_give(peer.client, slot), ATOLL_OK);
    CHECK_EQUAL(atoll_slot_give(peer.client, slot), ATOLL_INVALID_FRAME);
    CHECK_EQUAL(found[0], 0);
    slot = atoll__slot_take(peer.client, 64, ATOLL__HOLD_LIBRARY);
    CHECK(atoll__slot_free(peer.client, slot, ATOLL__HOLD_LIBRARY));
    CHECK(!atoll__slot_free(peer.client, slot, ATOLL__HOLD_LIBRARY));
    CHECK(strstr(found, "was freed by the library, which does not hold it") != NULL);
    atoll__poison_report = report;
    peer_close(&peer);
}

#endif
