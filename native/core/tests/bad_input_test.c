/* Every exported function with arguments that nobody should pass: it says so, and touches nothing.
 *
 * One function here for each function of the ABI, in a table that a test holds against what the built
 * library exports. Around each of them the counters, the slots and the areas of two clients are
 * compared; results go to memory between canaries. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

#define CANARY 0xA5
#define FILLING 0x5A
#define SLOT_BYTES 1024u
#define AREA_BYTES (ATOLL_SLOT_BYTES + ATOLL_EVENTS_MAX * ATOLL_EVENT_BYTES)

/* ---- what there is while the functions are called ---- */

/* Numbers that are not, or no more, or somebody else's. */
static struct {
    peer_t peer;
    peer_t other;
    peer_t busy; /* another thread is inside of it */
    uint32_t stale_client;
    uint32_t slot;        /* the peer's own, as what follows if not said otherwise */
    uint32_t other_slot;
    uint32_t freed_slot;
    uint32_t sent_slot; /* of a call that runs */
    uint32_t ticket;
    uint32_t other_ticket;
    uint32_t ended_ticket;
    uint32_t blob;
    uint32_t other_blob;
    uint32_t dropped_blob;
    uint32_t plugin;
    uint32_t removed_plugin;
    uint32_t ungrouped_plugin; /* "demo": its group is gone */
    uint32_t target;
    uint32_t removed_target;
} scene;

static uint32_t filled_slot(peer_t *peer) {
    uint32_t slot = atoll_slot_take(peer->client, SLOT_BYTES);
    CHECK(slot != 0);
    memset(atoll__slot_bytes(slot), FILLING, SLOT_BYTES);
    return slot;
}

static uint32_t area_slot(const peer_t *peer) {
    return (uint32_t)(((const uint8_t *)peer->submitted - peer->base) / ATOLL_SLOT_BYTES);
}

static uint32_t running_call(peer_t *peer, uint32_t target, uint32_t *slot) {
    *slot = peer_frame(peer, ATOLL_KIND_HTTP, target, 0, 0, "x", 1);
    CHECK_EQUAL(atoll_submit(peer->client, *slot), ATOLL_PENDING);
    return peer->submitted->ticket;
}

static uint32_t blob_of(const peer_t *peer) {
    uint32_t blob = 0;
    CHECK_EQUAL(atoll_blob_put(peer->client, (const uint8_t *)"b", 1, &blob), ATOLL_OK);
    return blob;
}

static void scene_open(void) {
    peer_t *peer = &scene.peer;
    uint32_t unused;
    *peer = peer_open();
    scene.other = peer_join();
    peer_t gone = peer_join();
    scene.busy = peer_join();
    scene.stale_client = gone.client;
    peer_leave(&gone);
    EVENTUALLY(stats_now().clients == 3);
    scene.slot = filled_slot(peer);
    scene.other_slot = filled_slot(&scene.other);
    scene.target = peer_target(peer, ECHO);
    uint32_t hold = peer_target(peer, STUBBORN);
    scene.ticket = running_call(peer, hold, &scene.sent_slot);
    scene.other_ticket = running_call(&scene.other, hold, &unused);
    CHECK_EQUAL(peer_call(peer, scene.target, "x"), ATOLL_OK);
    scene.ended_ticket = peer->submitted->ticket;
    peer_give(peer, peer->submitted);
    scene.blob = blob_of(peer);
    scene.other_blob = blob_of(&scene.other);
    scene.dropped_blob = blob_of(peer);
    CHECK_EQUAL(atoll_blob_drop(peer->client, scene.dropped_blob), ATOLL_OK);
    scene.removed_target = peer_target(peer, ECHO);
    (void)peer_control(peer, "untarget %u", scene.removed_target);
    scene.removed_plugin = peer_control(peer, "plugin %u %u", peer->group, scene.target);
    (void)peer_control(peer, "unplugin %u", scene.removed_plugin);
    scene.plugin = peer_control(peer, "plugin %u %u", peer->group, scene.target);
    uint32_t group = peer_control(peer, "group 1 1 0");
    scene.ungrouped_plugin = peer_control(peer, "plugin %u %u", group, scene.target);
    (void)peer_control(peer, "ungroup %u", group);
    scene.freed_slot = atoll_slot_take(peer->client, SLOT_BYTES);
    CHECK_EQUAL(atoll_slot_give(peer->client, scene.freed_slot), ATOLL_OK);
    /* The warden notices none of what follows. */
    EVENTUALLY(stats_now().retired == 0);
}

