/* Plugins by id, and targets by name. */
#include <string.h>

#include "epoch.h"
#include "harness.h"

#define EXPORTS 5u

static const char *const names[EXPORTS] = {
    "demo:text/api@0.1.0#run", "demo:text/more#run", "demo:text/more#walk", "run-away", "walk"};

static atoll_export_t export_of(const char *name, uint32_t target) {
    return (atoll_export_t){
        .name = (const uint8_t *)name, .name_length = (uint32_t)strlen(name), .target = target};
}

static uint32_t add(uint32_t group, const char *id, uint32_t first_target) {
    atoll_export_t exports[EXPORTS];
    /* Not in the order of any index. */
    for (uint32_t i = 0; i < EXPORTS; i++)
        exports[i] = export_of(names[(i * 2 + 1) % EXPORTS], first_target + (i * 2 + 1) % EXPORTS);
    uint32_t plugin = 0;
    CHECK_EQUAL(
        atoll__plugin_add(
            2, group, (const uint8_t *)id, (uint32_t)strlen(id), exports, EXPORTS, &plugin),
        ATOLL_OK);
    return plugin;
}

static atoll_status_t find(peer_t *peer, const char *id, atoll_plugin_info_t *info) {
    return atoll_plugin_find(peer->client, (const uint8_t *)id, (uint32_t)strlen(id), info);
}

static atoll_status_t target(peer_t *peer, uint32_t plugin, const char *name, uint32_t *found) {
    return atoll_target_find(
        peer->client, plugin, (const uint8_t *)name, (uint32_t)strlen(name), found);
}

static void check_text(const char *part) {
    char text[512];
    uint32_t length = atoll_error_text((uint8_t *)text, sizeof text - 1);
    text[length] = '\0';
    if (strstr(text, part) == NULL) test_fail(__FILE__, __LINE__, text);
}

TEST(plugin_names, "plugin: exports are found by their name, and by its end where that is enough") {
    peer_t peer = peer_open();
    uint32_t plugin = add(peer.group, "text", 100);
    uint32_t found = 0;
    for (uint32_t i = 0; i < EXPORTS; i++) {
        CHECK_EQUAL(target(&peer, plugin, names[i], &found), ATOLL_OK);
        CHECK_EQUAL(found, 100 + i);
    }
    CHECK_EQUAL(target(&peer, plugin, "run", &found), ATOLL_NOT_FOUND);
    check_text("several interfaces export it");
    const char *const unknown[] = {"", "ru", "runs", "demo:text/api#run", "#run", "more#walk", "\xFF"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        CHECK_EQUAL(target(&peer, plugin, unknown[i], &found), ATOLL_NOT_FOUND);
        check_text("no such export");
    }
    CHECK_EQUAL(found, 100 + EXPORTS - 1);
    CHECK_EQUAL(atoll__plugin_remove(plugin), ATOLL_OK);
    CHECK_EQUAL(target(&peer, plugin, "walk", &found), ATOLL_NOT_FOUND);
    check_text("a stale one");
    CHECK_EQUAL(target(&peer, UINT32_MAX, "walk", &found), ATOLL_NOT_FOUND);
    CHECK_EQUAL(target(&peer, 0, "walk", &found), ATOLL_NOT_FOUND);
    peer_close(&peer);
}

TEST(plugin_latest, "plugin: an id leads to the latest load, and back when that one goes") {
    peer_t peer = peer_open();
    atoll_plugin_info_t info;
    CHECK_EQUAL(find(&peer, "text", &info), ATOLL_NOT_FOUND);
    uint32_t group = peer_control(&peer, "group 7 8 9000");
    uint32_t first = add(peer.group, "text", 100);
    uint32_t other = add(peer.group, "texts", 200);
    CHECK_EQUAL(find(&peer, "text", &info), ATOLL_OK);
    CHECK_EQUAL(info.plugin, first);
    uint32_t generation = info.generation;
    uint32_t second = add(group, "text", 300);
    CHECK_EQUAL(find(&peer, "text", &info), ATOLL_OK);
    CHECK_EQUAL(info.plugin, second);
    CHECK(info.generation > generation);
    CHECK_EQUAL(info.engine, 2);
    CHECK_EQUAL(info.group, group);
    CHECK_EQUAL(info.exports, EXPORTS);
    CHECK(info.concurrency_max == 7 && info.queue_max == 8 && info.budget_default_us == 9000);
    (void)peer_control(&peer, "set %u 5 6 0", group);
    CHECK_EQUAL(find(&peer, "text", &info), ATOLL_OK);
    CHECK(info.concurrency_max == 5 && info.queue_max == 6 && info.budget_default_us == 0);
    CHECK_EQUAL(stats_now().plugins, 3);
    CHECK_EQUAL(atoll__plugin_remove(second), ATOLL_OK);
    CHECK_EQUAL(atoll__plugin_remove(second), ATOLL_NOT_FOUND);
    CHECK_EQUAL(find(&peer, "text", &info), ATOLL_OK);
    CHECK_EQUAL(info.plugin, first);
    CHECK_EQUAL(atoll__plugin_remove(first), ATOLL_OK);
    CHECK_EQUAL(find(&peer, "text", &info), ATOLL_NOT_FOUND);
    CHECK_EQUAL(find(&peer, "texts", &info), ATOLL_OK);
    CHECK_EQUAL(info.plugin, other);
    /* Its place is used again, its number is not. */
    uint32_t third = add(peer.group, "text", 400);
    CHECK(third != first && third != second);
    CHECK_EQUAL(stats_now().plugins, 2);
    peer_close(&peer);
    peer = peer_open();
    CHECK_EQUAL(stats_now().plugins, 0);
    CHECK_EQUAL(find(&peer, "texts", &info), ATOLL_NOT_FOUND);
    CHECK(add(peer.group, "texts", 0) != other);
    peer_close(&peer);
}

