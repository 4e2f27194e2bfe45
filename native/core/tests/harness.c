/* The runner, and the client that tests use.
 *
 * core_test FOLDER [TEXT | -TEXT] runs the tests with TEXT in their name, or those without it.
 *
 * Owns: running, counting and printing. Must not know what is tested. */
#include "harness.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static test_t *first;
static test_t *last;
static const char *folder;
static char engine_path[512];
static pthread_t main_thread;
static jmp_buf back;
static const char *skipped_why;

/* Where a test comes back to. */
enum { BEGINS = 0, FAILED = 1, SKIPPED = 2 };

void test_register(test_t *test) {
    if (last != NULL)
        last->next = test;
    else
        first = test;
    last = test;
}

_Noreturn void test_fail(const char *file, int line, const char *text) {
    printf("# %s:%d: %s\n", file, line, text);
    fflush(stdout);
    /* A thread of a test has no way back; the whole run ends. */
    if (!pthread_equal(pthread_self(), main_thread)) exit(1);
    longjmp(back, FAILED);
}

_Noreturn void test_skip(const char *why) {
    skipped_why = why;
    longjmp(back, SKIPPED);
}

uint32_t test_rounds(uint32_t rounds) {
    const char *slower = getenv("ATOLL_TEST_SLOWER");
    uint32_t by = slower == NULL ? 1 : (uint32_t)strtoul(slower, NULL, 10);
    return by < 2 ? rounds : rounds < by ? 1 : rounds / by;
}

static bool is_wanted(const test_t *test, const char *filter) {
    if (filter[0] == '-') return strstr(test->name, filter + 1) == NULL;
    return strstr(test->name, filter) != NULL;
}

const char *test_folder(void) {
    return folder;
}

const char *test_engine_path(void) {
    return engine_path;
}

int main(int count, char **arguments) {
    folder = count > 1 ? arguments[1] : ".";
    const char *filter = count > 2 ? arguments[2] : "";
    (void)snprintf(engine_path, sizeof engine_path, "%s/test_engine.so", folder);
    main_thread = pthread_self();
    /* Not in registers: gcc for arm64 counts a test as passed before it runs, and longjmp comes back
     * to that count. */
    volatile int passed = 0;
    volatile int failed = 0;
    for (test_t *test = first; test != NULL; test = test->next) {
        if (!is_wanted(test, filter)) continue;
        switch (setjmp(back)) {
        case BEGINS:
            test->body();
            passed++;
            printf("ok %s\n", test->name);
            break;
        case SKIPPED:
            printf("skipped %s: %s\n", test->name, skipped_why);
            break;
        default:
            failed++;
            printf("not ok %s\n", test->name);
            /* What a failed test left open must not fail the next one. */
            while (atoll_close() == ATOLL_OK) {
            }
        }
        fflush(stdout);
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}

/* ---- the client ---- */

static int connect_to(const atoll_client_info_t *info) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, info->path, info->path_length);
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(descriptor >= 0);
    CHECK(connect(descriptor, (struct sockaddr *)&address, sizeof address) == 0);
    return descriptor;
}

peer_t peer_join(void) {
    atoll_client_info_t info;
    CHECK_EQUAL(atoll_client_open(&info), ATOLL_OK);
    peer_t peer = {.client = info.client, .base = atoll__arena_base()};
    peer.submitted = (const atoll_event_t *)(peer.base + (size_t)info.area_slot * 64);
    peer.reaped = peer.submitted + 2;
    CHECK_EQUAL(atoll_client_attach(info.client), ATOLL_WOULD_BLOCK);
    peer.socket = connect_to(&info);
    CHECK(send(peer.socket, info.nonce, sizeof info.nonce, MSG_NOSIGNAL) == sizeof info.nonce);
    CHECK_EQUAL(atoll_client_attach(info.client), ATOLL_OK);
    return peer;
}

peer_t peer_open(void) {
    /* More lines, for the run that map_test.c starts. */
    const char *more = getenv("ATOLL_TEST_CONFIG");
    char config[256];
    int length = snprintf(
        config, sizeof config, "arena_bytes=33554432\ncalls_max=16384\n%s",
        more == NULL ? "" : more);
    atoll_arena_info_t info;
    CHECK_EQUAL(atoll_open((const uint8_t *)config, (uint32_t)length, &info), ATOLL_OK);
    uint32_t engine = 0;
    CHECK_EQUAL(
        atoll_engine_load(
            (const uint8_t *)engine_path, (uint32_t)strlen(engine_path), NULL, 0, &engine),
        ATOLL_OK);
    peer_t peer = peer_join();
    peer.engine = engine;
    peer.group = peer_control(&peer, "group 4096 4096 0");
    return peer;
}

