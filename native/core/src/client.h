/* Clients as the rest of the core sees them: their events, their life, their wake socket.
 *
 * Owns: what is kept of each. Part of internal.h, which is what is included. */
#ifndef ATOLL_CLIENT_H
#define ATOLL_CLIENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "atoll.h"
#include "stack.h"

#define ATOLL__LOGS_MAX 256u

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

#endif
