/* Free lists and the arena. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* ---- free list ---- */

#define STACK_ITEMS 8u
#define STACK_ROUNDS 200000u

static atoll__stack_t stack;
static _Atomic uint32_t stack_links[STACK_ITEMS];
static _Atomic uint32_t stack_owned[STACK_ITEMS];

static void *stack_thread(void *unused) {
    (void)unused;
    for (uint32_t round = 0; round < STACK_ROUNDS; round++) {
        uint32_t a = atoll__stack_pop(&stack, stack_links);
        uint32_t b = atoll__stack_pop(&stack, stack_links);
        if (a != ATOLL__STACK_EMPTY) CHECK_EQUAL(atomic_exchange(&stack_owned[a], 1), 0);
        if (b != ATOLL__STACK_EMPTY) CHECK_EQUAL(atomic_exchange(&stack_owned[b], 1), 0);
        /* Put back in the other order: a stale head would bring an item out twice. */
        if (a != ATOLL__STACK_EMPTY) {
            atomic_store(&stack_owned[a], 0);
            atoll__stack_push(&stack, stack_links, a);
        }
        if (b != ATOLL__STACK_EMPTY) {
            atomic_store(&stack_owned[b], 0);
            atoll__stack_push(&stack, stack_links, b);
        }
    }
    return NULL;
}

TEST(stack_aba, "free list: no item comes out twice under three threads (ABA)") {
    for (uint32_t i = 0; i < STACK_ITEMS; i++) atoll__stack_push(&stack, stack_links, i);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, stack_thread, NULL) == 0);
    for (int i = 0; i < 3; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    uint32_t left = 0;
    while (atoll__stack_pop(&stack, stack_links) != ATOLL__STACK_EMPTY) left++;
    CHECK_EQUAL(left, STACK_ITEMS);
}

TEST(stack_tag, "free list: a head that was popped and pushed again is not taken for the old one") {
    atoll__stack_t list = {.head = 0};
    _Atomic uint32_t links[3];
    for (uint32_t i = 0; i < 3; i++) atoll__stack_push(&list, links, i);
    /* What a thread remembers that is stopped in the middle of a pop: top 2, below it 1. */
    uint64_t remembered = atomic_load(&list.head);
    CHECK_EQUAL(atoll__stack_pop(&list, links), 2);
    CHECK_EQUAL(atoll__stack_pop(&list, links), 1);
    atoll__stack_push(&list, links, 2);
    /* The top is 2 again, but 1 is taken: its exchange must fail. */
    CHECK_EQUAL((uint32_t)atomic_load(&list.head), (uint32_t)remembered);
    CHECK(!atomic_compare_exchange_strong(
        &list.head, &remembered, atoll__stack_word(remembered, 1 + 1)));
    CHECK_EQUAL(atoll__stack_pop(&list, links), 2);
    CHECK_EQUAL(atoll__stack_pop(&list, links), 0);
    CHECK_EQUAL(atoll__stack_pop(&list, links), ATOLL__STACK_EMPTY);
}

/* ---- arena ---- */

TEST(arena_classes, "arena: a slot is of the smallest class that fits") {
    peer_t peer = peer_open();
    const uint32_t asked[] = {1, 64, 65, 256, 257, 4096, 4097, 16385, 65536, 65537, 1 << 20};
    const uint32_t given[] = {
        64, 64, 256, 256, 1024, 4096, 16384, 65536, 65536, 131072, 1 << 20};
    uint32_t slots[11];
    for (size_t i = 0; i < 11; i++) {
        slots[i] = atoll_slot_take(peer.client, asked[i]);
        CHECK(slots[i] != 0);
        CHECK_EQUAL(atoll_slot_bytes(peer.client, slots[i]), given[i]);
        memset(peer.base + (size_t)slots[i] * 64, (int)i + 1, given[i]);
    }
    for (size_t i = 0; i < 11; i++) {
        CHECK_EQUAL(peer.base[(size_t)slots[i] * 64], i + 1);
        CHECK_EQUAL(peer.base[(size_t)slots[i] * 64 + given[i] - 1], i + 1);
        CHECK_EQUAL(atoll_slot_give(peer.client, slots[i]), ATOLL_OK);
    }
    CHECK_EQUAL(atoll_slot_take(peer.client, UINT32_MAX), 0);
    CHECK_EQUAL(atoll_slot_take(peer.client, 0) != 0, 1);
    peer_close(&peer);
}

TEST(arena_double, "A30: a slot given twice, forged or of another client is refused") {
    peer_t peer = peer_open();
    peer_t other = peer_join();
    uint32_t slot = atoll_slot_take(peer.client, 1000);
    CHECK_EQUAL(atoll_slot_give(other.client, slot), ATOLL_INVALID_FRAME);
    CHECK_EQUAL(atoll_slot_bytes(other.client, slot), 0);
    CHECK_EQUAL(atoll_submit(other.client, slot), ATOLL_INVALID_FRAME);
    CHECK_EQUAL(atoll_slot_give(peer.client, slot), ATOLL_OK);
    CHECK_EQUAL(atoll_slot_give(peer.client, slot), ATOLL_INVALID_FRAME);
    const uint32_t forged[] = {0, 1, slot + 1, slot - 1, 1u << 19, UINT32_MAX};
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        CHECK_EQUAL(atoll_slot_give(peer.client, forged[i]), ATOLL_INVALID_FRAME);
        CHECK_EQUAL(atoll_submit(peer.client, forged[i]), ATOLL_INVALID_FRAME);
        CHECK_EQUAL(atoll_slot_bytes(peer.client, forged[i]), 0);
    }
    uint32_t area = (uint32_t)(((const uint8_t *)peer.submitted - peer.base) / 64);
    CHECK_EQUAL(atoll_slot_give(peer.client, area), ATOLL_INVALID_FRAME);
    CHECK_EQUAL(atoll_submit(peer.client, area), ATOLL_INVALID_FRAME);
    peer_leave(&other);
    peer_close(&peer);
}

