/* The router's table: what is read while it changes. */
#include <stdlib.h>

#include "epoch.h"
#include "harness.h"

static bool find(uint32_t target, atoll__route_t *route) {
    atoll__pin_t pin = atoll__epoch_pin();
    CHECK(pin.reader != NULL);
    bool found = atoll__router_find(target, route);
    atoll__epoch_unpin(pin);
    return found;
}

TEST(router_bulk, "router: as many targets as there are, each leads where it should") {
    peer_t peer = peer_open();
    uint32_t *targets = calloc(ATOLL__TARGETS_MAX, sizeof *targets);
    CHECK(targets != NULL);
    atoll__route_t route;
    uint32_t count = 0;
    while (atoll__target_add(3, count, count ^ 0x5555u, &targets[count]) == ATOLL_OK) count++;
    CHECK_EQUAL(count, ATOLL__TARGETS_MAX - 1);
    CHECK_EQUAL(stats_now().targets, count);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(find(targets[i], &route));
        CHECK(route.engine == 3 && route.handle == i && route.group == (i ^ 0x5555u));
    }
    for (uint32_t i = 0; i < count; i += 2)
        CHECK_EQUAL(atoll__target_remove(targets[i]), ATOLL_OK);
    for (uint32_t i = 0; i < count; i++) CHECK_EQUAL(find(targets[i], &route), i % 2);
    for (uint32_t i = 0; i < count; i += 2) {
        CHECK_EQUAL(atoll__target_remove(targets[i]), ATOLL_NOT_FOUND);
        uint32_t target;
        CHECK_EQUAL(atoll__target_add(4, i, i, &target), ATOLL_OK);
        CHECK(find(target, &route) && route.engine == 4 && route.handle == i);
        CHECK(!find(targets[i], &route));
    }
    CHECK(!find(0, &route) && !find(UINT32_MAX, &route) && !find(1u << 16, &route));
    /* Nothing is written any more: the warden releases what is left. */
    EVENTUALLY(atoll__epoch_waiting() == 0);
    peer_close(&peer);
    for (uint32_t i = 0; i < count; i++) CHECK(!find(targets[i], &route));
    free(targets);
}

#define CHANGING 8u

static _Atomic uint32_t changing[CHANGING];
static _Atomic uint32_t router_over;

static void *router_reader(void *unused) {
    (void)unused;
    uint64_t found = 0;
    while (atomic_load(&router_over) == 0 || found == 0) {
        for (uint32_t i = 0; i < CHANGING; i++) {
            atoll__route_t route;
            /* May be stale by now; what is found must be whole all the same. */
            uint32_t target = atomic_load(&changing[i]);
            if (!find(target, &route)) continue;
            CHECK_EQUAL(route.handle % CHANGING, i);
            CHECK_EQUAL(route.group, route.handle ^ 0xFFFFu);
            CHECK_EQUAL(route.engine, 5);
            found++;
        }
    }
    return NULL;
}

TEST(router_torture, "router: routes that are found while targets come and go are whole") {
    peer_t peer = peer_open();
    pthread_t thread;
    atomic_store(&router_over, 0);
    CHECK(pthread_create(&thread, NULL, router_reader, NULL) == 0);
    for (uint32_t round = 0; round < 20000; round++) {
        uint32_t place = round % CHANGING;
        uint32_t before = atomic_load(&changing[place]);
        uint32_t target;
        if (round >= CHANGING) CHECK_EQUAL(atoll__target_remove(before), ATOLL_OK);
        CHECK_EQUAL(atoll__target_add(5, round, round ^ 0xFFFFu, &target), ATOLL_OK);
        atomic_store(&changing[place], target);
    }
    atomic_store(&router_over, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    peer_close(&peer);
}
