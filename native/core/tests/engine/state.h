/* The calls that the test engine has, and the threads that work on them.
 *
 * Owns: the names of its behaviours. Must not know how a call is started. */
#ifndef ATOLL_TEST_ENGINE_STATE_H
#define ATOLL_TEST_ENGINE_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "atoll.h"

enum {
    ECHO = 1,    /* replies the payload, inline */
    PEND = 2,    /* replies the payload from a worker */
    HOLD = 3,    /* waits for `release` or a cancel */
    STREAM = 4,  /* HTTP: HEAD, then each request chunk back as a response chunk */
    FORGET = 5,  /* says OK without a reply */
    REFUSE = 6,  /* says TRAP without a reply */
    GROW = 7,    /* replies as many bytes as the payload says */
    LOGS = 8,    /* as many log lines as the payload says */
    TWICE = 9,   /* replies twice */
    QUICK = 10,  /* migrates and replies before call_start returns */
    LAZY = 11,   /* like HOLD, but says PENDING without migrating */
    DEAF = 12,   /* HTTP: refuses every chunk, held like HOLD */
    BUDGET = 13, /* replies the budget it sees, in microseconds */
    WRITER = 14, /* HTTP: writes as many full chunks as the payload says */
    STUBBORN = 15, /* like HOLD, but a cancel does not end it */
    INSPECT = 16   /* replies what the request says, in words: see inspect() */
};

typedef struct state {
    void *call;
    uint32_t behaviour;
    atomic_uint ended;
    atomic_uint holders; /* the core until state_free, a job, the held list */
    struct state *next;  /* lock: queue or held list */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t credits;
    uint32_t chunk_first; /* lock: ring of chunks */
    uint32_t chunk_count;
    uint32_t chunks[8];
    const uint8_t *chunk_bytes[8];
    uint32_t chunk_lengths[8];
    uint32_t chunk_flags[8];
    bool cancelled;
    uint32_t length;
    uint8_t payload[];
} state_t;

extern const atoll_host_t *host;
extern atomic_uint states; /* calls that have a state */

state_t *state_new(void *call, const atoll_request_t *request);
/* Lets go of a state. */
void put(state_t *state);
/* Replies, if nobody has. */
void end(state_t *state, uint32_t status, const uint8_t *bytes, uint32_t length);
/* For the workers. */
void job_add(state_t *state);
/* For held_release. */
void held_add(state_t *state);
/* Ends up to `count` held calls. */
uint32_t held_release(uint32_t count, uint32_t status);
bool workers_start(void);
/* Ends what they have to do, then them. */
void workers_stop(void);

#endif
