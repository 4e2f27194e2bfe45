/* Each exported function with arguments that nobody should pass, one after the other, in the order of
 * the header.
 *
 * Owns: which arguments are wrong, and what each is answered with. Must not know what is compared
 * around a call. */
#include <stdlib.h>
#include <string.h>

#include "bad_input.h"

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

void submit_parts(void) {
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

const function_t functions[] = {
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

const size_t functions_count = sizeof functions / sizeof functions[0];
