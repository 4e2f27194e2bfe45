/* Calls: inline, migrated, cancelled, refused. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"

TEST(inline_echo, "an inline call is over when submit returns, in the request's slot") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, ECHO);
    uint32_t slot = peer_frame(&peer, ATOLL_KIND_CALL, target, ATOLL_FLAG_JSON, 0, "{}", 2);
    CHECK_EQUAL(atoll_submit(peer.client, slot), ATOLL_OK);
    atoll_event_t event = *peer.submitted;
    CHECK_EQUAL(event.status, ATOLL_OK);
    CHECK_EQUAL(event.kind, ATOLL_KIND_REPLY);
    CHECK_EQUAL(event.slot, slot);
    CHECK_EQUAL(event.flags, ATOLL_FLAG_JSON | ATOLL_FLAG_END);
    CHECK(peer_payload_is(&peer, &event, "{}"));
    atoll_frame_t frame;
    memcpy(&frame, peer.base + (size_t)slot * 64, sizeof frame);
    CHECK_EQUAL(frame.kind, ATOLL_KIND_REPLY);
    CHECK_EQUAL(frame.request_id, 77);
    CHECK_EQUAL(frame.target, ATOLL_OK);
    CHECK_EQUAL(atoll_reap(peer.client), 0);
    /* The slot may be used again without giving it back. */
    CHECK_EQUAL(atoll_submit(peer.client, slot), ATOLL_INVALID_FRAME);
    peer_give(&peer, &event);
    peer_close(&peer);
}

TEST(checked_reply, "a checked request gets a checked reply") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, ECHO);
    CHECK_EQUAL(
        peer_submit(&peer, ATOLL_KIND_CALL, target, ATOLL_FLAG_CHECKED, "abc", 3), ATOLL_OK);
    atoll_event_t event = *peer.submitted;
    uint8_t *bytes = peer.base + (size_t)event.slot * 64;
    atoll__message_t reply;
    CHECK_EQUAL(
        atoll__frame_read(bytes, 64, ATOLL_LEVEL_HEADER, &reply), ATOLL_FAULT_NONE);
    CHECK((reply.frame.flags & ATOLL_FLAG_CHECKED) != 0);
    bytes[33] ^= 1;
    CHECK_EQUAL(
        atoll__frame_read(bytes, 64, ATOLL_LEVEL_HEADER, &reply), ATOLL_FAULT_CHECKSUM);
    peer_give(&peer, &event);
    peer_close(&peer);
}

TEST(grow_reply, "a reply that does not fit gets a larger slot, the old one goes back") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, GROW);
    const char *sizes[] = {"0", "32", "33", "224", "4000", "65504", "65505", "3000000"};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        CHECK_EQUAL(peer_call(&peer, target, sizes[i]), ATOLL_OK);
        atoll_event_t event = *peer.submitted;
        CHECK_EQUAL(event.status, ATOLL_OK);
        CHECK_EQUAL(event.length, strtoul(sizes[i], NULL, 10));
        const uint8_t *bytes = peer.base + (size_t)event.slot * 64 + 32;
        for (uint32_t k = 0; k < event.length; k++) CHECK(bytes[k] == 'g');
        peer_give(&peer, &event);
    }
    atoll_stats_t stats = stats_now();
    CHECK_EQUAL(slots_used(&stats), 1);
    peer_close(&peer);
}

TEST(no_memory, "a reply for which there is no memory becomes no_memory in the request's slot") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, GROW);
    uint32_t slot = peer_frame(&peer, ATOLL_KIND_CALL, target, 0, 0, "100000", 6);
    /* All there is, in ever smaller pieces; given back with the client. */
    for (uint32_t bytes = 32u << 20; bytes >= 64; bytes /= 2)
        while (atoll_slot_take(peer.client, bytes) != 0) {
        }
    CHECK_EQUAL(atoll_submit(peer.client, slot), ATOLL_OK);
    atoll_event_t event = *peer.submitted;
    CHECK_EQUAL(event.status, ATOLL_NO_MEMORY);
    CHECK_EQUAL(event.slot, slot);
    CHECK_EQUAL(event.length, 0);
    peer_give(&peer, &event);
    peer_close(&peer);
}

