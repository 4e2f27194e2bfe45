/* Calls a second: the bucket by itself, and the group that counts with it. */
#include <string.h>

#include "harness.h"

#define SECOND_NS 1000000000u

static uint32_t taken(atoll__rate_t *rate, uint32_t per_second, uint64_t now_ns) {
    uint32_t count = 0;
    while (count <= per_second && atoll__rate_take(rate, per_second, now_ns)) count++;
    return count;
}

TEST(rate_bucket, "a bucket holds one second's tokens and gets them back one by one") {
    const uint32_t rates[] = {1, 3, 7, 1000, 1000000};
    for (uint32_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        atoll__rate_t rate = {0};
        uint64_t now_ns = 5u * SECOND_NS;
        uint32_t per_second = rates[i];
        CHECK_EQUAL(taken(&rate, per_second, now_ns), per_second);
        /* Each comes back after its part of a second and not before. */
        now_ns += SECOND_NS / per_second;
        CHECK_EQUAL(taken(&rate, per_second, now_ns - 100), 0);
        CHECK_EQUAL(taken(&rate, per_second, now_ns), 1);
        /* However long nobody comes, no more than a second's are there. */
        now_ns += 1000u * (uint64_t)SECOND_NS;
        CHECK_EQUAL(taken(&rate, per_second, now_ns), per_second);
        /* Another thread's clock may be behind. */
        CHECK(!atoll__rate_take(&rate, per_second, now_ns - 1));
    }
}

TEST(rate_change, "a lower rate waits for what a higher one took, a second at most") {
    atoll__rate_t rate = {0};
    CHECK_EQUAL(taken(&rate, 1000, 1), 1000);
    CHECK_EQUAL(taken(&rate, 1, 1), 0);
    CHECK_EQUAL(taken(&rate, 1, 1 + SECOND_NS), 1);
}

typedef struct takers {
    atoll__rate_t rate;
    _Atomic uint32_t taken;
} takers_t;

enum { TAKERS = 4, TOKENS = 10000 };

static void *taker(void *argument) {
    takers_t *takers = argument;
    for (uint32_t i = 0; i < TOKENS; i++)
        if (atoll__rate_take(&takers->rate, TOKENS, 1)) atomic_fetch_add(&takers->taken, 1);
    return NULL;
}

TEST(rate_threads, "threads that take at once share exactly what is there") {
    takers_t takers = {0};
    pthread_t threads[TAKERS];
    for (uint32_t i = 0; i < TAKERS; i++)
        CHECK(pthread_create(&threads[i], NULL, taker, &takers) == 0);
    for (uint32_t i = 0; i < TAKERS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_EQUAL(atomic_load(&takers.taken), TOKENS);
}

static void echo(peer_t *peer, uint32_t target) {
    CHECK_EQUAL(peer_call(peer, target, "x"), ATOLL_OK);
    atoll_event_t event = *peer->submitted;
    peer_give(peer, &event);
}

/* Calls one and the other in turn until one is refused: together no more than may be. */
static void exhaust(peer_t *peer, uint32_t one, uint32_t other, uint32_t per_second) {
    uint64_t begun_ns = atoll__prim_now_ns();
    uint64_t count = 0;
    for (;; count++) {
        atoll_status_t status = peer_call(peer, count % 2 == 0 ? one : other, "x");
        if (status == ATOLL_RATE_LIMITED) break;
        CHECK_EQUAL(status, ATOLL_OK);
        atoll_event_t event = *peer->submitted;
        peer_give(peer, &event);
    }
    uint64_t passed_ns = atoll__prim_now_ns() - begun_ns;
    CHECK(count <= per_second + passed_ns * per_second / SECOND_NS + 1);
}

TEST(rate_group, "calls beyond a group's rate are refused, the frame stays the caller's, and others run") {
    peer_t peer = peer_open();
    uint32_t roomy = peer_target(&peer, ECHO);
    peer.group = peer_control(&peer, "group 4 4 0 5");
    uint32_t target = peer_target(&peer, ECHO);
    uint64_t before = stats_now().calls_refused;
    exhaust(&peer, target, target, 5);
    CHECK_EQUAL(stats_now().calls_refused, before + 1);
    uint8_t text[128] = {0};
    uint32_t length = atoll_error_text(text, sizeof text - 1);
    CHECK(length > 0 && strstr((const char *)text, "in a second") != NULL);
    /* It counts calls, not what runs: the group of others has nothing to do with it. */
    echo(&peer, roomy);
    /* The next second comes. */
    EVENTUALLY(peer_call(&peer, target, "x") == ATOLL_OK);
    atoll_event_t event = *peer.submitted;
    peer_give(&peer, &event);
    /* Without the limit there is none at once. */
    exhaust(&peer, target, target, 5);
    (void)peer_control(&peer, "set %u 4 4 0 0", peer.group);
    for (uint32_t i = 0; i < 100; i++) echo(&peer, target);
    peer_close(&peer);
}

TEST(rate_shared, "groups that count together share one rate, and a group that is gone has none") {
    peer_t peer = peer_open();
    peer.group = peer_control(&peer, "group 4 4 0 50");
    uint32_t target = peer_target(&peer, ECHO);
    uint32_t whole = peer.group;
    atoll_group_limits_t limits = {.concurrency_max = 1, .rate_max = 50, .rate_group = whole};
    CHECK_EQUAL(atoll__group_add(&limits, &peer.group), ATOLL_OK);
    uint32_t part = peer_target(&peer, ECHO);
    exhaust(&peer, part, target, 50);
    CHECK_EQUAL(atoll__group_remove(peer.group), ATOLL_OK);
    CHECK_EQUAL(peer_call(&peer, part, "x"), ATOLL_NOT_FOUND);
    limits.rate_group = ATOLL__GROUPS_MAX;
    CHECK_EQUAL(atoll__group_set(whole, &limits), ATOLL_INVALID_ARGUMENT);
    peer_close(&peer);
}
