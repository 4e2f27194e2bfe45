/* The bytes of an input as a program: which exported function to call next, and with what.
 *
 * Owns: the program's language, the library's own functions. Must not know how anything is done
 * inside. Arguments are taken from what earlier calls gave, whoever they gave it to, so that foreign
 * and stale ones are as frequent as right ones; now and then they are any number.
 *
 * The test engine stands for plugins: its worker threads answer whenever they do, so that an input
 * does not take the same way each time. What is checked holds on all of them. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "operations.h"
#include "world.h"

#define OPENS_MAX 4u

/* ---- the library ---- */

static void open_more(void) {
    uint8_t config[128];
    uint32_t length = take_bytes(&world.input, config, take8(&world.input) % 128u);
    atoll_arena_info_t info;
    if (world.opens == OPENS_MAX) return;
    CHECK_EQUAL(atoll_open(config, length, &info), ATOLL_OK);
    CHECK(info.base == (uintptr_t)world.base);
    /* What a thread did not close is closed by its end. */
    if (!world.elsewhere) world.opens++;
}

static void close_one(void) {
    if (world.opens < 2) return;
    CHECK_EQUAL(atoll_close(), world.elsewhere ? ATOLL_CLOSED : ATOLL_OK);
    if (!world.elsewhere) world.opens--;
}

static void engine_load(void) {
    uint8_t text[64];
    uint32_t length = take_bytes(&world.input, text, take8(&world.input) % 64u);
    uint32_t engine = 0;
    const char *path = test_engine_path();
    if (length % 2 == 0) {
        CHECK_EQUAL(
            atoll_engine_load(
                (const uint8_t *)path, (uint32_t)strlen(path), text, length, &engine),
            ATOLL_OK);
        CHECK_EQUAL(engine, world.engine);
    } else {
        /* Nowhere: what the machine has is not for a fuzzer to load. */
        memcpy(text, "/nowhere", length < 8 ? length : 8);
        CHECK(atoll_engine_load(text, length, NULL, 0, &engine) != ATOLL_OK);
    }
}

static void error_text(void) {
    uint32_t capacity = take8(&world.input);
    uint8_t *text = malloc(capacity + 1);
    CHECK(text != NULL);
    text[capacity] = 0xA5;
    CHECK(atoll_error_text(text, capacity) <= capacity);
    CHECK_EQUAL(text[capacity], 0xA5);
    free(text);
}

static void look(void) {
    atoll_stats_t stats;
    CHECK_EQUAL(atoll_stats(&stats), ATOLL_OK);
    uint32_t bytes_held = slots_used(&stats);
    if (world.held_all) CHECK(bytes_held >= world.held_count);
    CHECK(stats.clients <= ATOLL__CLIENTS_MAX);
    CHECK_EQUAL(atoll_abi_version(), ATOLL_ABI_VERSION);
}

/* Lets the workers and the warden do something. */
static void rest(void) {
    (void)usleep(take8(&world.input));
}

static void elsewhere(void);

static void (*const operations[])(void) = {
    run_client_open, run_client_connect, run_client_attach, run_client_close, run_slot_take,
    run_slot_give, run_slot_bytes, run_copy_in, run_copy_out, run_frame_put, run_frame_change,
    run_submit, run_call, run_call, run_chunk, run_chunk, run_reap, run_drain, run_cancel,
    run_stream_send, run_stream_credit, run_engine_order, run_engine_order, run_blob_put,
    run_blob_drop, run_plugin_find, run_target_find, open_more, close_one, engine_load,
    error_text, look, rest, elsewhere,
};

static void operation(void) {
    operations[take8(&world.input) % (sizeof operations / sizeof operations[0])]();
}

static void *elsewhere_main(void *unused) {
    (void)unused;
    operation();
    return NULL;
}

/* The next operation by a thread of its own. */
static void elsewhere(void) {
    if (world.elsewhere || world.input.left == 0) return;
    world.elsewhere = true;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, elsewhere_main, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    world.elsewhere = false;
}

static void world_open(void) {
    /* Few calls: one that is lost is missed soon, and that there are none left comes to pass. */
    static const char config[] = "arena_bytes=33554432\ncalls_max=64\n";
    atoll_arena_info_t info;
    CHECK_EQUAL(
        atoll_open((const uint8_t *)config, (uint32_t)sizeof config - 1, &info), ATOLL_OK);
    world.base = (uint8_t *)(uintptr_t)info.base;
    world.opens = 1;
    world.held_all = true;
    const char *path = test_engine_path();
    CHECK_EQUAL(
        atoll_engine_load(
            (const uint8_t *)path, (uint32_t)strlen(path), NULL, 0, &world.engine),
        ATOLL_OK);
    for (uint32_t i = 0; i < CLIENTS; i++) world.members[i].socket = -1;
    run_client_open();
    uint32_t answer = 0;
    CHECK(control(world.clients.numbers[0], "group 4 4 0", &answer));
    keep(&world.groups, answer);
    for (uint32_t behaviour = 1; behaviour <= INSPECT; behaviour++) {
        char text[64];
        (void)snprintf(text, sizeof text, "target %u %u", behaviour, world.groups.numbers[0]);
        CHECK(control(world.clients.numbers[0], text, &answer));
        keep(&world.targets, answer);
    }
    world.tickets = (pool_t){0};
}

/* Everything comes back, whatever the program left open, running or half sent. */
static void world_close(void) {
    while (world.opens-- > 0) CHECK_EQUAL(atoll_close(), ATOLL_OK);
    CHECK_EQUAL(atoll_close(), ATOLL_CLOSED);
    for (uint32_t i = 0; i < CLIENTS; i++)
        if (world.members[i].socket >= 0) (void)close(world.members[i].socket);
    atoll_stats_t stats = {0};
    atoll__arena_stats(&stats);
    atoll__clients_stats(&stats);
    CHECK_EQUAL(slots_used(&stats), 0);
    CHECK_EQUAL(stats.clients, 0);
    CHECK_EQUAL(stats.calls_in_flight, 0);
    CHECK_EQUAL(atoll__router_count(), 0);
    CHECK_EQUAL(atoll__plugins_count(), 0);
}

void fuzz_api(const uint8_t *data, size_t size) {
    world = (world_t){.input = {.at = data}};
    world_open();
    world.input.left = size;
    while (world.input.left > 0) operation();
    world_close();
}
