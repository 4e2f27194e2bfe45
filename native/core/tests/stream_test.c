/* Bodies in both directions. */
#include <string.h>

#include "harness.h"

static atoll_status_t send_chunk(
    peer_t *peer, uint32_t ticket, uint32_t flags, const char *text) {
    uint32_t slot = peer_frame(
        peer, ATOLL_KIND_BODY, 0, flags, 0, text, (uint32_t)strlen(text));
    atoll_status_t status = atoll_stream_send(peer->client, ticket, slot);
    if (status != ATOLL_OK) CHECK_EQUAL(atoll_slot_give(peer->client, slot), ATOLL_OK);
    return status;
}

static uint32_t http_start(peer_t *peer, uint32_t behaviour, const char *payload) {
    uint32_t target = peer_target(peer, behaviour);
    uint32_t length = (uint32_t)strlen(payload);
    CHECK_EQUAL(
        peer_submit(peer, ATOLL_KIND_HTTP, target, 0, payload, length), ATOLL_PENDING);
    return peer->submitted->ticket;
}

/* What a client of an echoing stream has seen. */
typedef struct seen {
    uint32_t credit;
    uint32_t bodies;
    uint32_t heads;
    bool over;
    atoll_status_t status;
    char text[4096];
} seen_t;

static void take_events(peer_t *peer, uint32_t ticket, seen_t *seen, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        atoll_event_t event = peer->reaped[i];
        if (event.ticket != ticket) {
            peer_give(peer, &event);
            continue;
        }
        CHECK(!seen->over);
        if (event.kind == ATOLL_KIND_CREDIT) seen->credit += event.length;
        if (event.kind == ATOLL_KIND_HEAD) seen->heads++;
        if (event.kind == ATOLL_KIND_BODY) {
            CHECK_EQUAL(seen->heads, 1);
            seen->bodies++;
            size_t at = strlen(seen->text);
            CHECK(at + event.length < sizeof seen->text);
            memcpy(seen->text + at, peer->base + (size_t)event.slot * 64 + 32, event.length);
        }
        if (event.kind == ATOLL_KIND_REPLY) {
            seen->over = true;
            seen->status = event.status;
        }
        peer_give(peer, &event);
    }
}

TEST(stream_echo, "a body of many chunks goes through and comes back in order") {
    peer_t peer = peer_open();
    uint32_t ticket = http_start(&peer, STREAM, "POST http://x/\n\n");
    seen_t seen = {.credit = ATOLL_STREAM_WINDOW};
    uint32_t sent = 0;
    char expected[4096] = {0};
    while (!seen.over) {
        while (sent <= 100 && seen.credit > 0) {
            char text[16] = "";
            if (sent < 100) (void)snprintf(text, sizeof text, "chunk %u,", sent);
            strcat(expected, text);
            atoll_status_t status =
                send_chunk(&peer, ticket, sent == 100 ? ATOLL_FLAG_END : 0, text);
            CHECK_EQUAL(status, ATOLL_OK);
            sent++;
            seen.credit--;
        }
        uint32_t bodies = seen.bodies;
        take_events(&peer, ticket, &seen, peer_wait(&peer));
        uint32_t passed_on = seen.bodies - bodies;
        if (passed_on > 0 && !seen.over)
            CHECK_EQUAL(atoll_stream_credit(peer.client, ticket, passed_on), ATOLL_OK);
    }
    CHECK_EQUAL(seen.status, ATOLL_OK);
    CHECK_EQUAL(seen.bodies, 100);
    CHECK(strcmp(seen.text, expected) == 0);
    CHECK_EQUAL(send_chunk(&peer, ticket, 0, "late"), ATOLL_NOT_FOUND);
    peer_close(&peer);
}

