/* What the test engine does with a call that it has taken: from a worker, or when it is told to.
 *
 * Owns: states, the queue of jobs, the list of held calls. Must not know the engine's table. */
#include "state.h"

#include <stdlib.h>
#include <string.h>

const atoll_host_t *host;
atomic_uint states;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wanted = PTHREAD_COND_INITIALIZER;
static state_t *jobs_first;
static state_t *jobs_last;
static state_t *held;
static bool closing;
static pthread_t workers[2];

state_t *state_new(void *call, const atoll_request_t *request) {
    state_t *state = calloc(1, sizeof *state + request->payload_length);
    if (state == NULL) abort();
    state->call = call;
    state->behaviour = request->handle;
    state->length = request->payload_length;
    uint8_t *payload;
    if (host->call_payload(call, &payload) != ATOLL_OK) abort();
    memcpy(state->payload, payload, request->payload_length);
    atomic_store(&state->holders, 1);
    pthread_mutex_init(&state->lock, NULL);
    pthread_cond_init(&state->changed, NULL);
    atomic_fetch_add(&states, 1);
    return state;
}

void put(state_t *state) {
    if (atomic_fetch_sub(&state->holders, 1) != 1) return;
    pthread_mutex_destroy(&state->lock);
    pthread_cond_destroy(&state->changed);
    free(state);
    atomic_fetch_sub(&states, 1);
}

void end(state_t *state, uint32_t status, const uint8_t *bytes, uint32_t length) {
    if (atomic_exchange(&state->ended, 1) != 0) return;
    host->call_reply(state->call, status, 0, bytes, length);
}

static uint32_t number_in(const state_t *state) {
    char text[16] = {0};
    memcpy(text, state->payload, state->length < 15 ? state->length : 15);
    return (uint32_t)strtoul(text, NULL, 10);
}

/* Takes the next chunk; waits for it. False: cancelled. */
static bool chunk_next(state_t *state, uint32_t *place) {
    pthread_mutex_lock(&state->lock);
    while (state->chunk_count == 0 && !state->cancelled)
        pthread_cond_wait(&state->changed, &state->lock);
    bool got = !state->cancelled;
    *place = state->chunk_first % 8;
    if (got) {
        state->chunk_first++;
        state->chunk_count--;
    }
    pthread_mutex_unlock(&state->lock);
    return got;
}

/* Sends an event, waiting for credit as often as need be. */
static atoll_status_t event_send(
    state_t *state, uint32_t kind, uint32_t flags, const uint8_t *bytes, uint32_t length) {
    for (;;) {
        pthread_mutex_lock(&state->lock);
        uint32_t seen = state->credits;
        pthread_mutex_unlock(&state->lock);
        atoll_status_t status = host->call_event(state->call, kind, flags, bytes, length);
        if (status != ATOLL_WOULD_BLOCK) return status;
        pthread_mutex_lock(&state->lock);
        while (state->credits == seen && !state->cancelled)
            pthread_cond_wait(&state->changed, &state->lock);
        bool cancelled = state->cancelled;
        pthread_mutex_unlock(&state->lock);
        if (cancelled) return ATOLL_CANCELLED;
    }
}

static void stream(state_t *state) {
    static const uint8_t head[] = "200\ncontent-type:text/plain\n\n";
    uint32_t place;
    bool over = event_send(state, ATOLL_KIND_HEAD, 0, head, sizeof head - 1) != ATOLL_OK;
    while (!over && chunk_next(state, &place)) {
        over = (state->chunk_flags[place] & ATOLL_FLAG_END) != 0;
        if (state->chunk_lengths[place] > 0 &&
            event_send(
                state, ATOLL_KIND_BODY, 0, state->chunk_bytes[place],
                state->chunk_lengths[place]) != ATOLL_OK)
            break;
        host->chunk_free(state->call, state->chunks[place]);
        host->call_event(state->call, ATOLL_KIND_CREDIT, 0, NULL, 1);
    }
    end(state, over ? ATOLL_OK : ATOLL_CANCELLED, NULL, 0);
}

static void writer(state_t *state) {
    static const uint8_t head[] = "200\n\n";
    uint8_t *bytes = malloc(ATOLL_CHUNK_BYTES_MAX);
    uint32_t count = number_in(state);
    atoll_status_t status = event_send(state, ATOLL_KIND_HEAD, 0, head, sizeof head - 1);
    for (uint32_t i = 0; bytes != NULL && status == ATOLL_OK && i < count; i++) {
        memset(bytes, (int)(i & 0xFF), ATOLL_CHUNK_BYTES_MAX);
        status = event_send(state, ATOLL_KIND_BODY, 0, bytes, ATOLL_CHUNK_BYTES_MAX);
    }
    free(bytes);
    end(state, status, NULL, 0);
}

static void work(state_t *state) {
    if (state->behaviour == STREAM)
        stream(state);
    else if (state->behaviour == WRITER)
        writer(state);
    else
        end(state, ATOLL_OK, state->payload, state->length);
}

static void *worker_main(void *unused) {
    (void)unused;
    pthread_mutex_lock(&lock);
    while (!closing || jobs_first != NULL) {
        state_t *state = jobs_first;
        if (state == NULL) {
            pthread_cond_wait(&wanted, &lock);
            continue;
        }
        jobs_first = state->next;
        if (jobs_first == NULL) jobs_last = NULL;
        pthread_mutex_unlock(&lock);
        work(state);
        put(state);
        pthread_mutex_lock(&lock);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

void job_add(state_t *state) {
    atomic_fetch_add(&state->holders, 1);
    pthread_mutex_lock(&lock);
    state->next = NULL;
    if (jobs_last != NULL)
        jobs_last->next = state;
    else
        jobs_first = state;
    jobs_last = state;
    pthread_cond_signal(&wanted);
    pthread_mutex_unlock(&lock);
}

void held_add(state_t *state) {
    atomic_fetch_add(&state->holders, 1);
    pthread_mutex_lock(&lock);
    state->next = held;
    held = state;
    pthread_mutex_unlock(&lock);
}

uint32_t held_release(uint32_t count, uint32_t status) {
    uint32_t released = 0;
    while (released < count) {
        pthread_mutex_lock(&lock);
        state_t *state = held;
        if (state != NULL) held = state->next;
        pthread_mutex_unlock(&lock);
        if (state == NULL) break;
        if (atomic_load(&state->ended) == 0) released++;
        end(state, status, state->payload, state->length);
        put(state);
    }
    return released;
}

bool workers_start(void) {
    for (int i = 0; i < 2; i++)
        if (pthread_create(&workers[i], NULL, worker_main, NULL) != 0) return false;
    return true;
}

void workers_stop(void) {
    pthread_mutex_lock(&lock);
    closing = true;
    pthread_cond_broadcast(&wanted);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < 2; i++) pthread_join(workers[i], NULL);
    closing = false;
}
