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
#include "counter.h"
#include "crc32c.h"
#include "mpmc.h"
#include "prim.h"
#include "slab.h"
#include "publication.h"
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
#define ATOLL__LOGS_MAX 256u
#define ATOLL__UNIT_BYTES 65536u
#define ATOLL__INLINE_PAYLOAD_MAX 65536u
#define ATOLL__CHUNKS_HELD_MAX 8u
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

/* ---- frame.c, extension.c and chain.c are in wire.h ---------------------------------------- */

/* ---- event.c: completion queue ------------------------------------------------------------ */

typedef struct atoll__call atoll__call_t;
typedef struct atoll__client atoll__client_t;

typedef struct atoll__node {
    _Atomic(struct atoll__node *) next;
    atoll__call_t *call; /* NULL for LOG */
    atoll_event_t event;
} atoll__node_t;

/* Intrusive MPSC queue after Dmitry Vyukov. Each event that must arrive has its node inside its
 * call, so that a push cannot fail and needs no memory. */
typedef struct atoll__queue {
    _Alignas(64) _Atomic(atoll__node_t *) head;
    _Alignas(64) atoll__node_t *tail;
    atoll__node_t stub;
} atoll__queue_t;

void atoll__queue_init(atoll__queue_t *queue);
void atoll__queue_push(atoll__queue_t *queue, atoll__node_t *node);
atoll__node_t *atoll__queue_pop(atoll__queue_t *queue);
/* Pushes an event of a call (which it keeps alive until it is reaped) and wakes the client. */
void atoll__event_push(atoll__client_t *client, atoll__node_t *node);
/* Pushes a LOG event, or counts it as lost. */
void atoll__event_log(atoll__call_t *call, uint32_t flags, const uint8_t *bytes, uint32_t length);
uint32_t atoll__event_reap(atoll__client_t *client);
/* Throws away what is in the queue of a dead client. */
void atoll__event_drain(atoll__client_t *client);

/* ---- client.c ----------------------------------------------------------------------------- */

typedef enum atoll__client_state {
    ATOLL__CLIENT_FREE = 0,
    ATOLL__CLIENT_OPEN = 1,
    ATOLL__CLIENT_DEAD = 2
} atoll__client_state_t;

struct atoll__client {
    _Atomic uint32_t number; /* generation << 8 | index, 0 when free */
    _Atomic uint32_t state;
    _Atomic uint32_t busy;  /* 1 while a thread is inside a function of this client */
    _Atomic uint32_t armed; /* 1: the next event writes on the wake socket */
    _Atomic uint32_t wake_lost;
    _Atomic(struct atoll__retired *) wake; /* wake.c: NULL until attached, and once it is shut */
    _Atomic uint32_t calls; /* calls that outlive the submit that made them */
    uint32_t generation;
    uint32_t area_slot;
    bool reclaiming; /* the reclaimer holds busy for good */
    uint64_t opener;           /* number of the thread; clients' lock */
    _Atomic uint32_t orphaned; /* its thread has ended: the warden kills it */
    uint8_t *area;
    int32_t listener;
    int32_t candidate; /* accepted, its nonce not complete */
    uint32_t nonce_length;
    uint8_t nonce[ATOLL_NONCE_BYTES];
    uint8_t nonce_got[ATOLL_NONCE_BYTES];
    char path[128];
    atoll__queue_t queue;
    atoll__stack_t logs_free;
    _Atomic uint32_t log_links[ATOLL__LOGS_MAX];
    atoll__node_t logs[ATOLL__LOGS_MAX];
};

