/* Open and close, clients that go away, wakes, engines that cannot be loaded. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness.h"
#include "hazard.h"

static void check_text(const char *part) {
    char text[512];
    uint32_t length = atoll_error_text((uint8_t *)text, sizeof text - 1);
    text[length] = '\0';
    if (strstr(text, part) == NULL) test_fail(__FILE__, __LINE__, text);
}

/* First in this file, but not the first to open: the configuration is read once a process. */
TEST(open_again, "open, close, open again: same arena, old numbers are stale") {
    peer_t peer = peer_open();
    uint32_t target = peer_target(&peer, ECHO);
    uint32_t client = peer.client;
    const uint8_t *base = peer.base;
    peer_close(&peer);
    CHECK_EQUAL(atoll_close(), ATOLL_CLOSED);
    CHECK_EQUAL(atoll_reap(client), 0);
    CHECK_EQUAL(atoll_submit(client, 1), ATOLL_CLOSED);
    for (uint32_t i = 0; i < 20; i++) {
        peer = peer_open();
        CHECK(peer.base == base);
        CHECK(peer.client != client);
        CHECK_EQUAL(atoll_submit(client, 1), ATOLL_NOT_FOUND);
        CHECK_EQUAL(peer_call(&peer, target, "x"), ATOLL_NOT_FOUND);
        CHECK_EQUAL(peer_call(&peer, peer_target(&peer, ECHO), "x"), ATOLL_OK);
        peer_give(&peer, peer.submitted);
        peer_close(&peer);
    }
}

TEST(close_busy, "close with calls running, waiting and unread ends them all") {
    peer_t peer = peer_open();
    peer.group = peer_control(&peer, "group 10 100 0");
    uint32_t hold = peer_target(&peer, HOLD);
    uint32_t pend = peer_target(&peer, PEND);
    for (uint32_t i = 0; i < 5; i++) CHECK_EQUAL(peer_call(&peer, pend, "x"), ATOLL_PENDING);
    for (uint32_t i = 0; i < 50; i++) CHECK_EQUAL(peer_call(&peer, hold, "x"), ATOLL_PENDING);
    CHECK_EQUAL(atoll_close(), ATOLL_OK);
    (void)close(peer.socket);
    peer = peer_open();
    CHECK_EQUAL(peer_control(&peer, "states"), 0);
    CHECK_EQUAL(stats_now().calls_in_flight, 0);
    peer_close(&peer);
}

TEST(arena_keys, "a wish for the arena that is no such wish is refused, by its line") {
    const char *const wrong[] = {
        "arena_huge=2", "arena_huge=", "arena_prefault=yes", "arena_lock=-1", "arena_numa=both",
        "arena_numa=", "arena_bytes=4096", "arena_big=1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        atoll_arena_info_t info;
        const uint8_t *config = (const uint8_t *)wrong[i];
        CHECK_EQUAL(
            atoll_open(config, (uint32_t)strlen(wrong[i]), &info), ATOLL_INVALID_ARGUMENT);
        check_text(i < 7 ? wrong[i] : "arena_numa, arena_prefault");
    }
}

TEST(users, "the library closes with its last user only") {
    peer_t peer = peer_open();
    atoll_arena_info_t info;
    CHECK_EQUAL(atoll_open(NULL, 0, &info), ATOLL_OK);
    CHECK_EQUAL(info.users, 2);
    CHECK_EQUAL(atoll_close(), ATOLL_OK);
    CHECK_EQUAL(peer_call(&peer, peer_target(&peer, ECHO), "x"), ATOLL_OK);
    peer_give(&peer, peer.submitted);
    peer_close(&peer);
}

static void *open_and_vanish(void *unused) {
    (void)unused;
    atoll_arena_info_t info;
    CHECK_EQUAL(atoll_open(NULL, 0, &info), ATOLL_OK);
    return NULL;
}

static void *close_only(void *unused) {
    (void)unused;
    return (void *)(uintptr_t)atoll_close();
}

TEST(vanished, "A30: a thread that ends without closing counts as closed") {
    peer_t peer = peer_open();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, open_and_vanish, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    atoll_arena_info_t info;
    CHECK_EQUAL(atoll_open(NULL, 0, &info), ATOLL_OK);
    CHECK_EQUAL(info.users, 2);
    CHECK_EQUAL(atoll_close(), ATOLL_OK);
    peer_close(&peer);
    CHECK_EQUAL(atoll_close(), ATOLL_CLOSED);
}

