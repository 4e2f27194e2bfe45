/* Several isolates at once, in ways that a thread checker can judge. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

#define ROUNDS 3000u

typedef struct worker {
    peer_t peer;
    uint32_t targets[3];
    uint32_t seed;
    uint32_t replies;
    uint32_t submitted;
} worker_t;

static uint32_t next_random(worker_t *worker) {
    worker->seed = worker->seed * 1664525u + 1013904223u;
    return worker->seed >> 16;
}

static void take_replies(worker_t *worker, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        atoll_event_t event = worker->peer.reaped[i];
        CHECK_EQUAL(event.kind, ATOLL_KIND_REPLY);
        CHECK(event.status == ATOLL_OK || event.status == ATOLL_CANCELLED);
        CHECK_EQUAL(atoll_slot_give(worker->peer.client, event.slot), ATOLL_OK);
        worker->replies++;
    }
}

static void *worker_main(void *argument) {
    worker_t *worker = argument;
    peer_t *peer = &worker->peer;
    uint8_t payload[2000];
    memset(payload, 'p', sizeof payload);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t target = worker->targets[next_random(worker) % 3];
        uint32_t length = next_random(worker) % sizeof payload;
        atoll_status_t status =
            peer_submit(peer, ATOLL_KIND_CALL, target, 0, payload, length);
        atoll_event_t event = *peer->submitted;
        if (status == ATOLL_OK) {
            CHECK_EQUAL(event.length, length);
            peer_give(peer, &event);
        } else if (status == ATOLL_PENDING) {
            worker->submitted++;
            if (next_random(worker) % 4 == 0) {
                status = atoll_cancel(peer->client, event.ticket);
                CHECK(status == ATOLL_OK);
            }
        } else {
            CHECK_EQUAL(status, ATOLL_OVERLOADED);
        }
        if (round % 16 == 0) take_replies(worker, atoll_reap(peer->client));
    }
    while (worker->replies < worker->submitted) take_replies(worker, peer_wait(peer));
    CHECK_EQUAL(atoll_reap(peer->client), 0);
    return NULL;
}

TEST(stress_two, "two isolates submit, cancel and reap at once: each call ends once") {
    peer_t peer = peer_open();
    peer.group = peer_control(&peer, "group 8 64 0");
    uint32_t targets[] = {
        peer_target(&peer, ECHO), peer_target(&peer, PEND), peer_target(&peer, QUICK)};
    worker_t workers[2];
    pthread_t threads[2];
    for (uint32_t i = 0; i < 2; i++) {
        workers[i] = (worker_t){.peer = peer_join(), .seed = i + 1};
        memcpy(workers[i].targets, targets, sizeof targets);
        CHECK(pthread_create(&threads[i], NULL, worker_main, &workers[i]) == 0);
    }
    for (uint32_t i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        peer_leave(&workers[i].peer);
    }
    EVENTUALLY(peer_control(&peer, "states") == 0);
    EVENTUALLY(stats_now().clients == 1);
    CHECK_EQUAL(stats_now().calls_in_flight, 0);
    peer_close(&peer);
}

static void *hang_up_main(void *argument) {
    worker_t *worker = argument;
    for (uint32_t round = 0; round < 60; round++) {
        peer_t peer = peer_join();
        for (uint32_t i = 0; i < 10; i++) {
            (void)peer_call(&peer, worker->targets[i % 3], "x");
            (void)atoll_slot_take(peer.client, 100 * i);
        }
        if (round % 2 == 0)
            (void)atoll_client_close(peer.client);
        atoll__prim_close(peer.socket);
    }
    return NULL;
}

TEST(stress_hang_up, "A30: isolates that vanish with calls in flight leave nothing behind") {
    peer_t peer = peer_open();
    peer.group = peer_control(&peer, "group 4 16 0");
    worker_t workers[2];
    pthread_t threads[2];
    for (uint32_t i = 0; i < 2; i++) {
        workers[i] = (worker_t){
            .targets = {
                peer_target(&peer, HOLD), peer_target(&peer, PEND), peer_target(&peer, QUICK)}};
        CHECK(pthread_create(&threads[i], NULL, hang_up_main, &workers[i]) == 0);
    }
    for (uint32_t i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    EVENTUALLY(stats_now().clients == 1);
    CHECK_EQUAL(peer_control(&peer, "release 1000"), 0);
    EVENTUALLY(peer_control(&peer, "states") == 0);
    atoll_stats_t stats = stats_now();
    CHECK_EQUAL(slots_used(&stats), 1);
    CHECK_EQUAL(stats.calls_in_flight, 0);
    peer_close(&peer);
}

static void *intruder_main(void *argument) {
    worker_t *worker = argument;
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t slot = atoll_slot_take(worker->peer.client, 64);
        if (slot == 0) continue;
        /* Given back by whichever thread gets in. */
        while (atoll_slot_give(worker->peer.client, slot) != ATOLL_OK) {
        }
        worker->replies++;
    }
    return NULL;
}

