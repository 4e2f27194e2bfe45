/* The shadow of the library that the API's fuzzer holds its answers against: see world.h. */
#include "world.h"

#include <string.h>

world_t world;

uint8_t take8(input_t *input) {
    if (input->left == 0) return 0;
    input->left--;
    return *input->at++;
}

uint32_t take16(input_t *input) {
    uint32_t low = take8(input);
    return low | (uint32_t)take8(input) << 8;
}

uint32_t take32(input_t *input) {
    uint32_t low = take16(input);
    return low | take16(input) << 16;
}

uint32_t take_bytes(input_t *input, uint8_t *to, uint32_t most) {
    uint32_t length = input->left < most ? (uint32_t)input->left : most;
    if (length > 0) memcpy(to, input->at, length);
    input->at += length;
    input->left -= length;
    return length;
}

void keep(pool_t *pool, uint32_t number) {
    pool->numbers[pool->count++ % POOL] = number;
}

uint32_t number_of(pool_t *pool) {
    uint8_t choice = take8(&world.input);
    uint32_t known = pool->count < POOL ? pool->count : POOL;
    /* Zero is the latest. */
    if (choice < 0xF0)
        return known == 0 ? 0 : pool->numbers[(pool->count - 1 - choice % known) % POOL];
    switch (choice & 3u) {
    case 0: return 0;
    case 1: return UINT32_MAX;
    case 2: return take32(&world.input);
    default: return pool->numbers[choice / 4u % POOL] ^ 1u << (take8(&world.input) & 31u);
    }
}

member_t *member_of(uint32_t client) {
    for (uint32_t i = 0; i < CLIENTS; i++)
        if (client != 0 && world.members[i].info.client == client) return &world.members[i];
    return NULL;
}

bool lives(uint32_t client) {
    const member_t *member = member_of(client);
    return member != NULL && member->open;
}

holding_t *held_find(uint32_t client, uint32_t slot) {
    for (uint32_t i = 0; i < world.held_count; i++)
        if (world.held[i].client == client && world.held[i].slot == slot) return &world.held[i];
    return NULL;
}

static void held_remove(holding_t *holding) {
    *holding = world.held[--world.held_count];
}

void gain(uint32_t client, uint32_t slot) {
    keep(&world.slots, slot);
    if (!lives(client)) return;
    uint32_t bytes = atoll_slot_bytes(client, slot);
    CHECK(bytes >= ATOLL_SLOT_BYTES);
    CHECK((uint64_t)slot * ATOLL_SLOT_BYTES + bytes <= atoll__arena_size());
    for (uint32_t i = 0; i < world.held_count; i++) {
        const holding_t *other = &world.held[i];
        bool apart = other->slot + other->bytes / ATOLL_SLOT_BYTES <= slot ||
                     slot + bytes / ATOLL_SLOT_BYTES <= other->slot;
        CHECK(apart);
    }
    if (world.held_count == HELD_MAX) {
        world.held_all = false;
        return;
    }
    world.held[world.held_count++] =
        (holding_t){.client = client, .slot = slot, .bytes = bytes};
}

void lose(uint32_t client, uint32_t slot) {
    holding_t *holding = held_find(client, slot);
    if (holding != NULL) held_remove(holding);
}

/* The client took the slot of a frame, and those of its parts. */
static void gain_frame(uint32_t client, uint32_t slot, bool extended) {
    gain(client, slot);
    if (!extended || !lives(client)) return;
    atoll__message_t message;
    CHECK_EQUAL(
        atoll__frame_read(
            atoll__slot_bytes(slot), atoll_slot_bytes(client, slot), ATOLL_LEVEL_STRUCTURE,
            &message),
        ATOLL_FAULT_NONE);
    for (uint32_t i = 0; i < message.parts_count; i++) {
        atoll_part_t part;
        memcpy(&part, message.parts + i * sizeof part, sizeof part);
        gain(client, part.slot);
        CHECK(part.offset + part.length <= atoll_slot_bytes(client, part.slot));
    }
}

void gain_event(uint32_t client, const atoll_event_t *event) {
    bool extended = (event->flags & ATOLL_FLAG_EXTENDED) != 0;
    CHECK(atoll__kind_known(event->kind));
    keep(&world.tickets, event->ticket);
    if (event->slot == 0) {
        CHECK_EQUAL(event->kind, ATOLL_KIND_CREDIT);
        return;
    }
    gain_frame(client, event->slot, extended);
    if (!extended && lives(client))
        CHECK(ATOLL_FRAME_BYTES + event->length <= atoll_slot_bytes(client, event->slot));
}

void forget(member_t *member) {
    member->open = false;
    for (uint32_t i = world.held_count; i-- > 0;)
        if (world.held[i].client == member->info.client) held_remove(&world.held[i]);
}