TEST(reply_too_long, "a reply that is longer than a message can be is a limit, named with its key") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, GROW);
    for (uint32_t i = 0; i < 2; i++) {
        /* The second time in a slot that has no room for the words either. */
        const char *bytes = i == 0 ? "100000000                              " : "8388577";
        CHECK_EQUAL(peer_call(&peer, target, bytes), ATOLL_OK);
        atoll_event_t event = *peer.submitted;
        CHECK_EQUAL(event.status, ATOLL_LIMIT);
        CHECK_EQUAL(event.flags & ATOLL_FLAG_ENCODING, ATOLL_FLAG_JSON);
        char text[256] = {0};
        CHECK(event.length < sizeof text);
        memcpy(text, peer.base + (size_t)event.slot * 64 + 32, event.length);
        CHECK(strstr(text, "\"key\":\"native.arena.bytes\",\"value\":8388576}") != NULL);
        peer_give(&peer, &event);
    }
    peer_close(&peer);
}

TEST(refused_frame, "A26: a refused frame leaves its slot with the caller") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, ECHO);
    uint32_t slot = peer_frame(&peer, ATOLL_KIND_CALL, target, 0, 0, "x", 1);
    uint8_t *bytes = peer.base + (size_t)slot * 64;
    bytes[0] ^= 1;
    CHECK_EQUAL(atoll_submit(peer.client, slot), ATOLL_INVALID_FRAME);
    bytes[0] ^= 1;
    bytes[3] = ATOLL_KIND_BODY;
    CHECK_EQUAL(atoll_submit(peer.client, slot), ATOLL_INVALID_FRAME);
    bytes[3] = ATOLL_KIND_CONTROL;
    CHECK_EQUAL(atoll_submit(peer.client, slot), ATOLL_NOT_FOUND);
    bytes[3] = ATOLL_KIND_CALL;
    bytes[24] = 255;
    CHECK_EQUAL(atoll_submit(peer.client, slot), ATOLL_INVALID_FRAME);
    uint8_t text[200];
    uint32_t length = atoll_error_text(text, sizeof text);
    CHECK(length > 0 && memcmp(text, "Cannot read frame: longer than the bytes that are there", length) == 0);
    bytes[24] = 1;
    CHECK_EQUAL(atoll_submit(peer.client, slot), ATOLL_OK);
    CHECK_EQUAL(atoll_slot_give(peer.client, slot), ATOLL_OK);
    CHECK_EQUAL(stats_now().calls_in_flight, 0);
    peer_close(&peer);
}

TEST(stale_target, "a removed target is not found, its number is never right again") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, ECHO);
    CHECK_EQUAL(peer_call(&peer, 0, ""), ATOLL_NOT_FOUND);
    CHECK_EQUAL(peer_call(&peer, target ^ 0x10000, ""), ATOLL_NOT_FOUND);
    (void)peer_control(&peer, "untarget %u", target);
    CHECK_EQUAL(peer_call(&peer, target, ""), ATOLL_NOT_FOUND);
    uint32_t next = peer_target(&peer, ECHO);
    CHECK_EQUAL(next & 0xFFFF, target & 0xFFFF);
    CHECK_EQUAL(peer_call(&peer, target, ""), ATOLL_NOT_FOUND);
    CHECK_EQUAL(peer_call(&peer, next, ""), ATOLL_OK);
    peer_give(&peer, peer.submitted);
    peer_close(&peer);
}

TEST(migrated, "a migrated call is pending, its reply comes by the ring") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, PEND);
    CHECK_EQUAL(atoll_reap(peer.client), 0);
    CHECK_EQUAL(peer_call(&peer, target, "later"), ATOLL_PENDING);
    CHECK_EQUAL(peer.submitted->status, ATOLL_PENDING);
    uint32_t ticket = peer.submitted->ticket;
    CHECK(ticket != 0);
    atoll_event_t event = peer_expect(&peer, ATOLL_KIND_REPLY);
    CHECK_EQUAL(event.ticket, ticket);
    CHECK(peer_payload_is(&peer, &event, "later"));
    peer_give(&peer, &event);
    EVENTUALLY(peer_control(&peer, "states") == 0);
    peer_close(&peer);
}