TEST(close_foreign, "a thread closes what it opened itself, never what another one did") {
    peer_t peer = peer_open();
    pthread_t thread;
    void *status = NULL;
    CHECK(pthread_create(&thread, NULL, close_only, NULL) == 0);
    CHECK(pthread_join(thread, &status) == 0);
    CHECK_EQUAL((uintptr_t)status, ATOLL_CLOSED);
    CHECK_EQUAL(peer_call(&peer, peer_target(&peer, ECHO), "x"), ATOLL_OK);
    peer_give(&peer, peer.submitted);
    peer_close(&peer);
}

static void *join_and_vanish(void *unused) {
    atoll_client_info_t info;
    (void)open_and_vanish(unused);
    CHECK_EQUAL(atoll_client_open(&info), ATOLL_OK);
    CHECK_EQUAL(atoll_client_attach(info.client), ATOLL_WOULD_BLOCK);
    return NULL;
}

TEST(vanished_early, "A30: a client whose thread ends before its wake socket is attached goes") {
    peer_t peer = peer_open();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, join_and_vanish, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    EVENTUALLY(stats_now().clients == 1);
    peer_close(&peer);
}

static void *join_close_and_vanish(void *unused) {
    (void)join_and_vanish(unused);
    CHECK_EQUAL(atoll_close(), ATOLL_OK);
    return NULL;
}

TEST(vanished_closed, "A30: a client goes with the thread that opened it, whatever that has closed") {
    peer_t peer = peer_open();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, join_close_and_vanish, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    EVENTUALLY(stats_now().clients == 1);
    peer_close(&peer);
}

static void *submit_until_closed(void *argument) {
    peer_t *peer = argument;
    for (;;) {
        uint32_t slot = atoll_slot_take(peer->client, ATOLL_FRAME_BYTES + 1);
        if (slot == 0) return NULL;
        atoll_frame_t frame = {
            .kind = ATOLL_KIND_CALL, .target = peer->group, .payload_length = 1};
        atoll__frame_write(atoll__slot_bytes(slot), &frame, NULL, (const uint8_t *)"x");
        atoll_status_t status = atoll_submit(peer->client, slot);
        if (status == ATOLL_CLOSED) return NULL;
        if (status == ATOLL_OK) (void)atoll_slot_give(peer->client, peer->submitted->slot);
        uint32_t count = atoll_reap(peer->client);
        for (uint32_t i = 0; count != ATOLL_REAP_BUSY && i < count; i++)
            (void)atoll_slot_give(peer->client, peer->reaped[i].slot);
    }
}

TEST(close_inside, "close waits for threads that are inside: a closed engine is not called") {
    uint32_t rounds = test_rounds(50);
    for (uint32_t round = 0; round < rounds; round++) {
        peer_t peer = peer_open();
        uint32_t targets[2] = {peer_target(&peer, ECHO), peer_target(&peer, PEND)};
        peer_t others[2];
        pthread_t threads[2];
        for (uint32_t i = 0; i < 2; i++) {
            others[i] = peer_join();
            others[i].group = targets[i];
            CHECK(pthread_create(&threads[i], NULL, submit_until_closed, &others[i]) == 0);
        }
        atoll__prim_pause();
        CHECK_EQUAL(atoll_close(), ATOLL_OK);
        for (uint32_t i = 0; i < 2; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
            (void)close(others[i].socket);
        }
        (void)close(peer.socket);
    }
}

TEST(reap_busy, "a reap that another thread is in the way of does not look like an empty one") {
    peer_t peer = peer_open();
    atoll__client_t *client = atoll__client_at(peer.client & 0xFFu);
    atomic_store(&client->busy, 1);
    CHECK_EQUAL(atoll_reap(peer.client), ATOLL_REAP_BUSY);
    atomic_store(&client->busy, 0);
    CHECK_EQUAL(atoll_reap(peer.client), 0);
    peer_close(&peer);
}

TEST(blob_drop, "a blob is dropped once and by its client only") {
    peer_t peer = peer_open();
    peer_t other = peer_join();
    uint32_t blob = 0;
    for (uint32_t i = 0; i < 2 * ATOLL__BLOBS_MAX; i++) {
        CHECK_EQUAL(atoll_blob_put(peer.client, (const uint8_t *)"b", 1, &blob), ATOLL_OK);
        CHECK_EQUAL(atoll_blob_drop(other.client, blob), ATOLL_NOT_FOUND);
        CHECK_EQUAL(atoll_blob_drop(peer.client, blob), ATOLL_OK);
    }
    CHECK_EQUAL(atoll_blob_drop(peer.client, blob), ATOLL_NOT_FOUND);
    check_text("no such blob");
    peer_leave(&other);
    peer_close(&peer);
}

