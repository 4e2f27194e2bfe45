/* What the files of the core share.
 *
 * Owns: the types and the names that start with atoll__. Must not be seen outside native/core.
 *
 * Locks, in the order in which they may nest: library, clients, router, plugins, blobs,
 * slab's threads, arena. The lock of the groups' table is taken alone, a group's own alone or inside
 * of it. No lock is held while an engine is called, but for attach and close (library). */
#ifndef ATOLL_INTERNAL_H
#define ATOLL_INTERNAL_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "atoll.h"
#include "call.h"
#include "client.h"
#include "counter.h"
#include "crc32c.h"
#include "mpmc.h"
#include "prim.h"
#include "slab.h"
#include "publication.h"
#include "rate.h"
#include "ring.h"
#include "stack.h"
#include "wire.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "frames are read in place");
_Static_assert(sizeof(void *) == 8, "64-bit platforms only");

#define ATOLL__CLIENTS_MAX 256u
#define ATOLL__GROUPS_MAX 4096u
#define ATOLL__TARGETS_MAX 65536u
#define ATOLL__ENGINES_MAX 16u
#define ATOLL__BLOBS_MAX 256u
/* Of a plugin's id, and of an export's name. */
#define ATOLL__NAME_BYTES_MAX 65535u
#define ATOLL__UNIT_BYTES 65536u
#define ATOLL__INLINE_PAYLOAD_MAX 65536u
/* Deadline of a CONTROL request that names none: compiling may take long, for ever it may not. */
#define ATOLL__CONTROL_BUDGET_US 1800000000u

/* ---- arena.c, slab.c: memory -------------------------------------------------------------- */

/* Whose a slot is. CLIENT: JavaScript's. LIBRARY: held by a call or an event on its behalf. */
typedef enum atoll__hold {
    ATOLL__HOLD_FREE = 0,
    ATOLL__HOLD_CLIENT = 1,
    ATOLL__HOLD_LIBRARY = 2,
    ATOLL__HOLD_AREA = 3
} atoll__hold_t;

/* Wishes beside the size; what was got is in atoll__arena_info. */
typedef struct atoll__arena_options {
    uint64_t bytes;
    uint64_t huge;
    uint64_t prefault;
    uint64_t lock;
    atoll__numa_t numa;
} atoll__arena_options_t;

atoll_status_t atoll__arena_open(const atoll__arena_options_t *options);
/* Fills in what concerns the arena. */
void atoll__arena_info(atoll_arena_info_t *info);
uint8_t *atoll__arena_base(void);
uint64_t atoll__arena_size(void);
uint32_t atoll__arena_payload_max(void);
/* A slot of at least that many bytes for `client`; 0 when there is none. */
uint32_t atoll__slot_take(uint32_t client, uint32_t bytes, atoll__hold_t hold);
/* Moves a slot of `client` between holds; false when it is not as expected. Any index may be
 * given. Only the slot's holder calls it: arena.h says who that is. */
bool atoll__slot_move(uint32_t client, uint32_t slot, atoll__hold_t from, atoll__hold_t to);
/* Frees a slot of `client` that has that hold; false when it has not. As atoll__slot_move. */
bool atoll__slot_free(uint32_t client, uint32_t slot, atoll__hold_t from);
bool atoll__slot_is(uint32_t client, uint32_t slot, atoll__hold_t hold);
/* Bytes of a slot that is taken. */
uint32_t atoll__slot_capacity(uint32_t slot);
uint8_t *atoll__slot_bytes(uint32_t slot);
/* Frees whatever belongs to a client. Nobody may use its slots any more. */
void atoll__arena_sweep(uint32_t client);
void atoll__arena_stats(atoll_stats_t *stats);

/* ---- frame.c, extension.c and chain.c are in wire.h; event.c, client.c and wake.c in client.h;
 * call.c, lifecycle.c, submit.c and stream.c in call.h ---- */

/* ---- router.c, group.c -------------------------------------------------------------------- */

typedef struct atoll__engine {
    atoll_engine_t table;
    void *context;
    uint32_t number;
    _Atomic uint32_t attached;
    bool known; /* was attached once: the number is its own for good */
    char *path;
} atoll__engine_t;

typedef struct atoll__route {
    uint32_t engine;
    uint32_t handle;
    uint32_t group;
} atoll__route_t;