TEST(stress_intruder, "two threads on one client: one is refused, no slot is lost") {
    peer_t peer = peer_open();
    worker_t workers[2] = {{.peer = peer}, {.peer = peer}};
    pthread_t threads[2];
    for (uint32_t i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, intruder_main, &workers[i]) == 0);
    for (uint32_t i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(workers[0].replies + workers[1].replies > 0);
    peer_close(&peer);
}

TEST(stress_wake, "a reply that comes while the reaper falls asleep wakes it") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, PEND);
    for (uint32_t round = 0; round < 10000; round++) {
        /* The first reply takes the wake; the second comes while the first is being reaped. */
        CHECK_EQUAL(peer_call(&peer, target, "x"), ATOLL_PENDING);
        CHECK_EQUAL(peer_call(&peer, target, "y"), ATOLL_PENDING);
        for (uint32_t seen = 0; seen < 2;) {
            uint32_t count = peer_wait(&peer);
            for (uint32_t i = 0; i < count; i++) peer_give(&peer, &peer.reaped[i]);
            seen += count;
        }
    }
    peer_close(&peer);
}

static _Atomic uint32_t router_over;
static _Atomic uint32_t router_replies;

static void *router_main(void *argument) {
    worker_t *worker = argument;
    while (atomic_load(&router_over) == 0) {
        CHECK_EQUAL(peer_call(&worker->peer, worker->targets[0], "x"), ATOLL_OK);
        CHECK_EQUAL(worker->peer.submitted->status, ATOLL_OK);
        peer_give(&worker->peer, worker->peer.submitted);
        atomic_fetch_add(&router_replies, 1);
    }
    return NULL;
}

TEST(stress_router, "targets come and go while another isolate calls one that stays") {
    peer_t peer = peer_open();
    worker_t worker = {.peer = peer_join(), .targets = {peer_target(&peer, ECHO)}};
    atomic_store(&router_over, 0);
    atomic_store(&router_replies, 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, router_main, &worker) == 0);
    for (uint32_t i = 0; i < 2000 || atomic_load(&router_replies) < 2000; i++) {
        uint32_t group = peer_control(&peer, "group 1 0 0");
        uint32_t target = peer_control(&peer, "target %u %u", ECHO, group);
        CHECK_EQUAL(peer_call(&peer, target, "x"), ATOLL_OK);
        peer_give(&peer, peer.submitted);
        (void)peer_control(&peer, "untarget %u", target);
        (void)peer_control(&peer, "ungroup %u", group);
        CHECK_EQUAL(peer_call(&peer, target, "x"), ATOLL_NOT_FOUND);
    }
    atomic_store(&router_over, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    peer_leave(&worker.peer);
    peer_close(&peer);
}

static _Atomic uint32_t arena_clash;
static _Atomic uint8_t arena_marks[(32u << 20) / 64];

static void *arena_main(void *argument) {
    worker_t *worker = argument;
    uint32_t held[16] = {0};
    for (uint32_t i = 0; i < 60000; i++) {
        uint32_t place = next_random(worker) % 16;
        if (held[place] != 0) {
            atomic_store(&arena_marks[held[place]], 0);
            CHECK_EQUAL(atoll_slot_give(worker->peer.client, held[place]), ATOLL_OK);
            held[place] = 0;
        } else {
            uint32_t bytes = 1u << (next_random(worker) % 18);
            uint32_t slot = atoll_slot_take(worker->peer.client, bytes);
            CHECK(slot != 0);
            if (atomic_exchange(&arena_marks[slot], 1) != 0) atomic_fetch_add(&arena_clash, 1);
            worker->peer.base[(size_t)slot * 64] = (uint8_t)i;
            held[place] = slot;
        }
    }
    for (uint32_t i = 0; i < 16; i++)
        if (held[i] != 0) atomic_store(&arena_marks[held[i]], 0);
    return NULL;
}