static bool filled(uint32_t slot) {
    const uint8_t *bytes = atoll__slot_bytes(slot);
    for (uint32_t i = 0; i < SLOT_BYTES; i++)
        if (bytes[i] != FILLING) return false;
    return true;
}

/* ---- memory for results ---- */

static _Alignas(64) uint8_t guarded[1024];

/* Memory for a result, all of it canaries. */
static void *fresh(void) {
    memset(guarded, CANARY, sizeof guarded);
    return guarded + 256;
}

/* The same, where no such result can lie. */
static void *crooked(void) {
    return (uint8_t *)fresh() + 1;
}

static bool touched(void) {
    for (size_t i = 0; i < sizeof guarded; i++)
        if (guarded[i] != CANARY) return true;
    return false;
}

static void busy_set(uint32_t busy) {
    atomic_store(&atoll__client_at(scene.busy.client & 0xFFu)->busy, busy);
}

/* The call is refused with that status, and wrote nowhere. */
#define REFUSED(call, status)                                            \
    do {                                                                 \
        (void)fresh();                                                   \
        uint32_t refused_status = (call);                                \
        /* A failed test closes the library, which waits for who is inside. */ \
        if (refused_status != (status) || touched()) busy_set(0);        \
        CHECK_EQUAL(refused_status, status);                             \
        CHECK(!touched());                                               \
    } while (0)

/* ---- numbers ---- */

typedef struct bad {
    uint32_t number;
    atoll_status_t status;
} bad_t;

/* Runs the body with each client that may not be used, and the status that says so. */
#define EACH_CLIENT(bad)                                                            \
    const bad_t bad_clients[] = {                                                   \
        {0, ATOLL_NOT_FOUND},                                                       \
        {1, ATOLL_NOT_FOUND},                                                       \
        {UINT32_MAX, ATOLL_NOT_FOUND},                                              \
        {scene.stale_client, ATOLL_NOT_FOUND},                                      \
        {scene.peer.client ^ 0x100u, ATOLL_NOT_FOUND},                              \
        {scene.peer.client ^ 0x80000000u, ATOLL_NOT_FOUND},                         \
        {scene.busy.client, ATOLL_INVALID_ARGUMENT},                                \
    };                                                                              \
    for (const bad_t *bad = bad_clients;                                            \
         bad < bad_clients + sizeof bad_clients / sizeof *bad_clients; bad++)

/* Each slot that the peer does not have: none, beyond the arena, inside of one, given back, of a
 * call, somebody else's, and both areas, which are nobody's to give. */
#define EACH_SLOT(bad)                                                              \
    const uint32_t bad_slots[] = {                                                  \
        0, 1, UINT32_MAX, (uint32_t)(atoll__arena_size() / ATOLL_SLOT_BYTES),       \
        scene.slot + 1, scene.freed_slot, scene.sent_slot, scene.other_slot,        \
        area_slot(&scene.other), area_slot(&scene.peer)};                           \
    const uint32_t *const bad_slots_end = bad_slots + sizeof bad_slots / sizeof *bad_slots; \
    for (const uint32_t *bad = bad_slots; bad < bad_slots_end; bad++)