atoll_status_t atoll__router_open(void);
atoll_status_t atoll__target_add(
    uint32_t engine, uint32_t handle, uint32_t group, uint32_t *target);
atoll_status_t atoll__target_remove(uint32_t target);
/* Lock-free, by a pinned thread (epoch.h). False: no such target, or a stale one. */
bool atoll__router_find(uint32_t target, atoll__route_t *route);
void atoll__router_clear(void);
uint32_t atoll__router_count(void);

/* As they are published: whole words. */
typedef struct atoll__limits {
    uint32_t concurrency_max;
    uint32_t queue_max;
    uint32_t budget_us;  /* of a call at most, UINT32_MAX: as long as its frame says */
    uint32_t rate_max;   /* calls a second, 0: any number */
    uint32_t rate_group; /* the one whose bucket serves, 0: its own */
    uint32_t reserved;
} atoll__limits_t;

atoll_status_t atoll__groups_open(void);
atoll_status_t atoll__group_add(const atoll_group_limits_t *limits, uint32_t *group);
atoll_status_t atoll__group_set(uint32_t group, const atoll_group_limits_t *limits);
atoll_status_t atoll__group_remove(uint32_t group);
/* The group's limits, all of one atoll__group_set; false and zeros when there is no such group. For a
 * thread that is inside a client. */
bool atoll__group_limits(uint32_t group, atoll__limits_t *limits);
/* OK: the call may run. PENDING: it waits and belongs to the group. Else it is refused. */
atoll_status_t atoll__group_enter(
    uint32_t group, const atoll__limits_t *limits, atoll__call_t *call);
/* Gives the place of an ended call back. True: calls wait for it, atoll__group_pump is owed. */
bool atoll__group_leave(uint32_t group);
/* Waiting calls that a thread starts before it leaves the rest to another. */
#define ATOLL__STARTS_MAX 64u
/* Starts waiting calls while there are places; of one group, or of all where some wait. */
void atoll__group_pump(uint32_t group);
void atoll__groups_pump(void);
/* Takes a waiting call out; false when it does not wait any more. */
bool atoll__group_withdraw(atoll__call_t *call);
/* Ends waiting calls whose deadline is over. */
void atoll__groups_expire(uint64_t now_ns);
void atoll__groups_clear(void);
uint32_t atoll__groups_queued(void);

/* ---- plugin.c ----------------------------------------------------------------------------- */

atoll_status_t atoll__plugin_add(
    uint32_t engine, uint32_t group, const uint8_t *id, uint32_t id_length,
    const atoll_export_t *exports, uint32_t exports_length, uint32_t *plugin);
atoll_status_t atoll__plugin_remove(uint32_t plugin);
/* Lock-free, as the next. */
atoll_status_t atoll__plugin_find(
    const uint8_t *id, uint32_t id_length, atoll_plugin_info_t *info);
atoll_status_t atoll__target_find(
    uint32_t plugin, const uint8_t *name, uint32_t name_length, uint32_t *target);
void atoll__plugins_clear(void);
uint32_t atoll__plugins_count(void);

/* ---- engine.c, blob.c --------------------------------------------------------------------- */

extern const atoll_host_t atoll__host;
atoll_status_t atoll__engine_load(
    const uint8_t *path, uint32_t path_length, const uint8_t *config, uint32_t config_length,
    uint32_t *number);
/* The engine of that number, NULL when there is none. */
atoll__engine_t *atoll__engine_at(uint32_t number);
void atoll__engines_close(void);

atoll_status_t atoll__blob_put(
    uint32_t client, const uint8_t *bytes, uint32_t length, uint32_t *blob);
atoll_status_t atoll__blob_take(uint32_t client, uint32_t blob, uint8_t **bytes, uint64_t *length);
/* Frees one that no engine has taken. */
atoll_status_t atoll__blob_drop(uint32_t client, uint32_t blob);
void atoll__blob_free(uint8_t *bytes, uint64_t length);
void atoll__blobs_drop(uint32_t client);

/* ---- counter.c ---------------------------------------------------------------------------- */