TEST(plugin_engine, "plugin: what an engine makes known is called by the target that is found") {
    peer_t peer = peer_open();
    uint32_t echo = peer_target(&peer, ECHO);
    uint32_t plugin = peer_control(&peer, "plugin %u %u", peer.group, echo);
    atoll_plugin_info_t info;
    CHECK_EQUAL(find(&peer, "demo", &info), ATOLL_OK);
    CHECK_EQUAL(info.plugin, plugin);
    CHECK_EQUAL(info.engine, peer.engine);
    uint32_t found = 0;
    CHECK_EQUAL(target(&peer, plugin, "echo", &found), ATOLL_OK);
    CHECK_EQUAL(found, echo);
    CHECK_EQUAL(peer_call(&peer, found, "x"), ATOLL_OK);
    peer_give(&peer, peer.submitted);
    (void)peer_control(&peer, "unplugin %u", plugin);
    CHECK_EQUAL(target(&peer, plugin, "echo", &found), ATOLL_NOT_FOUND);
    peer_close(&peer);
}

TEST(plugin_refused, "plugin: names that are missing or too long are refused on both sides") {
    peer_t peer = peer_open();
    atoll_plugin_info_t info;
    uint32_t number = 0;
    const uint8_t byte[] = "x";
    CHECK_EQUAL(atoll_plugin_find(peer.client, NULL, 1, &info), ATOLL_INVALID_ARGUMENT);
    CHECK_EQUAL(atoll_plugin_find(peer.client, byte, 1, NULL), ATOLL_INVALID_ARGUMENT);
    CHECK_EQUAL(atoll_plugin_find(0, byte, 1, &info), ATOLL_NOT_FOUND);
    CHECK_EQUAL(atoll_plugin_find(peer.client, NULL, 0, &info), ATOLL_NOT_FOUND);
    CHECK_EQUAL(atoll_target_find(peer.client, 1, NULL, 1, &number), ATOLL_INVALID_ARGUMENT);
    CHECK_EQUAL(atoll_target_find(peer.client, 1, byte, 1, NULL), ATOLL_INVALID_ARGUMENT);
    const atoll_host_t *host = &atoll__host;
    atoll_export_t export = export_of("x", 1);
    CHECK_EQUAL(host->plugin_add(1, 0, NULL, 1, NULL, 0, &number), ATOLL_INVALID_ARGUMENT);
    CHECK_EQUAL(host->plugin_add(1, 0, byte, 1, NULL, 1, &number), ATOLL_INVALID_ARGUMENT);
    CHECK_EQUAL(host->plugin_add(1, 0, byte, 1, &export, 1, NULL), ATOLL_INVALID_ARGUMENT);
    CHECK_EQUAL(host->plugin_add(0, 0, byte, 1, &export, 1, &number), ATOLL_INVALID_ARGUMENT);
    CHECK_EQUAL(host->plugin_add(1, 0, byte, 65536, &export, 1, &number), ATOLL_INVALID_ARGUMENT);
    export.name_length = 65536;
    CHECK_EQUAL(host->plugin_add(1, 0, byte, 1, &export, 1, &number), ATOLL_INVALID_ARGUMENT);
    export.name = NULL;
    CHECK_EQUAL(host->plugin_add(1, 0, byte, 1, &export, 1, &number), ATOLL_INVALID_ARGUMENT);
    CHECK_EQUAL(stats_now().plugins, 0);
    /* Nothing at all has a name, too. */
    CHECK_EQUAL(host->plugin_add(1, peer.group, NULL, 0, NULL, 0, &number), ATOLL_OK);
    CHECK_EQUAL(atoll_plugin_find(peer.client, NULL, 0, &info), ATOLL_OK);
    CHECK_EQUAL(info.plugin, number);
    peer_close(&peer);
}

