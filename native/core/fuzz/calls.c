/* Frames, right and wrong, and what becomes of them: calls, chunks, events.
 *
 * Owns: how a frame is put together from a program's bytes. Must not know what engines do. */
#include <string.h>

#include "operations.h"

#define SCRATCH_BYTES 8192u

static uint32_t trace_put(uint8_t *to) {
    atoll_trace_t trace = {0};
    (void)take_bytes(&world.input, trace.trace_id, sizeof trace.trace_id);
    trace = atoll__trace_extension(&trace);
    memcpy(to, &trace, sizeof trace);
    return (uint32_t)sizeof trace;
}

/* Within two seconds of now, before or after it. */
static uint32_t deadline_put(uint8_t *to) {
    atoll_deadline_t deadline = {
        .tag = ATOLL_EXTENSION_DEADLINE,
        .length = sizeof deadline - sizeof(atoll_extension_head_t),
        .clock = take8(&world.input) % 4,
    };
    uint64_t now_ns = deadline.clock == ATOLL_CLOCK_REALTIME ? atoll__prim_wall_ns()
                                                             : atoll__prim_now_ns();
    deadline.at_ns = now_ns + take32(&world.input) - UINT32_MAX / 2;
    memcpy(to, &deadline, sizeof deadline);
    return (uint32_t)sizeof deadline;
}

static uint32_t parts_put(uint8_t *to) {
    input_t *input = &world.input;
    uint32_t count = take8(input) % 8u;
    atoll_payload_t head = {
        .tag = ATOLL_EXTENSION_PAYLOAD | ATOLL_EXTENSION_CRITICAL,
        .length = (uint16_t)(sizeof head - sizeof(atoll_extension_head_t) +
                             count * sizeof(atoll_part_t)),
    };
    for (uint32_t i = 0; i < count; i++) {
        /* One by one: C has no order for the elements of an initialiser. */
        atoll_part_t part = {.segment = take8(input) == 0xFF ? 1 : 0};
        part.slot = number_of(&world.slots);
        part.offset = take8(input);
        part.length = take8(input);
        if (part.length >= 0xF0) part.length = take16(input) * 37u;
        head.bytes += part.length;
        memcpy(to + sizeof head + i * sizeof part, &part, sizeof part);
    }
    memcpy(to, &head, sizeof head);
    return (uint32_t)(sizeof head + count * sizeof(atoll_part_t));
}

/* Puts a frame together in `bytes`; returns its length. */
static uint32_t frame_make(uint8_t *bytes, uint8_t mode) {
    static const uint8_t kinds[] = {
        ATOLL_KIND_CALL, ATOLL_KIND_HTTP, ATOLL_KIND_BODY,    ATOLL_KIND_CALL,
        ATOLL_KIND_HTTP, ATOLL_KIND_BODY, ATOLL_KIND_CONTROL, ATOLL_KIND_REPLY};
    input_t *input = &world.input;
    uint8_t extensions[1024];
    uint32_t between = 0;
    if ((mode & 8u) != 0) between += trace_put(extensions + between);
    if ((mode & 16u) != 0) between += deadline_put(extensions + between);
    if ((mode & 32u) != 0) between += parts_put(extensions + between);
    uint8_t payload[600];
    uint32_t most = take8(input);
    uint32_t length = take_bytes(input, payload, most < 0xF0 ? most % 16u : 600);
    atoll_frame_t frame = {
        .kind = kinds[mode & 7u],
        .extension_words = (uint16_t)(between / 8u),
        .request_id = mode,
        .payload_length = length,
    };
    frame.flags = (uint16_t)take16(input);
    frame.target = frame.kind == ATOLL_KIND_CONTROL ? world.engine : number_of(&world.targets);
    if (take8(input) >= 0xC0) frame.budget_us = take16(input);
    /* As most frames are: no flag that is unknown. */
    if ((mode & 64u) == 0) frame.flags &= ATOLL_FLAG_CHECKED | ATOLL_FLAG_END | ATOLL_FLAG_DETACHED;
    atoll__frame_write(bytes, &frame, extensions, payload);
    return (uint32_t)sizeof frame + between + length;
}

void run_frame_put(void) {
    static uint8_t bytes[SCRATCH_BYTES];
    uint32_t client = number_of(&world.clients);
    uint32_t slot = number_of(&world.slots);
    uint8_t mode = take8(&world.input);
    uint32_t length;
    if (mode < 0xF0)
        length = frame_make(bytes, mode);
    else
        length = take_bytes(&world.input, bytes, take16(&world.input) % SCRATCH_BYTES);
    uint32_t room = atoll_slot_bytes(client, slot);
    (void)atoll_copy_in(client, slot, bytes, length < room ? length : room);
}

/* A byte of a frame that is in a slot already. */
void run_frame_change(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t slot = number_of(&world.slots);
    uint8_t offset = take8(&world.input);
    uint8_t value = take8(&world.input);
    if (lives(client) && offset < atoll_slot_bytes(client, slot))
        atoll__slot_bytes(slot)[offset] ^= value;
}

