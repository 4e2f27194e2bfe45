/* What a program of the API's fuzzer has the test engine do, the blobs it puts, the names it looks up.
 *
 * Owns: the orders, as words (tests/engine). Must not know how frames are checked. */
#include <stdlib.h>
#include <string.h>

#include "operations.h"

bool control(uint32_t client, const char *text, uint32_t *answer) {
    uint32_t length = (uint32_t)strlen(text);
    uint32_t slot = atoll_slot_take(client, 128 + ATOLL_FRAME_BYTES);
    if (slot == 0 || !lives(client)) return false;
    gain(client, slot);
    atoll_frame_t frame = {
        .kind = ATOLL_KIND_CONTROL, .target = world.engine, .payload_length = length};
    atoll__frame_write(atoll__slot_bytes(slot), &frame, NULL, (const uint8_t *)text);
    submit_slot(client, slot);
    atoll_event_t event = *area_of(client);
    if (event.status != ATOLL_OK || held_find(client, event.slot) == NULL) return false;
    char digits[32] = {0};
    memcpy(
        digits, atoll__slot_bytes(event.slot) + ATOLL_FRAME_BYTES,
        event.length < 31 ? event.length : 31);
    *answer = (uint32_t)strtoul(digits, NULL, 10);
    CHECK_EQUAL(atoll_slot_give(client, event.slot), ATOLL_OK);
    lose(client, event.slot);
    return true;
}

static uint32_t small_or_any(void) {
    uint8_t choice = take8(&world.input);
    return choice < 0xF0 ? choice % 8u : take32(&world.input);
}

void run_engine_order(void) {
    uint32_t client = number_of(&world.clients);
    char text[128];
    pool_t *to = NULL;
    uint32_t a, b, c;
    switch (take8(&world.input) % 12) {
    case 0:
        a = small_or_any(), b = small_or_any(), c = take16(&world.input);
        (void)snprintf(text, sizeof text, "group %u %u %u", a, b, c);
        to = &world.groups;
        break;
    case 1:
        a = number_of(&world.groups), b = small_or_any(), c = small_or_any();
        (void)snprintf(text, sizeof text, "set %u %u %u 0 %u", a, b, c, c % 3u);
        break;
    case 2: (void)snprintf(text, sizeof text, "ungroup %u", number_of(&world.groups)); break;
    case 3:
        a = take8(&world.input) % 17u, b = number_of(&world.groups);
        (void)snprintf(text, sizeof text, "target %u %u", a, b);
        to = &world.targets;
        break;
    case 4: (void)snprintf(text, sizeof text, "untarget %u", number_of(&world.targets)); break;
    case 5: (void)snprintf(text, sizeof text, "release %u", take8(&world.input)); break;
    case 6:
        a = number_of(&world.groups), b = number_of(&world.targets);
        (void)snprintf(text, sizeof text, "plugin %u %u", a, b);
        to = &world.plugins;
        break;
    case 7: (void)snprintf(text, sizeof text, "unplugin %u", number_of(&world.plugins)); break;
    case 8: (void)snprintf(text, sizeof text, "blob %u", number_of(&world.blobs)); break;
    case 9: (void)snprintf(text, sizeof text, "keep %u", number_of(&world.blobs)); break;
    case 10: (void)snprintf(text, sizeof text, "kept"); break;
    default: (void)snprintf(text, sizeof text, "states"); break;
    }
    uint32_t answer;
    if (control(client, text, &answer) && to != NULL) keep(to, answer);
}

void run_blob_put(void) {
    uint8_t bytes[256];
    uint32_t client = number_of(&world.clients);
    uint32_t length = take_bytes(&world.input, bytes, take8(&world.input));
    uint32_t blob = 0;
    if (atoll_blob_put(client, bytes, length, &blob) == ATOLL_OK) keep(&world.blobs, blob);
    CHECK(atoll_blob_put(client, NULL, 1, &blob) != ATOLL_OK);
}

void run_blob_drop(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t blob = number_of(&world.blobs);
    atoll_status_t status = atoll_blob_drop(client, blob);
    if (status == ATOLL_OK) CHECK_EQUAL(atoll_blob_drop(client, blob) == ATOLL_OK, false);
}

void run_plugin_find(void) {
    uint32_t client = number_of(&world.clients);
    uint8_t id[64] = "demo";
    uint32_t length = 4;
    if (take8(&world.input) >= 0x80) length = take_bytes(&world.input, id, take8(&world.input) % 64u);
    const atoll_plugin_info_t untouched = {.plugin = 0xA5A5A5A5u, .group = 0xA5A5A5A5u};
    atoll_plugin_info_t info = untouched;
    if (atoll_plugin_find(client, id, length, &info) == ATOLL_OK)
        keep(&world.plugins, info.plugin);
    else
        CHECK(memcmp(&info, &untouched, sizeof info) == 0);
}

void run_target_find(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t plugin = number_of(&world.plugins);
    uint8_t name[64] = "demo:api/a#echo";
    uint32_t length = 15;
    uint8_t choice = take8(&world.input);
    if (choice >= 0xC0) length = take_bytes(&world.input, name, take8(&world.input) % 64u);
    const uint8_t *from = choice < 0x60 ? name + 11 : name;
    uint32_t target = 0xA5A5A5A5u;
    if (atoll_target_find(client, plugin, from, choice < 0x60 ? 4 : length, &target) == ATOLL_OK)
        keep(&world.targets, target);
    else
        CHECK_EQUAL(target, 0xA5A5A5A5u);
}