TEST(stress_arena, "two isolates take and give slots of all classes: none is given out twice") {
    peer_t peer = peer_open();
    worker_t workers[2];
    pthread_t threads[2];
    for (uint32_t i = 0; i < 2; i++) {
        workers[i] = (worker_t){.peer = peer_join(), .seed = i + 5};
        CHECK(pthread_create(&threads[i], NULL, arena_main, &workers[i]) == 0);
    }
    for (uint32_t i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        peer_leave(&workers[i].peer);
    }
    CHECK_EQUAL(atomic_load(&arena_clash), 0);
    EVENTUALLY(stats_now().clients == 1);
    peer_close(&peer);
}

/* ---- slots that change threads ---- */

#define PASSERS 4u
#define PASS_RING 256u
#ifdef ATOLL__INTERLEAVE
#define PASSES 250000u
#else
#define PASSES 6000000u
#endif

/* What a slot says about itself, at its beginning; behind it lies one byte again and again. */
typedef struct block {
    uint32_t slot;
    uint32_t client;
    uint32_t bytes;
    uint32_t filling;
} block_t;

typedef struct passer {
    uint32_t client;
    uint32_t seed;
    uint32_t given; /* slots of the one before */
    struct passer *next;
    /* What the one before passes on. */
    _Alignas(64) _Atomic uint32_t tail;
    _Alignas(64) _Atomic uint32_t head;
    uint32_t ring[PASS_RING];
} passer_t;

static _Atomic uint32_t pass_wrong;

static uint32_t pass_random(passer_t *passer) {
    passer->seed = passer->seed * 1664525u + 1013904223u;
    return passer->seed >> 16;
}

static void block_fill(uint32_t slot, uint32_t client, uint32_t bytes) {
    block_t block = {
        .slot = slot, .client = client, .bytes = bytes, .filling = (slot ^ client ^ bytes) & 0xFFu};
    uint8_t *at = atoll__slot_bytes(slot);
    memcpy(at, &block, sizeof block);
    if (bytes > sizeof block) memset(at + sizeof block, (int)block.filling, bytes - sizeof block);
}

/* Whether the slot holds what its taker wrote, to the last byte, and is that taker's still. */
static bool block_whole(uint32_t slot, const block_t *block) {
    if (block->slot != slot || !atoll__slot_is(block->client, slot, ATOLL__HOLD_LIBRARY) ||
        atoll__slot_capacity(slot) < block->bytes)
        return false;
    if (block->bytes <= sizeof *block) return true;
    const uint8_t *rest = atoll__slot_bytes(slot) + sizeof *block;
    return *rest == block->filling &&
           memcmp(rest, rest + 1, block->bytes - sizeof *block - 1) == 0;
}

static void pass_give(passer_t *passer, uint32_t slot) {
    block_t block;
    memcpy(&block, atoll__slot_bytes(slot), sizeof block);
    bool right = block_whole(slot, &block) && block.client != passer->client &&
                 !atoll__slot_is(passer->client, slot, ATOLL__HOLD_LIBRARY);
    atomic_store_explicit(&arena_marks[slot], 0, memory_order_relaxed);
    if (!right || !atoll__slot_free(block.client, slot, ATOLL__HOLD_LIBRARY))
        atomic_fetch_add(&pass_wrong, 1);
}

