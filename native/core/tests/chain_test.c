/* What extensions do to a call: payloads in parts, deadlines, trace contexts. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"

#define PARTS 5u

typedef struct composed {
    uint32_t frame;
    uint32_t slots[PARTS];
} composed_t;

static uint8_t *bytes_of(peer_t *peer, uint32_t slot) {
    return peer->base + (size_t)slot * 64;
}

/* A frame in a fresh slot with these extensions and a short payload of its own. */
static uint32_t frame_with(
    peer_t *peer, uint32_t target, const void *extensions, uint32_t length, const char *payload) {
    uint32_t size = (uint32_t)strlen(payload);
    uint32_t slot = atoll_slot_take(peer->client, ATOLL_FRAME_BYTES + length + size);
    CHECK(slot != 0);
    atoll_frame_t frame = {
        .kind = ATOLL_KIND_CALL,
        .extension_words = (uint16_t)(length / 8),
        .request_id = 77,
        .target = target,
        .payload_length = size,
    };
    atoll__frame_write(bytes_of(peer, slot), &frame, extensions, (const uint8_t *)payload);
    return slot;
}

/* "ab" in the frame and 'c' * 100, 'd' * 100 … in PARTS slots, from an odd offset on. */
static composed_t compose(peer_t *peer, uint32_t target) {
    composed_t composed;
    struct {
        atoll_payload_t head;
        atoll_part_t parts[PARTS];
    } extension;
    extension.head = (atoll_payload_t){
        .tag = ATOLL_EXTENSION_PAYLOAD | ATOLL_EXTENSION_CRITICAL,
        .length = sizeof extension - 4,
        .bytes = PARTS * 100,
    };
    for (uint32_t i = 0; i < PARTS; i++) {
        composed.slots[i] = atoll_slot_take(peer->client, 200);
        CHECK(composed.slots[i] != 0);
        memset(bytes_of(peer, composed.slots[i]) + 33, (int)('c' + i), 100);
        extension.parts[i] =
            (atoll_part_t){.slot = composed.slots[i], .offset = 33, .length = 100};
    }
    composed.frame = frame_with(peer, target, &extension, sizeof extension, "ab");
    return composed;
}

static atoll_part_t *part_at(peer_t *peer, const composed_t *composed, uint32_t index) {
    uint8_t *at = bytes_of(peer, composed->frame) + ATOLL_FRAME_BYTES + sizeof(atoll_payload_t);
    return (atoll_part_t *)(void *)at + index;
}

/* All slots are the client's: each can be given back once. */
static void give_all(peer_t *peer, const composed_t *composed) {
    CHECK_EQUAL(atoll_slot_give(peer->client, composed->frame), ATOLL_OK);
    for (uint32_t i = 0; i < PARTS; i++)
        CHECK_EQUAL(atoll_slot_give(peer->client, composed->slots[i]), ATOLL_OK);
}

TEST(chain_whole, "a payload in parts reaches the engine in one piece, its slots come back") {
    peer_t peer = peer_open();
    composed_t composed = compose(&peer, peer_target(&peer, ECHO));
    CHECK_EQUAL(atoll_submit(peer.client, composed.frame), ATOLL_PENDING);
    atoll_event_t event = peer_expect(&peer, ATOLL_KIND_REPLY);
    CHECK_EQUAL(event.status, ATOLL_OK);
    CHECK_EQUAL(event.length, 2 + PARTS * 100);
    const uint8_t *bytes = bytes_of(&peer, event.slot) + 32;
    CHECK(memcmp(bytes, "ab", 2) == 0);
    for (uint32_t i = 0; i < PARTS * 100; i++) CHECK_EQUAL(bytes[2 + i], 'c' + i / 100);
    peer_give(&peer, &event);
    for (uint32_t i = 0; i < PARTS; i++)
        CHECK_EQUAL(atoll_slot_give(peer.client, composed.slots[i]), ATOLL_INVALID_FRAME);
    peer_close(&peer);
}

TEST(chain_parts, "an engine may read the parts where they lie") {
    peer_t peer = peer_open();
    composed_t composed = compose(&peer, peer_target(&peer, INSPECT));
    CHECK_EQUAL(atoll_submit(peer.client, composed.frame), ATOLL_OK);
    atoll_event_t event = *peer.submitted;
    char want[64];
    uint32_t sum = 'a' + 'b';
    for (uint32_t i = 0; i < PARTS; i++) sum += ('c' + i) * 100;
    (void)snprintf(want, sizeof want, "%u %u %u 0 0 0 ", PARTS + 1, PARTS * 100 + 2, sum);
    CHECK(memcmp(bytes_of(&peer, event.slot) + 32, want, strlen(want)) == 0);
    peer_give(&peer, &event);
    peer_close(&peer);
}