TEST(stream_window, "request chunks beyond the window would block and stay the caller's") {
    peer_t peer = peer_open();
    peer.group = peer_control(&peer, "group 1 8 0");
    uint32_t held = peer_target(&peer, HOLD);
    CHECK_EQUAL(peer_call(&peer, held, "x"), ATOLL_PENDING);
    /* The call waits: its chunks are kept for it. */
    uint32_t ticket = http_start(&peer, STREAM, "");
    const char *texts[] = {"a", "b", "c", "d"};
    for (uint32_t i = 0; i < ATOLL_STREAM_WINDOW; i++)
        CHECK_EQUAL(send_chunk(&peer, ticket, 0, texts[i]), ATOLL_OK);
    CHECK_EQUAL(send_chunk(&peer, ticket, 0, "e"), ATOLL_WOULD_BLOCK);
    CHECK_EQUAL(peer_control(&peer, "release 1"), 1);
    seen_t seen = {0};
    while (seen.credit < ATOLL_STREAM_WINDOW || seen.bodies < ATOLL_STREAM_WINDOW)
        take_events(&peer, ticket, &seen, peer_wait(&peer));
    CHECK(strcmp(seen.text, "abcd") == 0);
    CHECK_EQUAL(atoll_stream_credit(peer.client, ticket, 4), ATOLL_OK);
    CHECK_EQUAL(send_chunk(&peer, ticket, ATOLL_FLAG_END, "e"), ATOLL_OK);
    while (!seen.over) take_events(&peer, ticket, &seen, peer_wait(&peer));
    CHECK(strcmp(seen.text, "abcde") == 0);
    peer_close(&peer);
}

TEST(stream_dropped, "chunks of a waiting call come back when it is cancelled") {
    peer_t peer = peer_open();
    peer.group = peer_control(&peer, "group 1 8 0");
    CHECK_EQUAL(peer_call(&peer, peer_target(&peer, HOLD), "x"), ATOLL_PENDING);
    uint32_t ticket = http_start(&peer, STREAM, "");
    CHECK_EQUAL(send_chunk(&peer, ticket, 0, "a"), ATOLL_OK);
    CHECK_EQUAL(send_chunk(&peer, ticket, ATOLL_FLAG_END, "b"), ATOLL_OK);
    CHECK_EQUAL(send_chunk(&peer, ticket, 0, "c"), ATOLL_INVALID_ARGUMENT);
    CHECK_EQUAL(atoll_cancel(peer.client, ticket), ATOLL_OK);
    atoll_event_t event = peer_expect(&peer, ATOLL_KIND_REPLY);
    CHECK_EQUAL(event.status, ATOLL_CANCELLED);
    peer_give(&peer, &event);
    atoll_stats_t stats = stats_now();
    /* The client's area and the request of the held call. */
    CHECK_EQUAL(slots_used(&stats), 2);
    peer_close(&peer);
}

TEST(stream_held, "chunks that an engine never gave back come back with the call") {
    peer_t peer = peer_open();
    uint32_t ticket = http_start(&peer, STREAM, "");
    /* Without credit the echo stops after four chunks, with more in its hands. */
    seen_t seen = {.credit = ATOLL_STREAM_WINDOW};
    uint32_t sent = 0;
    while (seen.bodies < 4 || sent < 8) {
        while (seen.credit > 0 && sent < 8) {
            CHECK_EQUAL(send_chunk(&peer, ticket, 0, "z"), ATOLL_OK);
            seen.credit--;
            sent++;
        }
        if (seen.bodies < 4 || sent < 8) take_events(&peer, ticket, &seen, peer_wait(&peer));
    }
    CHECK_EQUAL(atoll_cancel(peer.client, ticket), ATOLL_OK);
    while (!seen.over) take_events(&peer, ticket, &seen, peer_wait(&peer));
    CHECK_EQUAL(seen.bodies, 4);
    CHECK_EQUAL(seen.status, ATOLL_CANCELLED);
    peer_close(&peer);
}

TEST(stream_unwanted, "chunks that the engine does not want are dropped and credited") {
    peer_t peer = peer_open();
    uint32_t ticket = http_start(&peer, DEAF, "");
    seen_t seen = {0};
    for (uint32_t i = 0; i < 20; i++) {
        CHECK_EQUAL(send_chunk(&peer, ticket, 0, "x"), ATOLL_OK);
        while (seen.credit <= i) take_events(&peer, ticket, &seen, peer_wait(&peer));
    }
    CHECK_EQUAL(peer_control(&peer, "release 1"), 1);
    while (!seen.over) take_events(&peer, ticket, &seen, peer_wait(&peer));
    peer_close(&peer);
}

