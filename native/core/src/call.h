/* Calls as the rest of the core sees them: a ticket's state, what it holds, how it moves on.
 *
 * Owns: what is kept of each. Part of internal.h, which is what is included. */
#ifndef ATOLL_CALL_H
#define ATOLL_CALL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client.h"
#include "ring.h"
#include "wire.h"

struct atoll__engine;

#define ATOLL__CHUNKS_HELD_MAX 8u

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
    struct atoll__engine *engine;
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

#endif