TEST(chain_cancelled, "a waiting call with parts that is cancelled frees them") {
    peer_t peer = peer_open();
    uint32_t group = peer_control(&peer, "group 1 4 0");
    uint32_t target = peer_control(&peer, "target %u %u", HOLD, group);
    CHECK_EQUAL(peer_call(&peer, target, "x"), ATOLL_PENDING);
    uint32_t first = peer.submitted->ticket;
    composed_t composed = compose(&peer, target);
    CHECK_EQUAL(atoll_submit(peer.client, composed.frame), ATOLL_PENDING);
    CHECK_EQUAL(atoll_cancel(peer.client, peer.submitted->ticket), ATOLL_OK);
    atoll_event_t event = peer_expect(&peer, ATOLL_KIND_REPLY);
    CHECK_EQUAL(event.status, ATOLL_CANCELLED);
    peer_give(&peer, &event);
    CHECK_EQUAL(atoll_cancel(peer.client, first), ATOLL_OK);
    event = peer_expect(&peer, ATOLL_KIND_REPLY);
    peer_give(&peer, &event);
    peer_close(&peer);
}

/* Submits a frame whose third descriptor was changed: refused, and everything is still the client's. */
static void refuse_part(peer_t *peer, uint32_t target, atoll_part_t part) {
    composed_t composed = compose(peer, target);
    atoll_part_t *third = part_at(peer, &composed, 2);
    if (part.slot == 0) part.slot = third->slot;
    if (part.slot == 1) part.slot = composed.frame;
    if (part.slot == 2) part.slot = composed.slots[0];
    *third = part;
    CHECK_EQUAL(atoll_submit(peer->client, composed.frame), ATOLL_INVALID_FRAME);
    give_all(peer, &composed);
}

TEST(chain_refused, "A26: parts that are foreign, double, outside of their slot or of another kind") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, INSPECT);
    peer_t other = peer_join();
    uint32_t foreign = atoll_slot_take(other.client, 200);
    refuse_part(&peer, target, (atoll_part_t){.slot = foreign, .length = 100});
    refuse_part(&peer, target, (atoll_part_t){.slot = 1, .length = 100});  /* the frame's own */
    refuse_part(&peer, target, (atoll_part_t){.slot = 2, .length = 100});  /* the first part's */
    refuse_part(&peer, target, (atoll_part_t){.slot = 3, .length = 100});
    refuse_part(&peer, target, (atoll_part_t){.slot = UINT32_MAX, .length = 100});
    refuse_part(&peer, target, (atoll_part_t){.offset = 157, .length = 100});
    refuse_part(&peer, target, (atoll_part_t){.offset = 300, .length = 100});
    refuse_part(&peer, target, (atoll_part_t){.segment = 1, .length = 100});
    refuse_part(&peer, target, (atoll_part_t){.length = 99}); /* the sum is wrong */
    CHECK_EQUAL(atoll_slot_give(other.client, foreign), ATOLL_OK);
    peer_leave(&other);
    composed_t composed = compose(&peer, target + 1);
    CHECK_EQUAL(atoll_submit(peer.client, composed.frame), ATOLL_NOT_FOUND);
    give_all(&peer, &composed);
    uint32_t group = peer_control(&peer, "group 1 0 0");
    uint32_t full = peer_control(&peer, "target %u %u", HOLD, group);
    CHECK_EQUAL(peer_call(&peer, full, "x"), ATOLL_PENDING);
    uint32_t ticket = peer.submitted->ticket;
    composed = compose(&peer, full);
    CHECK_EQUAL(atoll_submit(peer.client, composed.frame), ATOLL_OVERLOADED);
    give_all(&peer, &composed);
    CHECK_EQUAL(atoll_cancel(peer.client, ticket), ATOLL_OK);
    atoll_event_t event = peer_expect(&peer, ATOLL_KIND_REPLY);
    peer_give(&peer, &event);
    peer_close(&peer);
}

/* Takes units until none is left, then gives every second one back: room, but none in a row. */
static uint32_t fragment(peer_t *peer, uint32_t *slots, uint32_t max) {
    uint32_t count = 0;
    while (count < max && (slots[count] = atoll_slot_take(peer->client, 65536)) != 0) count++;
    CHECK(count > 64 && count < max);
    for (uint32_t i = 0; i < count; i += 2)
        CHECK_EQUAL(atoll_slot_give(peer->client, slots[i]), ATOLL_OK);
    return count;
}