TEST(engine_faults, "an engine that forgets, refuses, replies twice or early is held to one reply") {
    peer_t peer = peer_open();
    CHECK_EQUAL(peer_call(&peer, peer_target(&peer, FORGET), "x"), ATOLL_OK);
    CHECK_EQUAL(peer.submitted->status, ATOLL_PANIC);
    peer_give(&peer, peer.submitted);
    CHECK_EQUAL(peer_call(&peer, peer_target(&peer, REFUSE), "x"), ATOLL_OK);
    CHECK_EQUAL(peer.submitted->status, ATOLL_TRAP);
    peer_give(&peer, peer.submitted);
    CHECK_EQUAL(peer_call(&peer, peer_target(&peer, TWICE), "x"), ATOLL_OK);
    CHECK_EQUAL(peer.submitted->status, ATOLL_OK);
    peer_give(&peer, peer.submitted);
    CHECK_EQUAL(atoll_reap(peer.client), 0);
    CHECK_EQUAL(peer_call(&peer, peer_target(&peer, QUICK), "x"), ATOLL_PENDING);
    atoll_event_t event = peer_expect(&peer, ATOLL_KIND_REPLY);
    CHECK(peer_payload_is(&peer, &event, "x"));
    peer_give(&peer, &event);
    CHECK_EQUAL(peer_call(&peer, peer_target(&peer, LAZY), "y"), ATOLL_PENDING);
    CHECK_EQUAL(peer_control(&peer, "release 1"), 1);
    event = peer_expect(&peer, ATOLL_KIND_REPLY);
    CHECK(peer_payload_is(&peer, &event, "y"));
    peer_give(&peer, &event);
    peer_close(&peer);
}

TEST(inline_allowed, "control, detached and large requests are not allowed to run inline") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, INLINED);
    CHECK_EQUAL(peer_call(&peer, target, "x"), ATOLL_OK);
    CHECK(peer_payload_is(&peer, peer.submitted, "1"));
    peer_give(&peer, peer.submitted);
    CHECK_EQUAL(
        peer_submit(&peer, ATOLL_KIND_CALL, target, ATOLL_FLAG_DETACHED, "x", 1), ATOLL_OK);
    CHECK(peer_payload_is(&peer, peer.submitted, "0"));
    peer_give(&peer, peer.submitted);
    uint8_t *large = calloc(1, 70000);
    CHECK(large != NULL);
    CHECK_EQUAL(peer_submit(&peer, ATOLL_KIND_CALL, target, 0, large, 70000), ATOLL_OK);
    CHECK(peer_payload_is(&peer, peer.submitted, "0"));
    peer_give(&peer, peer.submitted);
    free(large);
    CHECK_EQUAL(peer_control(&peer, "inlined"), 0);
    peer_close(&peer);
}

TEST(reaped_once, "A30: a ticket is reaped once, its successor is another one") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, PEND);
    uint32_t before = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        CHECK_EQUAL(peer_call(&peer, target, "x"), ATOLL_PENDING);
        uint32_t ticket = peer.submitted->ticket;
        CHECK(ticket != before);
        atoll_event_t event = peer_expect(&peer, ATOLL_KIND_REPLY);
        CHECK_EQUAL(event.ticket, ticket);
        peer_give(&peer, &event);
        CHECK_EQUAL(atoll_slot_give(peer.client, event.slot), ATOLL_INVALID_FRAME);
        before = ticket;
    }
    CHECK_EQUAL(atoll_reap(peer.client), 0);
    peer_close(&peer);
}