TEST(hang_up, "A30: a client that hangs up mid-call is taken apart, others go on") {
    peer_t peer = peer_open();
    peer_t gone = peer_join();
    gone.engine = peer.engine;
    gone.group = peer.group;
    uint32_t narrow = peer_control(&peer, "group 2 10 0");
    uint32_t hold = peer_control(&peer, "target %u %u", HOLD, narrow);
    uint32_t stream = peer_target(&peer, STREAM);
    for (uint32_t i = 0; i < 8; i++) CHECK_EQUAL(peer_call(&gone, hold, "x"), ATOLL_PENDING);
    CHECK_EQUAL(peer_submit(&gone, ATOLL_KIND_HTTP, stream, 0, "", 0), ATOLL_PENDING);
    uint32_t chunk = peer_frame(&gone, ATOLL_KIND_BODY, 0, 0, 0, "c", 1);
    CHECK_EQUAL(atoll_stream_send(gone.client, gone.submitted->ticket, chunk), ATOLL_OK);
    for (uint32_t size = 1; size < 1u << 21; size *= 3)
        CHECK(atoll_slot_take(gone.client, size) != 0);
    uint32_t blob;
    CHECK_EQUAL(atoll_blob_put(gone.client, (const uint8_t *)"b", 1, &blob), ATOLL_OK);
    CHECK_EQUAL(stats_now().clients, 2);
    (void)close(gone.socket);
    EVENTUALLY(stats_now().clients == 1);
    atoll_stats_t stats = stats_now();
    CHECK_EQUAL(slots_used(&stats), 1);
    CHECK_EQUAL(stats.calls_in_flight, 0);
    CHECK_EQUAL(atoll_slot_take(gone.client, 64), 0);
    CHECK_EQUAL(atoll_reap(gone.client), 0);
    /* What the engine held was cancelled: it only has to let go of its own list. */
    CHECK_EQUAL(peer_control(&peer, "release 1000"), 0);
    EVENTUALLY(peer_control(&peer, "states") == 0);
    CHECK_EQUAL(peer_call(&peer, peer_target(&peer, ECHO), "x"), ATOLL_OK);
    peer_give(&peer, peer.submitted);
    peer_close(&peer);
}

static bool readable(int socket) {
    struct pollfd wait = {.fd = socket, .events = POLLIN};
    return poll(&wait, 1, 0) == 1;
}

TEST(wake_batch, "one wake a batch, none before the ring was found empty") {
    peer_t peer = peer_open();
    uint32_t hold = peer_target(&peer, HOLD);
    CHECK_EQUAL(atoll_reap(peer.client), 0);
    for (uint32_t i = 0; i < 40; i++) CHECK_EQUAL(peer_call(&peer, hold, "x"), ATOLL_PENDING);
    CHECK(!readable(peer.socket));
    uint64_t wakes = stats_now().wakes;
    CHECK_EQUAL(peer_control(&peer, "release 20"), 20);
    CHECK_EQUAL(peer_control(&peer, "release 20"), 20);
    CHECK_EQUAL(stats_now().wakes, wakes + 1);
    CHECK(readable(peer.socket));
    CHECK_EQUAL(atoll_reap(peer.client), 40);
    for (uint32_t i = 0; i < 40; i++) peer_give(&peer, &peer.reaped[i]);
    /* Armed again by that reap. */
    CHECK_EQUAL(peer_call(&peer, hold, "x"), ATOLL_PENDING);
    CHECK_EQUAL(peer_control(&peer, "release 1"), 1);
    CHECK_EQUAL(stats_now().wakes, wakes + 2);
    peer_close(&peer);
}

