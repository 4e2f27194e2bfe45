/* What the tests of bad arguments share: a scene with numbers that are wrong in every way, memory that
 * shows what was written, and the functions.
 *
 * Owns: the names. Must not know what a function is. */
#ifndef ATOLL_TEST_BAD_INPUT_H
#define ATOLL_TEST_BAD_INPUT_H

#include "harness.h"

#define CANARY 0xA5
#define FILLING 0x5A
#define SLOT_BYTES 1024u
#define AREA_BYTES (ATOLL_SLOT_BYTES + ATOLL_EVENTS_MAX * ATOLL_EVENT_BYTES)

/* Numbers that are not, or no more, or somebody else's. */
typedef struct scene {
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
} scene_t;

extern scene_t scene;

void scene_open(void);
/* Checks that what was refused is still there, and usable. */
void scene_close(void);
uint32_t area_slot(const peer_t *peer);
/* Whether a slot of the scene is as it was filled. */
bool filled(uint32_t slot);
/* Another thread is inside of the busy client, or not. */
void busy_set(uint32_t busy);

/* ---- memory for results ---- */

/* Memory for a result, all of it canaries. */
void *fresh(void);
/* The same, where no such result can lie. */
void *crooked(void);
bool touched(void);

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

/* ---- bad_functions.c ---- */

typedef struct function {
    const char *name;
    void (*refuse)(void);
} function_t;

/* One for each function of the ABI. */
extern const function_t functions[];
extern const size_t functions_count;
/* Frames whose parts cannot be had: they take slots of their own. */
void submit_parts(void);

#endif