#define EACH_TICKET(bad)                                                            \
    const uint32_t bad_tickets[] = {                                                \
        0, 1, UINT32_MAX, scene.ticket + 1, scene.ticket ^ 0x80000000u,             \
        scene.ended_ticket, scene.other_ticket};                                    \
    const uint32_t *const bad_tickets_end =                                         \
        bad_tickets + sizeof bad_tickets / sizeof *bad_tickets;                     \
    for (const uint32_t *bad = bad_tickets; bad < bad_tickets_end; bad++)

/* ---- the functions, in the order of the header ---- */

static void abi_version(void) {
    CHECK_EQUAL(atoll_abi_version(), ATOLL_ABI_VERSION);
}

static void open_(void) {
    const uint8_t *config = (const uint8_t *)"x";
    REFUSED(atoll_open(NULL, 0, NULL), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_open(NULL, 1, fresh()), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_open(NULL, 0, crooked()), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_open(config, UINT32_MAX, fresh()), ATOLL_INVALID_ARGUMENT);
}

static void *close_elsewhere(void *unused) {
    (void)unused;
    CHECK_EQUAL(atoll_close(), ATOLL_CLOSED);
    return NULL;
}

static void close_(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, close_elsewhere, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void error_text(void) {
    CHECK_EQUAL(atoll_cancel(0, 0), ATOLL_NOT_FOUND);
    REFUSED(atoll_error_text(NULL, 0), 0);
    REFUSED(atoll_error_text(NULL, UINT32_MAX), 0);
    REFUSED(atoll_error_text(fresh(), 0), 0);
    /* One byte too few is cut, whatever lies behind; of a maximal buffer no more than the text. */
    uint8_t *text = crooked();
    CHECK_EQUAL(atoll_error_text(text, 5), 5);
    CHECK(memcmp(text, "Canno", 5) == 0);
    memset(text, CANARY, 5);
    CHECK(!touched());
    uint32_t length = atoll_error_text(text, UINT32_MAX);
    CHECK(length > 5 && length < 512);
    memset(text, CANARY, length);
    CHECK(!touched());
}

static void engine_load(void) {
    const uint8_t *path = (const uint8_t *)test_engine_path();
    uint32_t length = (uint32_t)strlen(test_engine_path());
    const atoll_status_t wrong = ATOLL_INVALID_ARGUMENT;
    REFUSED(atoll_engine_load(NULL, length, NULL, 0, fresh()), wrong);
    REFUSED(atoll_engine_load(NULL, 0, NULL, 0, fresh()), wrong);
    REFUSED(atoll_engine_load(path, length, NULL, 0, NULL), wrong);
    REFUSED(atoll_engine_load(path, length, NULL, 0, crooked()), wrong);
    REFUSED(atoll_engine_load(path, length, NULL, 1, fresh()), wrong);
    REFUSED(atoll_engine_load(path, length, path, UINT32_MAX, fresh()), wrong);
    REFUSED(atoll_engine_load(path, 0, NULL, 0, fresh()), wrong);
    REFUSED(atoll_engine_load(path, UINT32_MAX, NULL, 0, fresh()), wrong);
    REFUSED(atoll_engine_load(path + 1, length - 1, NULL, 0, fresh()), wrong);
    REFUSED(atoll_engine_load(path, length + 1, NULL, 0, fresh()), wrong);
    REFUSED(atoll_engine_load(path, length - 1, NULL, 0, fresh()), ATOLL_IO);
}

static void blob_put(void) {
    const uint8_t byte[] = {1};
    uint32_t client = scene.peer.client;
    EACH_CLIENT(bad) REFUSED(atoll_blob_put(bad->number, byte, 1, fresh()), bad->status);
    REFUSED(atoll_blob_put(client, byte, 1, NULL), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_blob_put(client, byte, 1, crooked()), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_blob_put(client, NULL, 1, fresh()), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_blob_put(client, byte, UINT32_MAX, fresh()), ATOLL_INVALID_ARGUMENT);
}

static void blob_drop(void) {
    EACH_CLIENT(bad) REFUSED(atoll_blob_drop(bad->number, scene.blob), bad->status);
    const uint32_t blobs[] = {
        0, 1, UINT32_MAX, scene.blob ^ 0x100u, scene.dropped_blob, scene.other_blob};
    for (size_t i = 0; i < sizeof blobs / sizeof blobs[0]; i++)
        REFUSED(atoll_blob_drop(scene.peer.client, blobs[i]), ATOLL_NOT_FOUND);
}

static void plugin_find(void) {
    const uint8_t *id = (const uint8_t *)"demo";
    uint32_t client = scene.peer.client;
    EACH_CLIENT(bad) REFUSED(atoll_plugin_find(bad->number, id, 4, fresh()), bad->status);
    REFUSED(atoll_plugin_find(client, id, 4, NULL), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_plugin_find(client, id, 4, crooked()), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_plugin_find(client, NULL, 4, fresh()), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_plugin_find(client, id, UINT32_MAX, fresh()), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_plugin_find(client, NULL, 0, fresh()), ATOLL_NOT_FOUND);
    REFUSED(atoll_plugin_find(client, id, 0, fresh()), ATOLL_NOT_FOUND);
    REFUSED(atoll_plugin_find(client, id + 1, 3, fresh()), ATOLL_NOT_FOUND);
    /* The latest of that id, but half unloaded. */
    REFUSED(atoll_plugin_find(client, id, 4, fresh()), ATOLL_NOT_FOUND);
}

static void target_find(void) {
    const uint8_t *name = (const uint8_t *)"echo";
    uint32_t client = scene.peer.client;
    EACH_CLIENT(bad)
    REFUSED(atoll_target_find(bad->number, scene.plugin, name, 4, fresh()), bad->status);
    const uint32_t plugins[] = {
        0, 1, UINT32_MAX, scene.removed_plugin, scene.plugin ^ 0x10000u, scene.plugin ^ 0x8000u};
    for (size_t i = 0; i < sizeof plugins / sizeof plugins[0]; i++)
        REFUSED(atoll_target_find(client, plugins[i], name, 4, fresh()), ATOLL_NOT_FOUND);
    uint32_t plugin = scene.plugin;
    REFUSED(atoll_target_find(client, plugin, name, 4, NULL), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_target_find(client, plugin, name, 4, crooked()), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_target_find(client, plugin, NULL, 4, fresh()), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_target_find(client, plugin, NULL, 0, fresh()), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_target_find(client, plugin, name, UINT32_MAX, fresh()), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_target_find(client, plugin, name, 0, fresh()), ATOLL_NOT_FOUND);
    REFUSED(atoll_target_find(client, plugin, name, 3, fresh()), ATOLL_NOT_FOUND);
}

static void client_open(void) {
    REFUSED(atoll_client_open(NULL), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_client_open(crooked()), ATOLL_INVALID_ARGUMENT);
}

static void client_attach(void) {
    EACH_CLIENT(bad) REFUSED(atoll_client_attach(bad->number), bad->status);
}

static void client_close(void) {
    EACH_CLIENT(bad) REFUSED(atoll_client_close(bad->number), bad->status);
}

static void slot_take(void) {
    EACH_CLIENT(bad) REFUSED(atoll_slot_take(bad->number, 1), 0);
    uint32_t most = atoll__arena_payload_max() + ATOLL_FRAME_BYTES;
    REFUSED(atoll_slot_take(scene.peer.client, most + 1), 0);
    REFUSED(atoll_slot_take(scene.peer.client, UINT32_MAX), 0);
}

static void slot_give(void) {
    EACH_CLIENT(bad) REFUSED(atoll_slot_give(bad->number, scene.slot), bad->status);
    EACH_SLOT(bad) REFUSED(atoll_slot_give(scene.peer.client, *bad), ATOLL_INVALID_FRAME);
}

static void slot_bytes(void) {
    EACH_CLIENT(bad) REFUSED(atoll_slot_bytes(bad->number, scene.slot), 0);
    EACH_SLOT(bad) REFUSED(atoll_slot_bytes(scene.peer.client, *bad), 0);
}

/* Submits a frame of the peer's that has to be refused. */
static void submit_frame(const atoll_frame_t *frame, const void *extensions, atoll_status_t status) {
    uint32_t client = scene.peer.client;
    uint8_t *bytes = atoll__slot_bytes(scene.slot);
    atoll__frame_write(bytes, frame, extensions, (const uint8_t *)"x");
    uint8_t before[SLOT_BYTES];
    memcpy(before, bytes, sizeof before);
    REFUSED(atoll_submit(client, scene.slot), status);
    CHECK_EQUAL(atoll_slot_bytes(client, scene.slot), SLOT_BYTES);
    CHECK(memcmp(bytes, before, sizeof before) == 0);
    memset(bytes, FILLING, SLOT_BYTES);
}

static void submit_part(atoll_part_t part, uint32_t sum) {
    /* A good one before it, which has to come back. */
    uint32_t good = atoll_slot_take(scene.peer.client, 64);
    CHECK(good != 0);
    const struct {
        atoll_payload_t head;
        atoll_part_t parts[2];
    } extension = {
        .head = {
            .tag = ATOLL_EXTENSION_PAYLOAD | ATOLL_EXTENSION_CRITICAL,
            .length = sizeof extension - sizeof(atoll_extension_head_t),
            .bytes = sum,
        },
        .parts = {{.slot = good, .length = 1}, part},
    };
    atoll_frame_t frame = {
        .kind = ATOLL_KIND_CALL, .target = scene.target, .extension_words = sizeof extension / 8};
    submit_frame(&frame, &extension, ATOLL_INVALID_FRAME);
    CHECK_EQUAL(atoll_slot_give(scene.peer.client, good), ATOLL_OK);
}

static void submit(void) {
    uint32_t client = scene.peer.client;
    EACH_CLIENT(bad) REFUSED(atoll_submit(bad->number, scene.slot), bad->status);
    EACH_SLOT(bad) REFUSED(atoll_submit(client, *bad), ATOLL_INVALID_FRAME);
    /* A slot full of anything. */
    REFUSED(atoll_submit(client, scene.slot), ATOLL_INVALID_FRAME);
    const uint32_t targets[] = {
        0, 1, UINT32_MAX, scene.removed_target, scene.target ^ 0x10000u, scene.target ^ 0x8000u};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        atoll_frame_t frame = {
            .kind = ATOLL_KIND_CALL, .target = targets[i], .payload_length = 1};
        submit_frame(&frame, NULL, ATOLL_NOT_FOUND);
    }
    const uint32_t engines[] = {0, scene.peer.engine + 1, ATOLL__ENGINES_MAX + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof engines / sizeof engines[0]; i++) {
        atoll_frame_t frame = {
            .kind = ATOLL_KIND_CONTROL, .target = engines[i], .payload_length = 1};
        submit_frame(&frame, NULL, ATOLL_NOT_FOUND);
    }
}

