/* Groups: places, waiting calls, overload, deadlines. */
#include "harness.h"

TEST(overload, "A20: 10,000 submits against 1,000 places: run, wait or overloaded, none lost") {
    peer_t peer = peer_open();
    peer.group = peer_control(&peer, "group 1000 2000 0");
    uint32_t target = peer_target(&peer, HOLD);
    atoll_stats_t before = stats_now();
    uint32_t accepted = 0;
    uint32_t refused = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        atoll_status_t status = peer_call(&peer, target, "x");
        if (status == ATOLL_PENDING)
            accepted++;
        else if (status == ATOLL_OVERLOADED)
            refused++;
    }
    CHECK_EQUAL(accepted, 3000);
    CHECK_EQUAL(refused, 7000);
    atoll_stats_t after = stats_now();
    CHECK_EQUAL(after.calls_queued - before.calls_queued, 2000);
    CHECK_EQUAL(after.calls_refused - before.calls_refused, 7000);
    CHECK_EQUAL(after.calls_in_flight, 3000);
    CHECK_EQUAL(peer_control(&peer, "states"), 1000);
    uint32_t ended = 0;
    while (ended < 3000) {
        (void)peer_control(&peer, "release 100");
        uint32_t count = atoll_reap(peer.client);
        for (uint32_t i = 0; i < count; i++) {
            atoll_event_t event = peer.reaped[i];
            CHECK_EQUAL(event.status, ATOLL_OK);
            CHECK_EQUAL(event.kind, ATOLL_KIND_REPLY);
            CHECK_EQUAL(atoll_slot_give(peer.client, event.slot), ATOLL_OK);
        }
        ended += count;
    }
    CHECK_EQUAL(atoll_reap(peer.client), 0);
    CHECK_EQUAL(peer_control(&peer, "states"), 0);
    CHECK_EQUAL(stats_now().calls_in_flight, 0);
    (void)peer_control(&peer, "untarget %u", target);
    (void)peer_control(&peer, "ungroup %u", peer.group);
    peer_close(&peer);
}

TEST(pool_full, "A20: with all tickets in use a submit is overloaded, not lost") {
    peer_t peer = peer_open();
    peer.group = peer_control(&peer, "group 100000 100000 0");
    uint32_t target = peer_target(&peer, HOLD);
    uint32_t accepted = 0;
    atoll_status_t status;
    while ((status = peer_call(&peer, target, "x")) == ATOLL_PENDING) accepted++;
    CHECK_EQUAL(status, ATOLL_OVERLOADED);
    CHECK_EQUAL(accepted, atoll__calls_max());
    peer_close(&peer);
}

TEST(place_free, "who has seen the reply of a call finds its place free") {
    peer_t peer = peer_open();
    peer.group = peer_control(&peer, "group 1 0 0");
    uint32_t target = peer_target(&peer, PEND);
    for (uint32_t i = 0; i < 2000; i++) {
        CHECK_EQUAL(peer_call(&peer, target, "x"), ATOLL_PENDING);
        CHECK_EQUAL(peer_wait(&peer), 1);
        peer_give(&peer, &peer.reaped[0]);
    }
    peer_close(&peer);
}

TEST(queue_order, "waiting calls run in the order in which they came") {
    peer_t peer = peer_open();
    peer.group = peer_control(&peer, "group 1 100 0");
    uint32_t held = peer_target(&peer, HOLD);
    uint32_t tickets[50];
    for (uint32_t i = 0; i < 50; i++) {
        CHECK_EQUAL(peer_call(&peer, held, "h"), ATOLL_PENDING);
        tickets[i] = peer.submitted->ticket;
    }
    for (uint32_t i = 0; i < 50; i++) {
        /* Nobody but the one that runs can be released. */
        CHECK_EQUAL(peer_control(&peer, "release 1"), 1);
        atoll_event_t event = peer_expect(&peer, ATOLL_KIND_REPLY);
        CHECK_EQUAL(event.ticket, tickets[i]);
        CHECK_EQUAL(event.status, ATOLL_OK);
        peer_give(&peer, &event);
    }
    peer_close(&peer);
}

TEST(queue_pump, "A20: who ends a call starts some of those that wait, others start the rest, in order") {
    enum { CALLS = 5 * ATOLL__STARTS_MAX + 7 };
    uint32_t tickets[1 + CALLS];
    peer_t peer = peer_open();
    peer.group = peer_control(&peer, "group 1 1000 0");
    uint32_t held = peer_target(&peer, HOLD);
    /* They end while they are started: whoever starts the first finds the place free for the next. */
    uint32_t quick = peer_target(&peer, QUICK);
    for (uint32_t i = 0; i <= CALLS; i++) {
        CHECK_EQUAL(peer_call(&peer, i == 0 ? held : quick, "x"), ATOLL_PENDING);
        tickets[i] = peer.submitted->ticket;
    }
    uint32_t before = peer_control(&peer, "starts");
    /* Answered inside this thread's submit, and with it the call that holds the place. */
    CHECK_EQUAL(peer_control(&peer, "release 1"), 1);
    uint32_t started = peer_control(&peer, "starts") - before;
    CHECK(started > 0 && started <= ATOLL__STARTS_MAX);
    uint32_t ended = 0;
    while (ended <= CALLS) {
        uint32_t count = peer_wait(&peer);
        for (uint32_t i = 0; i < count; i++, ended++) {
            CHECK_EQUAL(peer.reaped[i].status, ATOLL_OK);
            CHECK_EQUAL(peer.reaped[i].ticket, tickets[ended]);
            CHECK_EQUAL(atoll_slot_give(peer.client, peer.reaped[i].slot), ATOLL_OK);
        }
    }
    peer_close(&peer);
}

