/* Every exported function with arguments that nobody should pass: it says so, and touches nothing.
 *
 * One function in bad_functions.c for each function of the ABI, in a table that a test holds against
 * what the built library exports. Around each of them the counters, the slots and the areas of two
 * clients are compared; results go to memory between canaries. */
#include <string.h>

#include "bad_input.h"

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

TEST(bad_input, "A30: bad arguments: each function refuses them, and touches nothing") {
    scene_open();
    busy_set(1);
    for (size_t i = 0; i < functions_count; i++) refuse(functions[i].name, functions[i].refuse);
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
        while (i < functions_count && strcmp(functions[i].name, line) != 0) i++;
        if (i == functions_count) test_fail(__FILE__, __LINE__, line);
        count++;
    }
    CHECK_EQUAL(pclose(pipe), 0);
    CHECK_EQUAL(count, functions_count);
}