atoll_status_t atoll__clients_open(void);
atoll_status_t atoll__client_new(const char *folder, atoll_client_info_t *info);
atoll_status_t atoll__client_attach(atoll__client_t *client);
/* Claims the client for this thread; every OK is followed by atoll__client_leave. */
atoll_status_t atoll__client_enter(uint32_t number, atoll__client_t **client);
void atoll__client_leave(atoll__client_t *client);
/* Marks it dead and cancels its calls; its memory comes back by atoll__clients_reclaim. */
bool atoll__client_kill(atoll__client_t *client);
/* Takes back dead clients that nobody holds any more; returns how many are still held. */
uint32_t atoll__clients_reclaim(void);
void atoll__clients_kill_all(void);
/* Shuts dead clients against threads that would enter; returns in how many a thread still is. */
uint32_t atoll__clients_occupied(void);
/* The thread of that number has ended: what it opened is marked, and killed by the warden. */
void atoll__clients_orphan(uint64_t opener);
/* Kills the client of that index if it is marked. */
void atoll__client_kill_orphan(uint32_t index);
atoll__client_t *atoll__client_at(uint32_t index);
void atoll__clients_stats(atoll_stats_t *stats);

/* ---- wake.c ------------------------------------------------------------------------------- */

/* Writes one byte on the client's socket, or has it written once there is one. */
void atoll__client_wake(atoll__client_t *client);
/* Gives the client its socket; false: out of memory, the descriptor is still the caller's. */
bool atoll__wake_open(atoll__client_t *client, int descriptor);
/* Takes it away; it is closed when nobody is writing on it. */
void atoll__wake_close(atoll__client_t *client);
/* Its descriptor, -1 when there is none; for who knows that nobody takes it away meanwhile. */
int atoll__wake_descriptor(atoll__client_t *client);

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