TEST(queue_deadline, "a waiting call whose budget is over ends with deadline") {
    peer_t peer = peer_open();
    peer.group = peer_control(&peer, "group 1 8 20000");
    uint32_t target = peer_target(&peer, HOLD);
    CHECK_EQUAL(peer_call(&peer, target, "runs"), ATOLL_PENDING);
    /* The frame asks for more than the group allows. */
    uint32_t slot = peer_frame(&peer, ATOLL_KIND_CALL, target, 0, UINT32_MAX, "waits", 5);
    CHECK_EQUAL(atoll_submit(peer.client, slot), ATOLL_PENDING);
    uint32_t ticket = peer.submitted->ticket;
    atoll_event_t event = peer_expect(&peer, ATOLL_KIND_REPLY);
    CHECK_EQUAL(event.ticket, ticket);
    CHECK_EQUAL(event.status, ATOLL_DEADLINE);
    CHECK(event.elapsed_us >= 20000);
    peer_give(&peer, &event);
    CHECK_EQUAL(peer_control(&peer, "states"), 1);
    peer_close(&peer);
}

TEST(group_change, "raising a group's limit starts waiting calls; a busy group goes with its last one") {
    peer_t peer = peer_open();
    uint32_t group = peer_control(&peer, "group 1 8 0");
    peer.group = group;
    uint32_t target = peer_target(&peer, HOLD);
    for (uint32_t i = 0; i < 4; i++) CHECK_EQUAL(peer_call(&peer, target, "x"), ATOLL_PENDING);
    CHECK_EQUAL(peer_control(&peer, "states"), 1);
    (void)peer_control(&peer, "set %u 3 8 0", group);
    CHECK_EQUAL(peer_control(&peer, "states"), 3);
    atoll_group_limits_t none = {.queue_max = 1};
    CHECK_EQUAL(atoll__group_set(group, &none), ATOLL_INVALID_ARGUMENT);
    CHECK_EQUAL(atoll__group_remove(group), ATOLL_OK);
    CHECK_EQUAL(atoll__group_remove(group), ATOLL_NOT_FOUND);
    CHECK_EQUAL(peer_call(&peer, target, "x"), ATOLL_NOT_FOUND);
    /* Its place in the table is not free yet. */
    atoll_group_limits_t one = {.concurrency_max = 1};
    uint32_t other = 0;
    CHECK_EQUAL(atoll__group_add(&one, &other), ATOLL_OK);
    CHECK((other & 0xFFFFu) != (group & 0xFFFFu));
    CHECK_EQUAL(atoll__group_remove(other), ATOLL_OK);
    uint32_t ended = 0;
    while (ended < 4) {
        (void)peer_control(&peer, "release 4");
        uint32_t count = atoll_reap(peer.client);
        for (uint32_t i = 0; i < count; i++)
            CHECK_EQUAL(atoll_slot_give(peer.client, peer.reaped[i].slot), ATOLL_OK);
        ended += count;
    }
    CHECK_EQUAL(atoll__group_add(&one, &other), ATOLL_OK);
    CHECK((other & 0xFFFFu) <= (group & 0xFFFFu));
    CHECK_EQUAL(atoll__group_remove(other), ATOLL_OK);
    peer_close(&peer);
}

typedef struct limits_test {
    uint32_t group;
    _Atomic uint32_t over;
} limits_test_t;

static void *limits_writer(void *argument) {
    limits_test_t *test = argument;
    for (uint32_t i = 1; i < 20000; i++) {
        atoll_group_limits_t limits = {i, i + 1, i + 2, i + 3, test->group, 0};
        CHECK_EQUAL(atoll__group_set(test->group, &limits), ATOLL_OK);
    }
    atomic_store(&test->over, 1);
    return NULL;
}

TEST(limits_whole, "a group's limits are read as they were set, never a mixture of two settings") {
    peer_t peer = peer_open();
    limits_test_t test = {.group = peer_control(&peer, "group 1 2 3")};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, limits_writer, &test) == 0);
    while (atomic_load(&test.over) == 0) {
        atoll__limits_t limits;
        CHECK(atoll__group_limits(test.group, &limits));
        CHECK_EQUAL(limits.queue_max, limits.concurrency_max + 1);
        CHECK_EQUAL(limits.budget_us, limits.concurrency_max + 2);
        CHECK(limits.rate_max == 0 || limits.rate_max == limits.concurrency_max + 3);
        CHECK_EQUAL(limits.rate_group, limits.rate_max == 0 ? 0 : test.group);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    (void)peer_control(&peer, "ungroup %u", test.group);
    atoll_group_limits_t gone = {.concurrency_max = 1, .queue_max = 1, .budget_default_us = 1};
    CHECK_EQUAL(atoll__group_set(test.group, &gone), ATOLL_NOT_FOUND);
    peer_close(&peer);
}
