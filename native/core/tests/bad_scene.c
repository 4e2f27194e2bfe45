/* The scene of the tests of bad arguments: two clients with what a client can have, and what they had
 * once; memory between canaries.
 *
 * Owns: how it is set up and taken down. Must not know what is called with it. */
#include <string.h>

#include "bad_input.h"

scene_t scene;

static uint32_t filled_slot(peer_t *peer) {
    uint32_t slot = atoll_slot_take(peer->client, SLOT_BYTES);
    CHECK(slot != 0);
    memset(atoll__slot_bytes(slot), FILLING, SLOT_BYTES);
    return slot;
}

uint32_t area_slot(const peer_t *peer) {
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

void scene_open(void) {
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

bool filled(uint32_t slot) {
    const uint8_t *bytes = atoll__slot_bytes(slot);
    for (uint32_t i = 0; i < SLOT_BYTES; i++)
        if (bytes[i] != FILLING) return false;
    return true;
}

void scene_close(void) {
    peer_t *peer = &scene.peer;
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

/* ---- memory for results ---- */

static _Alignas(64) uint8_t guarded[1024];

void *fresh(void) {
    memset(guarded, CANARY, sizeof guarded);
    return guarded + 256;
}

void *crooked(void) {
    return (uint8_t *)fresh() + 1;
}

bool touched(void) {
    for (size_t i = 0; i < sizeof guarded; i++)
        if (guarded[i] != CANARY) return true;
    return false;
}

void busy_set(uint32_t busy) {
    atomic_store(&atoll__client_at(scene.busy.client & 0xFFu)->busy, busy);
}