/* As they are published: two words. */
typedef struct atoll__limits {
    uint32_t concurrency_max;
    uint32_t queue_max;
    uint64_t budget_us; /* of a call at most, UINT32_MAX: as long as its frame says */
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

/* ---- call.c, lifecycle.c, submit.c, stream.c ---------------------------------------------- */

typedef enum atoll__state {
    ATOLL__FREE = 0,
    ATOLL__INLINE = 1,   /* inside atoll_submit */
    ATOLL__QUEUED = 2,   /* waits in its group */
    ATOLL__STARTING = 3, /* left the queue, inside call_start on any thread */
    ATOLL__RUNNING = 4,  /* migrated: the engine's workers have it */
    ATOLL__ENDED = 5,    /* replied inside atoll_submit */
    ATOLL__DONE = 6      /* replied, its REPLY is in the queue or reaped */
} atoll__state_t;

typedef struct atoll__chunk {
    uint32_t slot;
    uint32_t offset; /* of the payload, from the slot's beginning */
    uint32_t length;
    uint32_t flags;
} atoll__chunk_t;

struct atoll__call {
    /* generation:32 | state:8 | references:24, so that each change is checked against all three.
     * References: one for the engine's side, one for each event in the queue, one for each thread
     * that looks at the call by its ticket. At zero the call is recycled. */
    _Alignas(64) _Atomic uint64_t word;
    /* Who may use engine_state: the engine until its reply, the starter until call_start has
     * returned, threads inside call_cancel, call_chunk or call_credit. At zero: state_free. */
    _Atomic uint32_t uses;
    _Atomic uint32_t cancel_wanted;
    _Atomic uint32_t cancel_sent;
    uint32_t ticket;
    uint32_t client_number;
    uint32_t slot;
    uint32_t group;
    uint16_t frame_flags;
    bool counted;   /* in client->calls */
    bool permitted; /* holds a place in its group */
    atoll__client_t *client;
    atoll__engine_t *engine;
    void *engine_state;
    uint64_t started_ns;
    atoll__chain_t *chain; /* the payload, when it came in parts */
    atoll_trace_t trace;   /* request.trace points here */
    atoll_request_t request;
    atoll_event_t ended;         /* ENDED: the event for the client's area */
    atoll__call_t *queue_next;   /* group's lock */
    atoll__call_t *queue_before; /* group's lock */
    _Atomic uint32_t logs_lost;
    /* Request body. */
    _Atomic uint32_t in_window; /* chunks sent and not credited */
    _Atomic uint32_t in_delivering;
    bool in_over; /* client's thread */
    /* Chunks that wait for the engine: from the client's thread to whoever delivers. Runs on from
     * call to call. */
    atoll__ring_side_t in_sender;
    atoll__ring_side_t in_deliverer;
    atoll__ring_t in_ring;
    atoll__chunk_t in_pending[ATOLL_STREAM_WINDOW];
    _Atomic uint32_t in_held[ATOLL__CHUNKS_HELD_MAX];
    _Atomic uint32_t credit_pending;
    /* Response body. */
    _Atomic uint32_t out_window; /* chunks written and not acknowledged */
    _Atomic uint32_t out_number;
    _Atomic uint32_t out_head_sent;
    _Atomic uint32_t out_starved; /* an event found no slot: call_credit is owed, a mail says so */
    uint32_t out_reaped; /* client's thread */
    uint32_t out_acked;  /* client's thread */
    atoll__node_t reply_node;
    atoll__node_t head_node;
    atoll__node_t credit_node;
    atoll__node_t body_nodes[ATOLL_STREAM_WINDOW];
};

atoll_status_t atoll__calls_open(uint32_t calls_max);
uint32_t atoll__calls_max(void);
/* A call that is not visible yet; atoll__call_publish makes it so. NULL: all tickets are in use. */
atoll__call_t *atoll__call_new(void);
void atoll__call_publish(atoll__call_t *call);
/* Where a call of that ticket would be, whether the ticket is fresh or not; NULL: nowhere. */
atoll__call_t *atoll__call_of(uint32_t ticket);
atoll__call_t *atoll__call_acquire(uint32_t ticket);
/* Calls act for each call that has not ended, of one client or (0) of all. */
void atoll__calls_each(uint32_t client, void (*act)(atoll__call_t *call));
void atoll__call_retain(atoll__call_t *call);
void atoll__call_release(atoll__call_t *call);
atoll__state_t atoll__call_state(const atoll__call_t *call);
/* Moves a call of that ticket from one of the states in mask (bit 1 << state) to another; returns
 * the state it had, ATOLL__FREE when it was none of them. */
atoll__state_t atoll__call_move(
    atoll__call_t *call, uint32_t ticket, uint32_t mask, atoll__state_t to);
bool atoll__call_use(atoll__call_t *call);
void atoll__call_unuse(atoll__call_t *call);
void atoll__call_count(atoll__call_t *call);
atoll_status_t atoll__call_submit(atoll__client_t *client, uint32_t slot);
/* Runs call_start and sorts out how it went; the caller holds a use of its own. */
void atoll__call_start(atoll__call_t *call, uint32_t ticket);
/* Runs a call that left the queue. */
void atoll__call_start_queued(atoll__call_t *call);
void atoll__call_cancel(atoll__call_t *call);
/* A call of that ticket was put into its group's queue by this thread. */
void atoll__call_queued(uint32_t ticket);
/* Ends a call that the caller moved to DONE or ENDED. */
void atoll__call_finish(
    atoll__call_t *call, atoll__state_t end, atoll_status_t status, uint32_t flags,
    const uint8_t *bytes, uint32_t length);
void atoll__calls_cancel(uint32_t client);
/* Ends what engines that are closed did not answer. */
void atoll__calls_abandon(void);

atoll_status_t atoll__host_migrate(void *handle);
atoll_status_t atoll__host_payload(void *handle, uint8_t **bytes);
void atoll__host_reply(
    void *handle, uint32_t status, uint32_t flags, const uint8_t *bytes, uint32_t length);

atoll_status_t atoll__stream_send(atoll__client_t *client, uint32_t ticket, uint32_t slot);
atoll_status_t atoll__stream_credit(atoll__client_t *client, uint32_t ticket, uint32_t chunks);
void atoll__stream_deliver(atoll__call_t *call);
void atoll__stream_reset(atoll__call_t *call);
void atoll__stream_release(atoll__call_t *call);
/* Gives the owed call_credit to the call of that ticket, if it still is owed; or to all. */
void atoll__stream_retry(uint32_t ticket);
void atoll__streams_retry(void);
atoll_status_t atoll__host_event(
    void *handle, uint32_t kind, uint32_t flags, const uint8_t *bytes, uint32_t length);
void atoll__host_chunk_free(void *handle, uint32_t chunk);

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
/* A call was queued or starved: the warden must look again without being poked each time. */
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