static void submit_parts(void) {
    EACH_SLOT(bad) submit_part((atoll_part_t){.slot = *bad, .length = 1}, 2);
    /* The frame's own slot, a segment that there is none of, places beyond the end. */
    submit_part((atoll_part_t){.slot = scene.slot, .length = 1}, 2);
    uint32_t spare = atoll_slot_take(scene.peer.client, 64);
    CHECK(spare != 0);
    const atoll_part_t parts[] = {
        {.segment = 1, .slot = spare, .length = 1},
        {.segment = UINT32_MAX, .slot = spare, .length = 1},
        {.slot = spare, .length = 0},
        {.slot = spare, .length = 65},
        {.slot = spare, .offset = 64, .length = 1},
        {.slot = spare, .offset = UINT32_MAX, .length = 1},
        {.slot = spare, .offset = 1, .length = UINT32_MAX - 2},
        {.slot = spare, .length = UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        submit_part(parts[i], parts[i].length + 1);
        CHECK_EQUAL(atoll_slot_bytes(scene.peer.client, spare), 64);
    }
    submit_part((atoll_part_t){.slot = spare, .length = 1}, UINT32_MAX);
    CHECK_EQUAL(atoll_slot_give(scene.peer.client, spare), ATOLL_OK);
}

static void reap(void) {
    EACH_CLIENT(bad)
    REFUSED(atoll_reap(bad->number), bad->status == ATOLL_NOT_FOUND ? 0 : ATOLL_REAP_BUSY);
}

static void cancel(void) {
    EACH_CLIENT(bad) REFUSED(atoll_cancel(bad->number, scene.ticket), bad->status);
    EACH_TICKET(bad) REFUSED(atoll_cancel(scene.peer.client, *bad), ATOLL_NOT_FOUND);
}

static void stream_send(void) {
    uint32_t client = scene.peer.client;
    uint8_t *bytes = atoll__slot_bytes(scene.slot);
    atoll_frame_t frame = {.kind = ATOLL_KIND_BODY, .payload_length = 1};
    EACH_SLOT(bad)
    REFUSED(atoll_stream_send(client, scene.ticket, *bad), ATOLL_INVALID_FRAME);
    REFUSED(atoll_stream_send(client, scene.ticket, scene.slot), ATOLL_INVALID_FRAME);
    atoll__frame_write(bytes, &frame, NULL, (const uint8_t *)"x");
    EACH_CLIENT(bad)
    REFUSED(atoll_stream_send(bad->number, scene.ticket, scene.slot), bad->status);
    EACH_TICKET(bad) REFUSED(atoll_stream_send(client, *bad, scene.slot), ATOLL_NOT_FOUND);
    /* No BODY, and one that is longer than its slot. */
    frame.kind = ATOLL_KIND_CALL;
    atoll__frame_write(bytes, &frame, NULL, (const uint8_t *)"x");
    REFUSED(atoll_stream_send(client, scene.ticket, scene.slot), ATOLL_INVALID_FRAME);
    bytes[3] = ATOLL_KIND_BODY;
    memset(bytes + offsetof(atoll_frame_t, payload_length), 0xFF, 4);
    REFUSED(atoll_stream_send(client, scene.ticket, scene.slot), ATOLL_INVALID_FRAME);
    CHECK_EQUAL(atoll_slot_bytes(client, scene.slot), SLOT_BYTES);
    memset(bytes, FILLING, SLOT_BYTES);
}

static void stream_credit(void) {
    uint32_t client = scene.peer.client;
    EACH_CLIENT(bad)
    REFUSED(atoll_stream_credit(bad->number, scene.ticket, 1), bad->status);
    EACH_TICKET(bad) REFUSED(atoll_stream_credit(client, *bad, 1), ATOLL_NOT_FOUND);
    /* Credit for what never came is no error, and none. */
    REFUSED(atoll_stream_credit(client, scene.ticket, 0), ATOLL_OK);
    REFUSED(atoll_stream_credit(client, scene.ticket, UINT32_MAX), ATOLL_OK);
}

static void copy_in(void) {
    uint32_t client = scene.peer.client;
    const uint8_t byte[] = {1};
    EACH_CLIENT(bad) REFUSED(atoll_copy_in(bad->number, scene.slot, byte, 1), bad->status);
    EACH_SLOT(bad) REFUSED(atoll_copy_in(client, *bad, byte, 1), ATOLL_INVALID_FRAME);
    REFUSED(atoll_copy_in(client, scene.slot, NULL, 1), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_copy_in(client, scene.slot, byte, SLOT_BYTES + 1), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_copy_in(client, scene.slot, byte, UINT32_MAX), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_copy_in(client, scene.slot, NULL, 0), ATOLL_OK);
}

static void copy_out(void) {
    uint32_t client = scene.peer.client;
    uint32_t slot = scene.slot;
    EACH_CLIENT(bad) REFUSED(atoll_copy_out(bad->number, slot, 0, fresh(), 1), bad->status);
    EACH_SLOT(bad)
    /* The client's own area may be read. */
    if (*bad != area_slot(&scene.peer))
        REFUSED(atoll_copy_out(client, *bad, 0, fresh(), 1), ATOLL_INVALID_FRAME);
    REFUSED(atoll_copy_out(client, slot, 0, NULL, 1), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_copy_out(client, slot, 0, fresh(), SLOT_BYTES + 1), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_copy_out(client, slot, 0, fresh(), UINT32_MAX), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_copy_out(client, slot, SLOT_BYTES, fresh(), 1), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_copy_out(client, slot, UINT32_MAX, fresh(), 1), ATOLL_INVALID_ARGUMENT);
    REFUSED(
        atoll_copy_out(client, slot, UINT32_MAX, fresh(), UINT32_MAX), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_copy_out(client, slot, SLOT_BYTES, NULL, 0), ATOLL_OK);
}

static void stats(void) {
    REFUSED(atoll_stats(NULL), ATOLL_INVALID_ARGUMENT);
    REFUSED(atoll_stats(crooked()), ATOLL_INVALID_ARGUMENT);
}

/* ---- all of them ---- */

static const struct {
    const char *name;
    void (*refuse)(void);
} functions[] = {
    {"atoll_abi_version", abi_version},
    {"atoll_open", open_},
    {"atoll_close", close_},
    {"atoll_error_text", error_text},
    {"atoll_engine_load", engine_load},
    {"atoll_blob_put", blob_put},
    {"atoll_blob_drop", blob_drop},
    {"atoll_plugin_find", plugin_find},
    {"atoll_target_find", target_find},
    {"atoll_client_open", client_open},
    {"atoll_client_attach", client_attach},
    {"atoll_client_close", client_close},
    {"atoll_slot_take", slot_take},
    {"atoll_slot_give", slot_give},
    {"atoll_slot_bytes", slot_bytes},
    {"atoll_submit", submit},
    {"atoll_reap", reap},
    {"atoll_cancel", cancel},
    {"atoll_stream_send", stream_send},
    {"atoll_stream_credit", stream_credit},
    {"atoll_copy_in", copy_in},
    {"atoll_copy_out", copy_out},
    {"atoll_stats", stats},
};

#define FUNCTIONS (sizeof functions / sizeof functions[0])

/* Runs one with everything compared that is not between canaries. */
static void refuse(const char *name, void (*body)(void)) {
    static uint8_t areas[2][AREA_BYTES];
    memcpy(areas[0], scene.peer.submitted, AREA_BYTES);
    memcpy(areas[1], scene.other.submitted, AREA_BYTES);
    atoll_stats_t before = stats_now();
    body();
    atoll_stats_t after = stats_now();
    bool same = memcmp(&before, &after, sizeof before) == 0 &&
                memcmp(areas[0], scene.peer.submitted, AREA_BYTES) == 0 &&
                memcmp(areas[1], scene.other.submitted, AREA_BYTES) == 0 &&
                filled(scene.slot) && filled(scene.other_slot);
    if (!same) test_fail(__FILE__, __LINE__, name);
}

static void scene_close(void) {
    peer_t *peer = &scene.peer;
    /* What was refused is still there, and usable. */
    CHECK_EQUAL(atoll_blob_drop(peer->client, scene.blob), ATOLL_OK);
    CHECK_EQUAL(atoll_blob_drop(scene.other.client, scene.other_blob), ATOLL_OK);
    CHECK_EQUAL(atoll_slot_give(peer->client, scene.slot), ATOLL_OK);
    CHECK_EQUAL(atoll_slot_give(scene.other.client, scene.other_slot), ATOLL_OK);
    CHECK_EQUAL(peer_control(peer, "release 2"), 2);
    peer_t *peers[] = {peer, &scene.other};
    const uint32_t tickets[] = {scene.ticket, scene.other_ticket};
    for (uint32_t i = 0; i < 2; i++) {
        atoll_event_t event = peer_expect(peers[i], ATOLL_KIND_REPLY);
        CHECK_EQUAL(event.ticket, tickets[i]);
        CHECK_EQUAL(event.status, ATOLL_OK);
        peer_give(peers[i], &event);
    }
    peer_leave(&scene.other);
    peer_leave(&scene.busy);
    peer_close(peer);
}

TEST(bad_input, "A30: bad arguments: each function refuses them, and touches nothing") {
    scene_open();
    busy_set(1);
    for (size_t i = 0; i < FUNCTIONS; i++) refuse(functions[i].name, functions[i].refuse);
    busy_set(0);
    /* These take slots of their own, and are the only ones to be missed. */
    atoll_stats_t before = stats_now();
    submit_parts();
    atoll_stats_t after = stats_now();
    CHECK_EQUAL(slots_used(&after), slots_used(&before));
    CHECK(filled(scene.slot) && filled(scene.other_slot));
    scene_close();
}

TEST(bad_input_closed, "bad arguments: on a closed library each function says that it is closed") {
    peer_t peer = peer_open();
    uint32_t client = peer.client;
    peer_close(&peer);
    const uint8_t *path = (const uint8_t *)test_engine_path();
    uint32_t length = (uint32_t)strlen(test_engine_path());
    REFUSED(atoll_close(), ATOLL_CLOSED);
    REFUSED(atoll_engine_load(path, length, NULL, 0, fresh()), ATOLL_CLOSED);
    REFUSED(atoll_blob_put(client, path, length, fresh()), ATOLL_CLOSED);
    REFUSED(atoll_blob_drop(client, 1), ATOLL_CLOSED);
    REFUSED(atoll_plugin_find(client, path, length, fresh()), ATOLL_CLOSED);
    REFUSED(atoll_target_find(client, 1, path, length, fresh()), ATOLL_CLOSED);
    REFUSED(atoll_client_open(fresh()), ATOLL_CLOSED);
    REFUSED(atoll_client_attach(client), ATOLL_CLOSED);
    REFUSED(atoll_client_close(client), ATOLL_CLOSED);
    REFUSED(atoll_slot_take(client, 1), 0);
    REFUSED(atoll_slot_give(client, 1), ATOLL_CLOSED);
    REFUSED(atoll_slot_bytes(client, 1), 0);
    REFUSED(atoll_submit(client, 1), ATOLL_CLOSED);
    REFUSED(atoll_reap(client), 0);
    REFUSED(atoll_cancel(client, 1), ATOLL_CLOSED);
    REFUSED(atoll_stream_send(client, 1, 1), ATOLL_CLOSED);
    REFUSED(atoll_stream_credit(client, 1, 1), ATOLL_CLOSED);
    REFUSED(atoll_copy_in(client, 1, path, length), ATOLL_CLOSED);
    REFUSED(atoll_copy_out(client, 1, 0, fresh(), 1), ATOLL_CLOSED);
    REFUSED(atoll_stats(fresh()), ATOLL_CLOSED);
}

TEST(exports, "the functions of the ABI are exported, nothing else is, and each has its bad arguments") {
    char command[700];
    (void)snprintf(
        command, sizeof command, "nm -D --defined-only '%s/libatoll.so' | cut -d' ' -f3",
        test_folder());
    FILE *pipe = popen(command, "r");
    CHECK(pipe != NULL);
    char line[128];
    size_t count = 0;
    while (fgets(line, sizeof line, pipe) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        size_t i = 0;
        while (i < FUNCTIONS && strcmp(functions[i].name, line) != 0) i++;
        if (i == FUNCTIONS) test_fail(__FILE__, __LINE__, line);
        count++;
    }
    CHECK_EQUAL(pclose(pipe), 0);
    CHECK_EQUAL(count, FUNCTIONS);
}