TEST(cancel_running, "a running call that is cancelled ends once, as cancelled") {
    peer_t peer = peer_open();
    CHECK_EQUAL(peer_call(&peer, peer_target(&peer, HOLD), "x"), ATOLL_PENDING);
    uint32_t ticket = peer.submitted->ticket;
    uint32_t before = peer_control(&peer, "cancels");
    CHECK_EQUAL(atoll_cancel(peer.client, ticket), ATOLL_OK);
    /* Again: its reply is not reaped yet, so the ticket is no stale one. */
    CHECK_EQUAL(atoll_cancel(peer.client, ticket), ATOLL_OK);
    CHECK_EQUAL(peer_control(&peer, "cancels"), before + 1);
    atoll_event_t event = peer_expect(&peer, ATOLL_KIND_REPLY);
    CHECK_EQUAL(event.status, ATOLL_CANCELLED);
    peer_give(&peer, &event);
    CHECK_EQUAL(peer_control(&peer, "release 9"), 0);
    CHECK_EQUAL(atoll_reap(peer.client), 0);
    peer_close(&peer);
}

TEST(cancel_ignored, "an engine is told once, and may end the call otherwise first") {
    peer_t peer = peer_open();
    CHECK_EQUAL(peer_call(&peer, peer_target(&peer, STUBBORN), "x"), ATOLL_PENDING);
    uint32_t ticket = peer.submitted->ticket;
    uint32_t before = peer_control(&peer, "cancels");
    for (uint32_t i = 0; i < 3; i++) CHECK_EQUAL(atoll_cancel(peer.client, ticket), ATOLL_OK);
    CHECK_EQUAL(peer_control(&peer, "cancels"), before + 1);
    CHECK_EQUAL(atoll_reap(peer.client), 0);
    CHECK_EQUAL(peer_control(&peer, "release 1"), 1);
    atoll_event_t event = peer_expect(&peer, ATOLL_KIND_REPLY);
    CHECK_EQUAL(event.status, ATOLL_OK);
    CHECK(peer_payload_is(&peer, &event, "x"));
    peer_give(&peer, &event);
    peer_close(&peer);
}

TEST(cancel_queued, "a waiting call that is cancelled ends without having run") {
    peer_t peer = peer_open();
    peer.group = peer_control(&peer, "group 1 8 0");
    uint32_t target = peer_target(&peer, HOLD);
    CHECK_EQUAL(peer_call(&peer, target, "first"), ATOLL_PENDING);
    CHECK_EQUAL(peer_call(&peer, target, "second"), ATOLL_PENDING);
    uint32_t ticket = peer.submitted->ticket;
    uint32_t before = peer_control(&peer, "cancels");
    CHECK_EQUAL(atoll_cancel(peer.client, ticket), ATOLL_OK);
    atoll_event_t event = peer_expect(&peer, ATOLL_KIND_REPLY);
    CHECK_EQUAL(event.ticket, ticket);
    CHECK_EQUAL(event.status, ATOLL_CANCELLED);
    peer_give(&peer, &event);
    CHECK_EQUAL(peer_control(&peer, "cancels"), before);
    CHECK_EQUAL(peer_control(&peer, "states"), 1);
    CHECK_EQUAL(peer_control(&peer, "release 1"), 1);
    event = peer_expect(&peer, ATOLL_KIND_REPLY);
    CHECK(peer_payload_is(&peer, &event, "first"));
    peer_give(&peer, &event);
    peer_close(&peer);
}

TEST(cancel_race, "cancel against reply: exactly one reply each, nothing left behind") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, PEND);
    uint32_t ok = 0;
    uint32_t cancelled = 0;
    for (uint32_t i = 0; i < 3000; i++) {
        CHECK_EQUAL(peer_call(&peer, target, "x"), ATOLL_PENDING);
        uint32_t ticket = peer.submitted->ticket;
        for (uint32_t spin = 0; spin < i % 400; spin++) __asm__ volatile("" ::: "memory");
        CHECK_EQUAL(atoll_cancel(peer.client, ticket), ATOLL_OK);
        atoll_event_t event = peer_expect(&peer, ATOLL_KIND_REPLY);
        CHECK_EQUAL(event.ticket, ticket);
        if (event.status == ATOLL_OK) ok++;
        if (event.status == ATOLL_CANCELLED) cancelled++;
        peer_give(&peer, &event);
    }
    CHECK_EQUAL(ok + cancelled, 3000);
    CHECK_EQUAL(atoll_reap(peer.client), 0);
    EVENTUALLY(peer_control(&peer, "states") == 0);
    peer_close(&peer);
}