const atoll_event_t *area_of(uint32_t client) {
    return (const atoll_event_t *)(const void *)atoll__slot_bytes(member_of(client)->info.area_slot);
}

void submit_slot(uint32_t client, uint32_t slot) {
    bool had = held_find(client, slot) != NULL;
    uint32_t parts[ATOLL_PARTS_MAX];
    uint32_t count = 0;
    atoll__message_t message;
    if (had && atoll__frame_read(
                   atoll__slot_bytes(slot), atoll_slot_bytes(client, slot), ATOLL_LEVEL_STRUCTURE,
                   &message) == ATOLL_FAULT_NONE)
        for (; count < message.parts_count; count++) {
            atoll_part_t part;
            memcpy(&part, message.parts + count * sizeof part, sizeof part);
            parts[count] = part.slot;
        }
    atoll_status_t status = atoll_submit(client, slot);
    if (!lives(client)) return;
    if (status != ATOLL_OK && status != ATOLL_PENDING) {
        if (!had) return;
        CHECK(atoll_slot_bytes(client, slot) != 0);
        for (uint32_t i = 0; i < count; i++)
            if (held_find(client, parts[i]) != NULL)
                CHECK(atoll_slot_bytes(client, parts[i]) != 0);
        return;
    }
    if (world.held_all) CHECK(had);
    lose(client, slot);
    for (uint32_t i = 0; i < count; i++) lose(client, parts[i]);
    atoll_event_t event = *area_of(client);
    CHECK_EQUAL(event.kind, ATOLL_KIND_REPLY);
    if (status == ATOLL_OK) {
        gain_event(client, &event);
    } else {
        CHECK_EQUAL(event.status, ATOLL_PENDING);
        CHECK_EQUAL(event.slot, 0);
        keep(&world.tickets, event.ticket);
    }
}

void run_submit(void) {
    uint32_t client = number_of(&world.clients);
    submit_slot(client, number_of(&world.slots));
}

/* A fresh slot with a frame; 0: there was none. */
static uint32_t frame_slot(uint32_t client, uint8_t mode) {
    uint8_t bytes[SCRATCH_BYTES];
    uint32_t length = frame_make(bytes, mode);
    uint32_t slot = atoll_slot_take(client, length);
    if (slot == 0) return 0;
    gain(client, slot);
    atoll_status_t status = atoll_copy_in(client, slot, bytes, length);
    if (lives(client)) CHECK_EQUAL(status, ATOLL_OK);
    return slot;
}

/* A call in one step, as most are. */
void run_call(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t slot = frame_slot(client, take8(&world.input));
    if (slot != 0) submit_slot(client, slot);
}

void run_reap(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t count = atoll_reap(client);
    CHECK(count <= ATOLL_EVENTS_MAX);
    if (!lives(client)) return;
    const atoll_event_t *events = area_of(client) + ATOLL_SLOT_BYTES / ATOLL_EVENT_BYTES;
    for (uint32_t i = 0; i < count; i++) gain_event(client, &events[i]);
}

/* What a client does with a response that streams: takes each chunk, gives it back, asks for more. */
void run_drain(void) {
    uint32_t client = number_of(&world.clients);
    if (!lives(client)) return;
    uint32_t count = atoll_reap(client);
    atoll_event_t events[ATOLL_EVENTS_MAX];
    memcpy(events, area_of(client) + ATOLL_SLOT_BYTES / ATOLL_EVENT_BYTES, sizeof events);
    for (uint32_t i = 0; i < count; i++) {
        gain_event(client, &events[i]);
        if (events[i].slot == 0) continue;
        CHECK_EQUAL(atoll_slot_give(client, events[i].slot), ATOLL_OK);
        lose(client, events[i].slot);
        if (events[i].kind == ATOLL_KIND_BODY)
            (void)atoll_stream_credit(client, events[i].ticket, 1);
    }
}

void run_cancel(void) {
    uint32_t client = number_of(&world.clients);
    (void)atoll_cancel(client, number_of(&world.tickets));
}

static void send_slot(uint32_t client, uint32_t slot) {
    bool had = held_find(client, slot) != NULL;
    atoll_status_t status = atoll_stream_send(client, number_of(&world.tickets), slot);
    if (!lives(client)) return;
    if (status == ATOLL_OK) {
        if (world.held_all) CHECK(had);
        lose(client, slot);
    } else if (had) {
        CHECK(atoll_slot_bytes(client, slot) != 0);
    }
}

void run_stream_send(void) {
    uint32_t client = number_of(&world.clients);
    send_slot(client, number_of(&world.slots));
}

/* A chunk in one step. */
void run_chunk(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t slot = frame_slot(client, (take8(&world.input) & 0xF8u) | 2u);
    if (slot != 0) send_slot(client, slot);
}

void run_stream_credit(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t ticket = number_of(&world.tickets);
    uint8_t chunks = take8(&world.input);
    (void)atoll_stream_credit(client, ticket, chunks < 0xF0 ? chunks : take32(&world.input));
}