/* What atoll_stats tells since the library was loaded. */
typedef enum atoll__count {
    ATOLL__COUNT_INLINE = 0, /* calls that ended inside atoll_submit */
    ATOLL__COUNT_MIGRATED = 1,
    ATOLL__COUNT_QUEUED = 2,
    ATOLL__COUNT_REFUSED = 3,
    ATOLL__COUNT_EVENTS = 4,
    ATOLL__COUNT_WAKES = 5,
    ATOLL__COUNT_LOGS_LOST = 6
} atoll__count_t;

_Static_assert(ATOLL__COUNT_LOGS_LOST < ATOLL__SHARD_COUNTS, "a shard is one line");

uint64_t atoll__count_sum(atoll__count_t count);

/* ---- mailbox.c ---------------------------------------------------------------------------- */

/* What the warden is asked to look at. */
typedef enum atoll__mail {
    ATOLL__MAIL_STARVED = 1, /* number: ticket of a call with out_starved */
    ATOLL__MAIL_ORPHAN = 2,  /* number: index of a client with orphaned */
    ATOLL__MAIL_PUMP = 3     /* number: a group in which calls may wait beside free places */
} atoll__mail_t;

atoll_status_t atoll__mailbox_open(void);
/* The thing is marked. Never waits, never fails. */
void atoll__mailbox_post(atoll__mail_t mail, uint32_t number);
bool atoll__mailbox_waiting(void);
/* Reads what waits. False: some mails were lost, everything that may be marked must be looked at. */
bool atoll__mailbox_drain(void (*read)(atoll__mail_t mail, uint32_t number));

/* ---- warden.c, library.c, thread.c, error.c ------------------------------------------------- */

atoll_status_t atoll__warden_start(void);
/* Joins the warden; mails that are left are read by the caller. */
void atoll__warden_stop(void);
/* Reads the mailbox and does what the mails ask for. */
void atoll__warden_read(void);
/* There is something new to watch. */
void atoll__warden_poke(void);
/* A call waits, a mail was posted, something was retired: the warden must look again without being
 * poked each time. */
void atoll__warden_tick(void);

atoll_status_t atoll__library_open(
    const uint8_t *config, uint32_t config_length, atoll_arena_info_t *info);
atoll_status_t atoll__library_close(void);
bool atoll__library_running(void);
/* The folder of the wake sockets. */
const char *atoll__library_folder(void);
void atoll__library_lock(void);
void atoll__library_unlock(void);
/* A thread ended without closing what it opened. */
void atoll__library_abandon(uint32_t opens);

typedef struct atoll__thread {
    atoll__slab_t slab;
    uint64_t number; /* 0 until it opens a client; never used twice, as its address may be */
    uint32_t opens;
    uint32_t retired_count;         /* hazard.c: of retired */
    struct atoll__reader *reader;   /* epoch.c: NULL before the first pin */
    struct atoll__hazard *hazards;  /* hazard.c: records that are not in use */
    struct atoll__retired *retired; /* hazard.c: not scanned yet */
    atoll__shard_t *shard;          /* counter.c; NULL: there were none left */
    const char *fixed; /* set: the message, else buffer */
    char buffer[512];
} atoll__thread_t;

extern _Thread_local atoll__thread_t *atoll__thread_state;
atoll__thread_t *atoll__thread_make(void);

/* This thread's state; NULL: out of memory. */
static inline atoll__thread_t *atoll__thread(void) {
    atoll__thread_t *thread = atoll__thread_state;
    return thread != NULL ? thread : atoll__thread_make();
}

/* For thread.c: a thread's shard of the counters. */
void atoll__count_join(atoll__thread_t *thread);
void atoll__count_leave(const atoll__thread_t *thread);
/* For a thread that has no state or no shard yet. */
void atoll__count_add_first(atoll__count_t count, uint64_t more);

static inline void atoll__count_add(atoll__count_t count, uint64_t more) {
    const atoll__thread_t *thread = atoll__thread_state;
    if (thread != NULL && thread->shard != NULL)
        atoll__shard_add(thread->shard, (uint32_t)count, more);
    else
        atoll__count_add_first(count, more);
}

/* Keeps a message for atoll_error_text and returns the status. */
atoll_status_t atoll__fail(atoll_status_t status, const char *fixed);
__attribute__((format(printf, 2, 3))) atoll_status_t atoll__failf(
    atoll_status_t status, const char *format, ...);
uint32_t atoll__error_text(uint8_t *text, uint32_t capacity);

#endif
