/* What the core's tests share: registration, checks, a client as JavaScript would be one.
 *
 * Owns: how a test is written. Must not know what is tested. */
#ifndef ATOLL_TEST_HARNESS_H
#define ATOLL_TEST_HARNESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "internal.h"

typedef struct test {
    const char *name;
    void (*body)(void);
    struct test *next;
} test_t;

void test_register(test_t *test);
/* Prints what failed and ends this test as failed. */
_Noreturn void test_fail(const char *file, int line, const char *text);

/* Ends this test as not run, and says why: a line "skipped NAME: WHY", counted neither way. */
_Noreturn void test_skip(const char *why);

/* TEST(id, "name") { body } */
#define TEST(id, text)                                                   \
    static void id(void);                                                \
    static test_t id##_test = {.name = text, .body = id};                \
    __attribute__((constructor)) static void id##_register(void) {       \
        test_register(&id##_test);                                       \
    }                                                                    \
    static void id(void)

#define CHECK(condition)                                                 \
    do {                                                                 \
        if (!(condition)) test_fail(__FILE__, __LINE__, #condition);     \
    } while (0)

#define CHECK_EQUAL(actual, expected)                                    \
    do {                                                                 \
        uint64_t check_actual = (uint64_t)(actual);                      \
        uint64_t check_expected = (uint64_t)(expected);                  \
        if (check_actual != check_expected) {                            \
            char check_text[256];                                        \
            (void)snprintf(                                              \
                check_text, sizeof check_text, "%s is %llu, expected %llu", #actual, \
                (unsigned long long)check_actual, (unsigned long long)check_expected); \
            test_fail(__FILE__, __LINE__, check_text);                   \
        }                                                                \
    } while (0)

/* Behaviours of the test engine (tests/engine). */
enum {
    ECHO = 1,
    PEND = 2,
    HOLD = 3,
    STREAM = 4,
    FORGET = 5,
    REFUSE = 6,
    GROW = 7,
    LOGS = 8,
    TWICE = 9,
    QUICK = 10,
    LAZY = 11,
    DEAF = 12,
    INLINED = 13,
    WRITER = 14,
    STUBBORN = 15,
    INSPECT = 16
};

/* How often a long loop goes round: `rounds`, or where ATOLL_TEST_SLOWER=N says that everything takes N
 * times as long, as many as fit into the same time. */
uint32_t test_rounds(uint32_t rounds);

/* Folder of the built files. */
const char *test_folder(void);
const char *test_engine_path(void);

typedef struct peer {
    uint32_t client;
    uint8_t *base;
    const atoll_event_t *submitted; /* the event of atoll_submit */
    const atoll_event_t *reaped;    /* those of atoll_reap */
    int socket;
    uint32_t engine;
    uint32_t group;
} peer_t;

/* Opens the library, a client with its wake socket, and the test engine with a roomy group. */
peer_t peer_open(void);
/* Closes them again and checks that everything came back. */
void peer_close(peer_t *peer);
/* A client only; the library must be open. */
peer_t peer_join(void);
/* Closes a client that peer_join opened, without waiting for what it held. */
void peer_leave(peer_t *peer);

/* Puts a frame into a fresh slot. */
uint32_t peer_frame(
    peer_t *peer, uint32_t kind, uint32_t target, uint32_t flags, uint32_t budget_us,
    const void *payload, uint32_t length);
/* Submits such a frame; the slot is given back when it is refused. */
atoll_status_t peer_submit(
    peer_t *peer, uint32_t kind, uint32_t target, uint32_t flags, const void *payload,
    uint32_t length);
atoll_status_t peer_call(peer_t *peer, uint32_t target, const char *payload);
/* A CONTROL request of the test engine; returns its number. */
uint32_t peer_control(peer_t *peer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
uint32_t peer_target(peer_t *peer, uint32_t behaviour);
/* Waits for at least one event, as an event loop would: reap, sleep on the socket, reap. */
uint32_t peer_wait(peer_t *peer);
/* Waits for an event of that kind; gives the slots of others back. */
atoll_event_t peer_expect(peer_t *peer, uint32_t kind);
void peer_give(peer_t *peer, const atoll_event_t *event);
bool peer_payload_is(peer_t *peer, const atoll_event_t *event, const char *text);

atoll_stats_t stats_now(void);
/* Slots of all classes and extents that are taken. */
static inline uint32_t slots_used(const atoll_stats_t *stats) {
    uint32_t used = stats->extents_used;
    for (size_t i = 0; i < ATOLL__CLASSES; i++) used += stats->slots_used[i];
    return used;
}
/* Waits until a condition holds; ends the test when it never does. */
#define EVENTUALLY(condition)                                            \
    do {                                                                 \
        for (uint32_t check_round = 0; !(condition); check_round++) {    \
            if (check_round > 60000) test_fail(__FILE__, __LINE__, "never: " #condition); \
            atoll__prim_pause();                                         \
        }                                                                \
    } while (0)

#endif