TEST(plugin_full, "plugin: as many as there is room for, each with its own targets") {
    peer_t peer = peer_open();
    static uint32_t plugins[5000];
    char id[16];
    atoll_export_t export = export_of("run", 0);
    uint32_t count = 0;
    for (atoll_status_t status = ATOLL_OK; status == ATOLL_OK; count++) {
        (void)snprintf(id, sizeof id, "p%u", count);
        export.target = count;
        status = atoll__plugin_add(
            1, peer.group, (const uint8_t *)id, (uint32_t)strlen(id), &export, 1, &plugins[count]);
        CHECK(status == ATOLL_OK || (status == ATOLL_NO_MEMORY && count == 4096));
    }
    count--;
    atoll_plugin_info_t info;
    uint32_t found;
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < count; i++) {
            (void)snprintf(id, sizeof id, "p%u", i);
            bool gone = round == 1 && i % 3 == 0;
            CHECK_EQUAL(find(&peer, id, &info), gone ? ATOLL_NOT_FOUND : ATOLL_OK);
            CHECK_EQUAL(
                target(&peer, plugins[i], "run", &found), gone ? ATOLL_NOT_FOUND : ATOLL_OK);
            CHECK(gone || (info.plugin == plugins[i] && found == i));
        }
        for (uint32_t i = 0; round == 0 && i < count; i += 3)
            CHECK_EQUAL(atoll__plugin_remove(plugins[i]), ATOLL_OK);
    }
    (void)add(peer.group, "another", 1);
    EVENTUALLY(stats_now().retired == 0);
    peer_close(&peer);
}

static _Atomic uint32_t reload_over;
static uint32_t reload_base;

static void *reload_reader(void *argument) {
    peer_t *peer = argument;
    uint32_t latest = 0;
    uint64_t seen = 0;
    while (atomic_load(&reload_over) == 0 || seen == 0) {
        atoll_plugin_info_t info;
        uint32_t found;
        atoll_status_t status = find(peer, "text", &info);
        /* There is always one; it may be old by now, but never older than one seen before. */
        CHECK_EQUAL(status, ATOLL_OK);
        CHECK(info.generation >= latest);
        latest = info.generation;
        status = target(peer, info.plugin, "walk", &found);
        CHECK(status == ATOLL_OK || status == ATOLL_NOT_FOUND);
        if (status == ATOLL_OK) CHECK_EQUAL(found, info.generation - reload_base + 4);
        seen++;
    }
    return NULL;
}

TEST(plugin_reload, "plugin: lookups meet whole versions while a plugin is loaded again and again") {
    peer_t peer = peer_open();
    peer_t reader = peer_join();
    atoll_plugin_info_t info;
    uint32_t before = add(peer.group, "text", 0);
    CHECK_EQUAL(find(&peer, "text", &info), ATOLL_OK);
    reload_base = info.generation;
    atomic_store(&reload_over, 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, reload_reader, &reader) == 0);
    for (uint32_t round = 1; round < 5000; round++) {
        uint32_t next = add(peer.group, "text", round);
        CHECK_EQUAL(atoll__plugin_remove(before), ATOLL_OK);
        before = next;
    }
    atomic_store(&reload_over, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    peer_leave(&reader);
    peer_close(&peer);
}

static void *stats_pinned(void *argument) {
    _Atomic uint32_t *step = argument;
    atoll__pin_t pin = atoll__epoch_pin();
    atomic_store(step, 1);
    while (atomic_load(step) == 1) atoll__prim_pause();
    atoll__epoch_unpin(pin);
    return NULL;
}

TEST(stats_behind, "stats: a reader that holds an old epoch is counted, with what it keeps") {
    peer_t peer = peer_open();
    CHECK_EQUAL(stats_now().fences_asymmetric, atoll__fence_asymmetric() ? 1 : 0);
    static _Atomic uint32_t step;
    atomic_store(&step, 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, stats_pinned, (void *)&step) == 0);
    while (atomic_load(&step) == 0) atoll__prim_pause();
    (void)add(peer.group, "text", 1);
    CHECK_EQUAL(atoll__plugin_remove(add(peer.group, "text", 2)), ATOLL_OK);
    EVENTUALLY(stats_now().readers_behind == 1);
    CHECK(stats_now().retired > 0);
    atomic_store(&step, 2);
    CHECK(pthread_join(thread, NULL) == 0);
    EVENTUALLY(stats_now().retired == 0);
    CHECK_EQUAL(stats_now().readers_behind, 0);
    peer_close(&peer);
}