TEST(reap_full, "a full reap does not arm the wake: the rest is reaped without one") {
    peer_t peer = peer_open();
    uint32_t hold = peer_target(&peer, HOLD);
    for (uint32_t i = 0; i < 300; i++) CHECK_EQUAL(peer_call(&peer, hold, "x"), ATOLL_PENDING);
    CHECK_EQUAL(peer_control(&peer, "release 300"), 300);
    CHECK_EQUAL(atoll_reap(peer.client), ATOLL_EVENTS_MAX);
    uint64_t wakes = stats_now().wakes;
    CHECK_EQUAL(peer_call(&peer, hold, "x"), ATOLL_PENDING);
    CHECK_EQUAL(peer_control(&peer, "release 1"), 1);
    CHECK_EQUAL(stats_now().wakes, wakes);
    CHECK_EQUAL(atoll_reap(peer.client), 301 - ATOLL_EVENTS_MAX);
    peer_close(&peer);
}

TEST(wake_before_attach, "what happens before the wake socket is attached is woken for then") {
    peer_t peer = peer_open();
    atoll_client_info_t info;
    CHECK_EQUAL(atoll_client_open(&info), ATOLL_OK);
    struct stat status;
    CHECK(stat(atoll__library_folder(), &status) == 0);
    CHECK_EQUAL(status.st_mode & 0777, 0700);
    peer_t early = {.client = info.client, .base = peer.base};
    early.submitted = (const atoll_event_t *)(peer.base + (size_t)info.area_slot * 64);
    uint32_t hold = peer_target(&peer, HOLD);
    CHECK_EQUAL(peer_call(&early, hold, "x"), ATOLL_PENDING);
    CHECK_EQUAL(peer_control(&peer, "release 1"), 1);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, info.path, info.path_length);
    /* A wrong nonce is thrown out, the right one after it is taken, in two parts. */
    int wrong = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(wrong, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(send(wrong, "0123456789abcdef", 16, MSG_NOSIGNAL) == 16);
    CHECK_EQUAL(atoll_client_attach(info.client), ATOLL_WOULD_BLOCK);
    check_text("nonce");
    uint8_t byte;
    CHECK(recv(wrong, &byte, 1, 0) <= 0);
    int right = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(right, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(send(right, info.nonce, 5, MSG_NOSIGNAL) == 5);
    CHECK_EQUAL(atoll_client_attach(info.client), ATOLL_WOULD_BLOCK);
    CHECK(send(right, info.nonce + 5, 11, MSG_NOSIGNAL) == 11);
    CHECK_EQUAL(atoll_client_attach(info.client), ATOLL_OK);
    CHECK(readable(right));
    CHECK_EQUAL(atoll_reap(info.client), 1);
    CHECK(stat((const char *)info.path, &status) != 0);
    (void)close(wrong);
    (void)close(right);
    EVENTUALLY(stats_now().clients == 1);
    peer_close(&peer);
}

/* Whether the other end has closed its descriptor. */
static bool hung_up(int socket) {
    struct pollfd wait = {.fd = socket, .events = POLLRDHUP};
    return poll(&wait, 1, 0) == 1;
}

TEST(wake_closed, "a dead client gives its descriptor back although its calls run on") {
    peer_t peer = peer_open();
    peer_t gone = peer_join();
    CHECK_EQUAL(peer_call(&gone, peer_target(&peer, STUBBORN), "x"), ATOLL_PENDING);
    CHECK_EQUAL(atoll_client_close(gone.client), ATOLL_OK);
    EVENTUALLY(hung_up(gone.socket));
    CHECK_EQUAL(stats_now().clients, 2);
    CHECK_EQUAL(stats_now().calls_in_flight, 1);
    CHECK_EQUAL(peer_control(&peer, "release 1"), 1);
    EVENTUALLY(stats_now().clients == 1);
    (void)close(gone.socket);
    peer_close(&peer);
}

TEST(wake_held, "a descriptor that a worker is writing on is closed when it has done, not before") {
    peer_t peer = peer_open();
    peer_t gone = peer_join();
    /* What a worker is that the scheduler leaves inside of its write. */
    atoll__hazard_t *hazard = atoll__hazard_take();
    atoll__client_t *client = atoll__client_at(gone.client & 0xFFu);
    CHECK(atoll__hazard_protect(hazard, &client->wake) != NULL);
    CHECK_EQUAL(atoll_client_close(gone.client), ATOLL_OK);
    EVENTUALLY(stats_now().clients == 1);
    CHECK(!hung_up(gone.socket));
    /* Its place serves the next client meanwhile. */
    peer_t next = peer_join();
    CHECK_EQUAL(next.client & 0xFFu, gone.client & 0xFFu);
    CHECK_EQUAL(peer_call(&next, peer_target(&peer, PEND), "x"), ATOLL_PENDING);
    atoll_event_t event = peer_expect(&next, ATOLL_KIND_REPLY);
    peer_give(&next, &event);
    CHECK(!hung_up(gone.socket));
    atoll__hazard_reset(hazard);
    atoll__hazard_give(hazard);
    EVENTUALLY(hung_up(gone.socket));
    (void)close(gone.socket);
    peer_leave(&next);
    peer_close(&peer);
}

TEST(clients_full, "as many clients as there are; one more is refused, then there is room again") {
    peer_t peer = peer_open();
    uint32_t clients[ATOLL__CLIENTS_MAX];
    atoll_client_info_t info;
    uint32_t count = 0;
    while (atoll_client_open(&info) == ATOLL_OK) clients[count++] = info.client;
    CHECK_EQUAL(count, ATOLL__CLIENTS_MAX - 1);
    CHECK_EQUAL(atoll_client_open(&info), ATOLL_NO_MEMORY);
    for (uint32_t i = 0; i < count; i++)
        CHECK_EQUAL(atoll_client_close(clients[i]), ATOLL_OK);
    EVENTUALLY(stats_now().clients == 1);
    CHECK_EQUAL(atoll_client_close(clients[0]), ATOLL_NOT_FOUND);
    CHECK_EQUAL(atoll_client_open(&info), ATOLL_OK);
    CHECK_EQUAL(atoll_client_close(info.client), ATOLL_OK);
    peer_close(&peer);
}

static atoll_status_t load(const char *path, const char *config, uint32_t *engine) {
    return atoll_engine_load(
        (const uint8_t *)path, (uint32_t)strlen(path), (const uint8_t *)config,
        (uint32_t)strlen(config), engine);
}

TEST(engine_load, "an engine that cannot be loaded is refused with a reason") {
    atoll_arena_info_t info;
    uint32_t engine = 0;
    CHECK_EQUAL(load("/nowhere.so", "", &engine), ATOLL_CLOSED);
    CHECK_EQUAL(atoll_open(NULL, 0, &info), ATOLL_OK);
    CHECK_EQUAL(load("relative.so", "", &engine), ATOLL_INVALID_ARGUMENT);
    CHECK_EQUAL(load("/nowhere/engine.so", "", &engine), ATOLL_IO);
    check_text("No such file");
    CHECK_EQUAL(load("/etc/hostname", "", &engine), ATOLL_IO);
    char path[600];
    for (uint32_t i = 0; i <= ATOLL__ENGINES_MAX; i++) {
        (void)snprintf(path, sizeof path, "/nowhere/%u.so", i);
        CHECK_EQUAL(load(path, "", &engine), ATOLL_IO);
    }
    (void)snprintf(path, sizeof path, "%s/libatoll.so", test_folder());
    CHECK_EQUAL(load(path, "", &engine), ATOLL_UNSUPPORTED);
    check_text("no atoll_engine_attach");
    CHECK_EQUAL(load(test_engine_path(), "refuse", &engine), ATOLL_INVALID_ARGUMENT);
    check_text("the configuration says so");
    CHECK_EQUAL(load(test_engine_path(), "mute!", &engine), ATOLL_INVALID_ARGUMENT);
    check_text("it gave no reason");
    CHECK_EQUAL(load(test_engine_path(), "old", &engine), ATOLL_VERSION);
    /* Twice: the first time closed what had been started. */
    CHECK_EQUAL(load(test_engine_path(), "gaps", &engine), ATOLL_UNSUPPORTED);
    CHECK_EQUAL(load(test_engine_path(), "gaps", &engine), ATOLL_UNSUPPORTED);
    check_text("its table has gaps");
    struct stat status;
    CHECK(stat(test_engine_path(), &status) == 0);
    CHECK(chmod(test_engine_path(), 0757) == 0);
    CHECK_EQUAL(load(test_engine_path(), "", &engine), ATOLL_DENIED);
    CHECK(chmod(test_engine_path(), 0775) == 0);
    CHECK_EQUAL(load(test_engine_path(), "", &engine), ATOLL_DENIED);
    CHECK(chmod(test_engine_path(), status.st_mode & 07777) == 0);
    uint32_t first = 0;
    CHECK_EQUAL(load(test_engine_path(), "", &first), ATOLL_OK);
    CHECK_EQUAL(load(test_engine_path(), "", &engine), ATOLL_OK);
    CHECK_EQUAL(engine, first);
    CHECK_EQUAL(atoll_close(), ATOLL_OK);
}