TEST(arena_info, "arena: it is told what was asked of the mapping, and what was got") {
    peer_t peer = peer_open();
    atoll_arena_info_t info;
    CHECK_EQUAL(atoll_open(NULL, 0, &info), ATOLL_OK);
    CHECK_EQUAL(info.size, 32u << 20);
    uint32_t wishes = ATOLL_MAPPING_HUGE | ATOLL_MAPPING_PREFAULTED | ATOLL_MAPPING_LOCKED |
                      ATOLL_MAPPING_BOUND;
    bool wished = getenv("ATOLL_TEST_CONFIG") != NULL;
    CHECK_EQUAL(info.mapping_asked, ATOLL_MAPPING_GUARDED | (wished ? wishes : 0));
    CHECK_EQUAL((info.mapping_got & ATOLL_MAPPING_PREFAULTED) != 0, wished);
    CHECK_EQUAL((info.mapping_got & ATOLL_MAPPING_BOUND) != 0, wished && info.numa_nodes > 1);
    bool huge = (info.mapping_got & ATOLL_MAPPING_HUGE) != 0;
    CHECK(!huge || wished);
    CHECK_EQUAL(info.page_bytes, huge ? 2u << 20 : 4096);
    CHECK_EQUAL((info.mapping_got & ATOLL_MAPPING_LOCKED) != 0, info.locked_bytes == info.size);
    CHECK(wished || info.locked_bytes == 0);
    CHECK_EQUAL(atoll_close(), ATOLL_OK);
    peer_close(&peer);
}

static uint32_t take_all(peer_t *peer, uint32_t bytes, uint32_t *slots, uint32_t capacity) {
    uint32_t count = 0;
    while (count < capacity) {
        slots[count] = atoll_slot_take(peer->client, bytes);
        if (slots[count] == 0) break;
        count++;
    }
    CHECK(count > 0 && count < capacity);
    return count;
}

TEST(arena_full, "arena: full in one class, all of it serves another class afterwards") {
    peer_t peer = peer_open();
    uint32_t capacity = 600000;
    uint32_t *slots = calloc(capacity, sizeof *slots);
    CHECK(slots != NULL);
    const uint32_t sizes[] = {64, 65536, 1024, 1 << 20, 16384, 64};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint32_t count = take_all(&peer, sizes[i], slots, capacity);
        /* At least nine tenths of the 32 MiB, whatever class had it before. The area of the client
         * lies somewhere in it: there may be 15 units on both sides of it that are no MiB. */
        CHECK((uint64_t)count * sizes[i] >= (30ull << 20));
        CHECK_EQUAL(atoll_slot_take(peer.client, sizes[i]), 0);
        for (uint32_t k = 0; k < count; k++)
            CHECK_EQUAL(atoll_slot_give(peer.client, slots[k]), ATOLL_OK);
    }
    free(slots);
    peer_close(&peer);
}

TEST(copy_in_out, "copying in and out keeps within the slot") {
    peer_t peer = peer_open();
    uint32_t slot = atoll_slot_take(peer.client, 100);
    const uint8_t text[] = "abcdefgh";
    uint8_t got[9] = {0};
    CHECK_EQUAL(atoll_copy_in(peer.client, slot, text, 8), ATOLL_OK);
    CHECK_EQUAL(atoll_copy_out(peer.client, slot, 2, got, 3), ATOLL_OK);
    CHECK(memcmp(got, "cde", 3) == 0);
    CHECK_EQUAL(atoll_copy_out(peer.client, slot, 250, got, 8), ATOLL_INVALID_ARGUMENT);
    CHECK_EQUAL(atoll_copy_out(peer.client, slot, UINT32_MAX, got, 8), ATOLL_INVALID_ARGUMENT);
    CHECK_EQUAL(atoll_copy_in(peer.client, slot, peer.base, 257), ATOLL_INVALID_ARGUMENT);
    CHECK_EQUAL(atoll_copy_in(peer.client, slot, NULL, 1), ATOLL_INVALID_ARGUMENT);
    CHECK_EQUAL(atoll_copy_in(peer.client, slot, NULL, 0), ATOLL_OK);
    CHECK_EQUAL(atoll_copy_in(peer.client, slot + 1, text, 8), ATOLL_INVALID_FRAME);
    uint32_t area = (uint32_t)(((const uint8_t *)peer.submitted - peer.base) / 64);
    CHECK_EQUAL(atoll_copy_in(peer.client, area, text, 8), ATOLL_INVALID_FRAME);
    CHECK_EQUAL(atoll_copy_out(peer.client, area, 0, got, 8), ATOLL_OK);
    CHECK_EQUAL(atoll_slot_give(peer.client, slot), ATOLL_OK);
    peer_close(&peer);
}