TEST(blobs, "a blob is shared by its client and by engines until the last of them lets go") {
    peer_t peer = peer_open();
    peer_t other = peer_join();
    other.engine = peer.engine;
    const uint8_t bytes[] = {1, 2, 3};
    uint32_t blob = 0;
    CHECK_EQUAL(atoll_blob_put(peer.client, bytes, 3, &blob), ATOLL_OK);
    char text[32];
    (void)snprintf(text, sizeof text, "blob %u", blob);
    uint32_t length = (uint32_t)strlen(text);
    CHECK_EQUAL(
        peer_submit(&other, ATOLL_KIND_CONTROL, peer.engine, 0, text, length), ATOLL_OK);
    CHECK_EQUAL(other.submitted->status, ATOLL_NOT_FOUND);
    for (uint32_t i = 0; i < 3; i++) CHECK_EQUAL(peer_control(&peer, "blob %u", blob), 6);
    /* The engine's own share outlives the client's. */
    CHECK_EQUAL(peer_control(&peer, "keep %u", blob), 0);
    CHECK_EQUAL(atoll_blob_drop(peer.client, blob), ATOLL_OK);
    CHECK_EQUAL(peer_submit(&peer, ATOLL_KIND_CONTROL, peer.engine, 0, text, length), ATOLL_OK);
    CHECK_EQUAL(peer.submitted->status, ATOLL_NOT_FOUND);
    peer_give(&peer, peer.submitted);
    CHECK_EQUAL(peer_control(&peer, "kept"), 6);
    CHECK_EQUAL(atoll_blob_put(peer.client, NULL, 0, &blob), ATOLL_OK);
    CHECK_EQUAL(peer_control(&peer, "blob %u", blob), 0);
    CHECK_EQUAL(atoll_blob_put(peer.client, bytes, 3, &blob), ATOLL_OK);
    peer_leave(&other);
    peer_close(&peer);
}

TEST(logs_inline, "log lines of an inline call come by the ring, in order, each as what it is") {
    peer_t peer = peer_open();
    CHECK_EQUAL(peer_call(&peer, peer_target(&peer, LOGS), "3"), ATOLL_OK);
    CHECK_EQUAL(peer.submitted->lost, 0);
    uint32_t ticket = peer.submitted->ticket;
    peer_give(&peer, peer.submitted);
    CHECK_EQUAL(peer_wait(&peer), 3);
    const char *lines[] = {"line 0", "line 1", "line 2"};
    for (uint32_t i = 0; i < 3; i++) {
        atoll_event_t event = peer.reaped[i];
        CHECK_EQUAL(event.kind, ATOLL_KIND_LOG);
        CHECK_EQUAL(event.ticket, ticket);
        uint32_t flags[] = {0, ATOLL_FLAG_STDERR, ATOLL_LINE_ACCESS};
        CHECK_EQUAL(event.flags, flags[i]);
        CHECK(peer_payload_is(&peer, &event, lines[i]));
        peer_give(&peer, &event);
    }
    peer_close(&peer);
}

TEST(logs_flood, "a flood of log lines is cut and counted, the reply still comes") {
    peer_t peer = peer_open();
    uint64_t before = stats_now().logs_lost;
    CHECK_EQUAL(peer_call(&peer, peer_target(&peer, LOGS), "1000"), ATOLL_OK);
    CHECK_EQUAL(peer.submitted->lost, 1000 - ATOLL__LOGS_MAX);
    peer_give(&peer, peer.submitted);
    CHECK_EQUAL(stats_now().logs_lost - before, 1000 - ATOLL__LOGS_MAX);
    uint32_t seen = 0;
    for (uint32_t count; (count = atoll_reap(peer.client)) > 0; seen += count)
        for (uint32_t i = 0; i < count; i++)
            CHECK_EQUAL(atoll_slot_give(peer.client, peer.reaped[i].slot), ATOLL_OK);
    CHECK_EQUAL(seen, ATOLL__LOGS_MAX);
    peer_close(&peer);
}