TEST(chain_reply, "a reply without room in a row comes in parts, which are the client's") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, GROW);
    static uint32_t slots[1024];
    uint32_t taken = fragment(&peer, slots, 1024);
    CHECK_EQUAL(atoll_slot_take(peer.client, 1000000), 0);
    CHECK_EQUAL(peer_call(&peer, target, "1000000"), ATOLL_OK);
    atoll_event_t event = *peer.submitted;
    CHECK_EQUAL(event.status, ATOLL_OK);
    CHECK_EQUAL(event.length, 1000000);
    CHECK_EQUAL(event.flags & ATOLL_FLAG_EXTENDED, ATOLL_FLAG_EXTENDED);
    atoll__message_t message;
    const uint8_t *frame = bytes_of(&peer, event.slot);
    CHECK_EQUAL(
        atoll__frame_read(frame, atoll__slot_capacity(event.slot), ATOLL_LEVEL_STRUCTURE, &message),
        ATOLL_FAULT_NONE);
    CHECK_EQUAL(message.frame.payload_length, 0);
    CHECK_EQUAL(message.parts_bytes, 1000000);
    CHECK_EQUAL(message.parts_count, 16);
    for (uint32_t i = 0; i < message.parts_count; i++) {
        atoll_part_t part;
        memcpy(&part, message.parts + i * sizeof part, sizeof part);
        const uint8_t *bytes = bytes_of(&peer, part.slot) + part.offset;
        CHECK(bytes[0] == 'g' && bytes[part.length - 1] == 'g');
        CHECK_EQUAL(atoll_slot_give(peer.client, part.slot), ATOLL_OK);
    }
    peer_give(&peer, &event);
    /* Until one is more than what is left in all: nothing is taken. The others go with the client. */
    atoll_stats_t before;
    uint32_t calls = 0;
    do {
        before = stats_now();
        CHECK_EQUAL(peer_call(&peer, target, "8000000"), ATOLL_OK);
    } while (peer.submitted->status == ATOLL_OK && ++calls < 8);
    CHECK_EQUAL(peer.submitted->status, ATOLL_NO_MEMORY);
    event = *peer.submitted;
    peer_give(&peer, &event);
    atoll_stats_t after = stats_now();
    CHECK_EQUAL(slots_used(&after), slots_used(&before));
    for (uint32_t i = 1; i < taken; i += 2)
        CHECK_EQUAL(atoll_slot_give(peer.client, slots[i]), ATOLL_OK);
    peer_close(&peer);
}

/* ---- deadlines ---- */

static atoll_status_t submit_deadline(
    peer_t *peer, uint32_t target, uint32_t clock, uint64_t at_ns, uint64_t *seen_ns,
    bool *is_limit) {
    atoll_deadline_t deadline = {
        .tag = ATOLL_EXTENSION_DEADLINE,
        .length = sizeof deadline - 4,
        .clock = (uint8_t)clock,
        .at_ns = at_ns,
    };
    uint32_t slot = frame_with(peer, target, &deadline, sizeof deadline, "x");
    atoll_status_t status = atoll_submit(peer->client, slot);
    if (status != ATOLL_OK) {
        CHECK_EQUAL(atoll_slot_give(peer->client, slot), ATOLL_OK);
        return status;
    }
    atoll_event_t event = *peer->submitted;
    char text[128] = {0};
    memcpy(text, bytes_of(peer, event.slot) + 32, event.length);
    char *last = strrchr(text, ' ');
    *seen_ns = strtoull(last, NULL, 10);
    *is_limit = last[-1] == '1';
    peer_give(peer, &event);
    return status;
}