void peer_leave(peer_t *peer) {
    CHECK_EQUAL(atoll_client_close(peer->client), ATOLL_OK);
    (void)close(peer->socket);
}

void peer_close(peer_t *peer) {
    peer_leave(peer);
    EVENTUALLY(stats_now().clients == 0);
    atoll_stats_t stats = stats_now();
    CHECK_EQUAL(slots_used(&stats), 0);
    CHECK_EQUAL(stats.calls_in_flight, 0);
    CHECK_EQUAL(atoll_close(), ATOLL_OK);
}

uint32_t peer_frame(
    peer_t *peer, uint32_t kind, uint32_t target, uint32_t flags, uint32_t budget_us,
    const void *payload, uint32_t length) {
    uint32_t slot = atoll_slot_take(peer->client, ATOLL_FRAME_BYTES + length);
    CHECK(slot != 0);
    atoll_frame_t frame = {
        .kind = (uint8_t)kind,
        .flags = (uint16_t)flags,
        .request_id = 77,
        .target = target,
        .budget_us = budget_us,
        .payload_length = length,
    };
    atoll__frame_write(peer->base + (size_t)slot * 64, &frame, NULL, payload);
    return slot;
}

atoll_status_t peer_submit(
    peer_t *peer, uint32_t kind, uint32_t target, uint32_t flags, const void *payload,
    uint32_t length) {
    uint32_t slot = peer_frame(peer, kind, target, flags, 0, payload, length);
    atoll_status_t status = atoll_submit(peer->client, slot);
    if (status != ATOLL_OK && status != ATOLL_PENDING)
        CHECK_EQUAL(atoll_slot_give(peer->client, slot), ATOLL_OK);
    return status;
}

atoll_status_t peer_call(peer_t *peer, uint32_t target, const char *payload) {
    return peer_submit(peer, ATOLL_KIND_CALL, target, 0, payload, (uint32_t)strlen(payload));
}

uint32_t peer_control(peer_t *peer, const char *format, ...) {
    char text[128];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    atoll_status_t status = peer_submit(
        peer, ATOLL_KIND_CONTROL, peer->engine, 0, text, (uint32_t)strlen(text));
    CHECK_EQUAL(status, ATOLL_OK);
    atoll_event_t event = *peer->submitted;
    char answer[32] = {0};
    uint32_t length = event.length < 31 ? event.length : 31;
    memcpy(answer, peer->base + (size_t)event.slot * 64 + 32, length);
    peer_give(peer, &event);
    CHECK_EQUAL(event.status, ATOLL_OK);
    return (uint32_t)strtoul(answer, NULL, 10);
}

uint32_t peer_target(peer_t *peer, uint32_t behaviour) {
    return peer_control(peer, "target %u %u", behaviour, peer->group);
}

uint32_t peer_wait(peer_t *peer) {
    for (;;) {
        uint32_t count = atoll_reap(peer->client);
        if (count > 0) return count;
        struct pollfd wait = {.fd = peer->socket, .events = POLLIN};
        CHECK(poll(&wait, 1, 60000) == 1);
        uint8_t bytes[64];
        CHECK(recv(peer->socket, bytes, sizeof bytes, MSG_DONTWAIT) > 0);
    }
}

atoll_event_t peer_expect(peer_t *peer, uint32_t kind) {
    for (;;) {
        uint32_t count = peer_wait(peer);
        CHECK_EQUAL(count, 1);
        atoll_event_t event = peer->reaped[0];
        if (event.kind == kind) return event;
        peer_give(peer, &event);
    }
}

void peer_give(peer_t *peer, const atoll_event_t *event) {
    if (event->slot != 0) CHECK_EQUAL(atoll_slot_give(peer->client, event->slot), ATOLL_OK);
}

bool peer_payload_is(peer_t *peer, const atoll_event_t *event, const char *text) {
    return event->length == strlen(text) &&
           memcmp(peer->base + (size_t)event->slot * 64 + 32, text, event->length) == 0;
}

atoll_stats_t stats_now(void) {
    atoll_stats_t stats;
    CHECK_EQUAL(atoll_stats(&stats), ATOLL_OK);
    return stats;
}