/* Gives what has arrived; returns how many. */
static uint32_t pass_receive(passer_t *passer) {
    uint32_t head = atomic_load_explicit(&passer->head, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(&passer->tail, memory_order_acquire);
    for (uint32_t at = head; at != tail; at++) pass_give(passer, passer->ring[at % PASS_RING]);
    atomic_store_explicit(&passer->head, tail, memory_order_release);
    passer->given += tail - head;
    return tail - head;
}

static bool pass_send(passer_t *to, uint32_t slot) {
    uint32_t tail = atomic_load_explicit(&to->tail, memory_order_relaxed);
    if (tail - atomic_load_explicit(&to->head, memory_order_acquire) == PASS_RING) return false;
    to->ring[tail % PASS_RING] = slot;
    atomic_store_explicit(&to->tail, tail + 1, memory_order_release);
    return true;
}

static _Atomic uint32_t pass_done;

static void *pass_main(void *argument) {
    passer_t *passer = argument;
    uint32_t passes = test_rounds(PASSES);
    for (uint32_t i = 0; i < passes; i++) {
        /* Mostly small ones, as frames are. */
        uint32_t bits = pass_random(passer);
        uint32_t bytes = 1u << (bits % 64 == 0 ? bits / 64 % 18 : bits / 64 % 13);
        uint32_t slot = atoll__slot_take(passer->client, bytes, ATOLL__HOLD_LIBRARY);
        if (slot == 0 || atomic_exchange_explicit(&arena_marks[slot], 1, memory_order_relaxed) != 0) {
            atomic_fetch_add(&pass_wrong, 1);
            continue;
        }
        block_fill(slot, passer->client, bytes);
        while (!pass_send(passer->next, slot))
            if (pass_receive(passer) == 0) (void)sched_yield();
        if (i % 16 == 0) (void)pass_receive(passer);
    }
    atomic_fetch_add(&pass_done, 1);
    while (pass_receive(passer) > 0 || atomic_load(&pass_done) < PASSERS) (void)sched_yield();
    (void)pass_receive(passer);
    return NULL;
}

static uint32_t units_free(uint32_t client) {
    static uint32_t slots[1024];
    uint32_t count = 0;
    while ((slots[count] = atoll__slot_take(client, 65536, ATOLL__HOLD_LIBRARY)) != 0) count++;
    for (uint32_t i = 0; i < count; i++)
        CHECK(atoll__slot_free(client, slots[i], ATOLL__HOLD_LIBRARY));
    return count;
}

TEST(stress_pass, "24 million slots taken by one thread and given by another: none twice, none lost") {
    peer_t peer = peer_open();
    peer_t peers[PASSERS];
    for (uint32_t i = 0; i < PASSERS; i++) peers[i] = peer_join();
    uint32_t units = units_free(peer.client);
    atoll_stats_t before = stats_now();
    static passer_t passers[PASSERS];
    pthread_t threads[PASSERS];
    atomic_store(&pass_wrong, 0);
    atomic_store(&pass_done, 0);
    for (uint32_t i = 0; i < PASSERS; i++)
        passers[i] = (passer_t){
            .client = peers[i].client, .seed = i + 3, .next = &passers[(i + 1) % PASSERS]};
    for (uint32_t i = 0; i < PASSERS; i++)
        CHECK(pthread_create(&threads[i], NULL, pass_main, &passers[i]) == 0);
    for (uint32_t i = 0; i < PASSERS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_EQUAL(atomic_load(&pass_wrong), 0);
    atoll_stats_t after = stats_now();
    uint64_t taken = 0;
    for (uint32_t class = 0; class < ATOLL__CLASSES; class++) {
        uint64_t of_class = after.slots_taken[class] - before.slots_taken[class];
        CHECK_EQUAL(after.slots_used[class], before.slots_used[class]);
        CHECK_EQUAL(after.slots_given[class] - before.slots_given[class], of_class);
        CHECK(of_class > 0);
        taken += of_class;
    }
    uint64_t passes = (uint64_t)PASSERS * test_rounds(PASSES);
    /* Those of more than 64 KiB are extents. */
    CHECK(taken > passes / 100 * 99);
    CHECK_EQUAL(after.extents_used, before.extents_used);
    for (uint32_t i = 0; i < PASSERS; i++) CHECK_EQUAL(passers[i].given, passes / PASSERS);
    CHECK_EQUAL(units_free(peer.client), units);
    for (uint32_t i = 0; i < PASSERS; i++) peer_leave(&peers[i]);
    EVENTUALLY(stats_now().clients == 1);
    peer_close(&peer);
}