TEST(deadline_reaches, "an absolute deadline reaches the engine, by either clock, if it is earlier") {
    const uint64_t second = 1000000000u;
    peer_t peer = peer_open();
    uint32_t group = peer_control(&peer, "group 8 8 100000000");
    uint32_t target = peer_control(&peer, "target %u %u", INSPECT, group);
    uint64_t seen = 0;
    bool limit = true;
    uint64_t now = atoll__prim_now_ns();
    CHECK_EQUAL(
        submit_deadline(&peer, target, ATOLL_CLOCK_MONOTONIC, now + 50 * second, &seen, &limit), ATOLL_OK);
    CHECK_EQUAL(seen, now + 50 * second);
    CHECK(!limit);
    uint64_t wall = atoll__prim_wall_ns();
    CHECK_EQUAL(
        submit_deadline(&peer, target, ATOLL_CLOCK_REALTIME, wall + 50 * second, &seen, &limit), ATOLL_OK);
    /* The two clocks are read one after the other. */
    CHECK(seen > now + 49 * second && seen < now + 99 * second);
    CHECK(!limit);
    /* Later than the group's default of 100 s: that counts, and is no caller's. */
    CHECK_EQUAL(
        submit_deadline(&peer, target, ATOLL_CLOCK_REALTIME, UINT64_MAX, &seen, &limit), ATOLL_OK);
    CHECK(seen >= now + 100 * second && seen < now + 1000 * second);
    CHECK(limit);
    CHECK_EQUAL(
        submit_deadline(&peer, target, ATOLL_CLOCK_MONOTONIC, UINT64_MAX, &seen, &limit), ATOLL_OK);
    CHECK(seen >= now + 100 * second && seen < now + 1000 * second);
    peer_close(&peer);
}

TEST(deadline_over, "a frame whose deadline is over is refused, the engine never sees it") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, INSPECT);
    uint64_t seen = 0;
    bool limit = true;
    uint64_t now = atoll__prim_now_ns();
    CHECK_EQUAL(
        submit_deadline(&peer, target, ATOLL_CLOCK_MONOTONIC, now, &seen, &limit), ATOLL_DEADLINE);
    CHECK_EQUAL(submit_deadline(&peer, target, ATOLL_CLOCK_REALTIME, 0, &seen, &limit), ATOLL_DEADLINE);
    CHECK_EQUAL(seen, 0);
    peer_close(&peer);
}

/* ---- trace contexts ---- */

TEST(trace_reaches, "a trace context reaches the engine, what a peer says about itself does not") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, INSPECT);
    struct {
        uint16_t tag, length;
        char name[12];
        atoll_trace_t trace;
    } extensions = {
        .tag = ATOLL_EXTENSION_PRINCIPAL,
        .length = 7,
        .name = "mallory",
        .trace = {
            .tag = ATOLL_EXTENSION_TRACE,
            .length = sizeof(atoll_trace_t) - 4,
            .flags = 1,
            .trace_id = {200},
            .span_id = {[7] = 100},
        },
    };
    uint32_t slot = frame_with(&peer, target, &extensions, sizeof extensions, "x");
    CHECK_EQUAL(atoll_submit(peer.client, slot), ATOLL_OK);
    atoll_event_t event = *peer.submitted;
    CHECK(memcmp(bytes_of(&peer, event.slot) + 32, "0 0 0 200 100 1 ", 16) == 0);
    peer_give(&peer, &event);
    /* The same ticket's memory is used again: nothing of the trace is left. */
    CHECK_EQUAL(peer_call(&peer, target, "x"), ATOLL_OK);
    event = *peer.submitted;
    CHECK(memcmp(bytes_of(&peer, event.slot) + 32, "0 0 0 0 0 0 ", 12) == 0);
    peer_give(&peer, &event);
    peer_close(&peer);
}

TEST(trace_logs, "log lines of a traced call carry its trace context") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, LOGS);
    atoll_trace_t trace = {
        .tag = ATOLL_EXTENSION_TRACE,
        .length = sizeof trace - 4,
        .trace_id = {1, 2, 3},
        .span_id = {4},
    };
    for (uint32_t traced = 0; traced < 2; traced++) {
        uint32_t slot = frame_with(&peer, target, &trace, traced * (uint32_t)sizeof trace, "1");
        CHECK_EQUAL(atoll_submit(peer.client, slot), ATOLL_OK);
        atoll_event_t event = *peer.submitted;
        peer_give(&peer, &event);
        event = peer_expect(&peer, ATOLL_KIND_LOG);
        CHECK_EQUAL((event.flags & ATOLL_FLAG_EXTENDED) != 0, traced == 1);
        atoll__message_t message;
        CHECK_EQUAL(
            atoll__frame_read(
                bytes_of(&peer, event.slot), 256, ATOLL_LEVEL_STRUCTURE, &message),
            ATOLL_FAULT_NONE);
        CHECK_EQUAL(atoll__message_has(&message, ATOLL_EXTENSION_TRACE), traced == 1);
        CHECK(message.frame.payload_length == 6 && memcmp(message.payload, "line 0", 6) == 0);
        if (traced == 1)
            CHECK(memcmp(message.trace.trace_id, trace.trace_id, 16) == 0 &&
                  memcmp(message.trace.span_id, trace.span_id, 8) == 0);
        peer_give(&peer, &event);
    }
    peer_close(&peer);
}