TEST(stream_refused, "A26: what is not a fitting BODY frame is refused, the slot stays") {
    peer_t peer = peer_open();
    uint32_t call = peer_target(&peer, HOLD);
    CHECK_EQUAL(peer_call(&peer, call, "x"), ATOLL_PENDING);
    CHECK_EQUAL(send_chunk(&peer, peer.submitted->ticket, 0, "x"), ATOLL_INVALID_ARGUMENT);
    CHECK_EQUAL(
        atoll_stream_credit(peer.client, peer.submitted->ticket, 1), ATOLL_INVALID_ARGUMENT);
    uint32_t ticket = http_start(&peer, DEAF, "");
    CHECK_EQUAL(atoll_stream_send(peer.client, ticket, 3), ATOLL_INVALID_FRAME);
    uint32_t slot = peer_frame(&peer, ATOLL_KIND_CALL, 0, 0, 0, "x", 1);
    CHECK_EQUAL(atoll_stream_send(peer.client, ticket, slot), ATOLL_INVALID_FRAME);
    CHECK_EQUAL(atoll_slot_give(peer.client, slot), ATOLL_OK);
    static const uint8_t large[ATOLL_CHUNK_BYTES_MAX + 1];
    slot = peer_frame(&peer, ATOLL_KIND_BODY, 0, 0, 0, large, sizeof large);
    CHECK_EQUAL(atoll_stream_send(peer.client, ticket, slot), ATOLL_INVALID_FRAME);
    CHECK_EQUAL(atoll_slot_give(peer.client, slot), ATOLL_OK);
    /* A request that carried END takes no chunk. */
    uint32_t target = peer_target(&peer, DEAF);
    CHECK_EQUAL(
        peer_submit(&peer, ATOLL_KIND_HTTP, target, ATOLL_FLAG_END, "", 0), ATOLL_PENDING);
    CHECK_EQUAL(send_chunk(&peer, peer.submitted->ticket, 0, "x"), ATOLL_INVALID_ARGUMENT);
    peer_close(&peer);
}

TEST(write_window, "a guest that writes is held at the window until the client gives credit") {
    peer_t peer = peer_open();
    uint32_t ticket = http_start(&peer, WRITER, "12");
    uint32_t bodies = 0;
    uint32_t acked = 0;
    bool over = false;
    while (!over) {
        uint32_t count = peer_wait(&peer);
        for (uint32_t i = 0; i < count; i++) {
            atoll_event_t event = peer.reaped[i];
            if (event.kind == ATOLL_KIND_BODY) {
                CHECK_EQUAL(event.length, ATOLL_CHUNK_BYTES_MAX);
                CHECK_EQUAL(peer.base[(size_t)event.slot * 64 + 32], bodies);
                bodies++;
            }
            over = over || event.kind == ATOLL_KIND_REPLY;
            peer_give(&peer, &event);
        }
        CHECK(bodies - acked <= ATOLL_STREAM_WINDOW);
        if (!over && bodies - acked == ATOLL_STREAM_WINDOW) {
            /* More than was reaped is not given. */
            CHECK_EQUAL(atoll_stream_credit(peer.client, ticket, 1000), ATOLL_OK);
            acked = bodies;
        }
    }
    CHECK_EQUAL(bodies, 12);
    peer_close(&peer);
}

TEST(write_starved, "a guest that finds no slot for its chunk goes on once there is one") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, WRITER);
    uint32_t request = peer_frame(&peer, ATOLL_KIND_HTTP, target, 0, 0, "3", 1);
    uint32_t slots[1024];
    uint32_t count = 0;
    while ((slots[count] = atoll_slot_take(peer.client, 65536)) != 0) count++;
    CHECK_EQUAL(atoll_submit(peer.client, request), ATOLL_PENDING);
    EVENTUALLY(atoll__mailbox_waiting());
    for (uint32_t i = 0; i < count; i++)
        CHECK_EQUAL(atoll_slot_give(peer.client, slots[i]), ATOLL_OK);
    atoll_status_t status = ATOLL_PENDING;
    uint32_t bodies = 0;
    while (status == ATOLL_PENDING) {
        uint32_t events = peer_wait(&peer);
        for (uint32_t i = 0; i < events; i++) {
            atoll_event_t event = peer.reaped[i];
            bodies += event.kind == ATOLL_KIND_BODY;
            if (event.kind == ATOLL_KIND_REPLY) status = event.status;
            peer_give(&peer, &event);
        }
    }
    CHECK_EQUAL(status, ATOLL_OK);
    CHECK_EQUAL(bodies, 3);
    EVENTUALLY(!atoll__mailbox_waiting());
    peer_close(&peer);
}

TEST(write_cancel, "a cancelled response ends with its reply, unread chunks come back") {
    peer_t peer = peer_open();
    uint32_t ticket = http_start(&peer, WRITER, "1000000");
    (void)peer_wait(&peer);
    CHECK_EQUAL(atoll_cancel(peer.client, ticket), ATOLL_OK);
    /* Closed without having reaped: the client's memory comes back all the same. */
    peer_close(&peer);
}
