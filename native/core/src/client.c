/* Clients: one for each JavaScript isolate.
 *
 * Owns: their numbers, areas, listeners, and how a dead one is taken apart. Must not know frames.
 *
 * A client is used by one thread at a time; `busy` says that it is inside the library. A dead
 * client is taken apart once no thread is inside and no call refers to it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

#define AREA_BYTES (ATOLL_SLOT_BYTES + ATOLL_EVENTS_MAX * ATOLL_EVENT_BYTES)

_Static_assert(ATOLL__CLIENTS_MAX == 256, "a client number is generation << 8 | index");

static atoll__client_t *clients;
static pthread_mutex_t clients_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t openers; /* numbers given to threads; lock */

atoll_status_t atoll__clients_open(void) {
    if (clients != NULL) return ATOLL_OK;
    clients = atoll__prim_reserve(ATOLL__CLIENTS_MAX * sizeof *clients);
    if (clients == NULL) return atoll__fail(ATOLL_NO_MEMORY, "Cannot open: no address space");
    return ATOLL_OK;
}

atoll__client_t *atoll__client_at(uint32_t index) {
    return &clients[index];
}

/* Needs the lock. */
static void client_reset(atoll__client_t *client, atoll__thread_t *thread) {
    client->reclaiming = false;
    if (thread->number == 0) thread->number = ++openers;
    client->opener = thread->number;
    client->listener = -1;
    client->candidate = -1;
    client->nonce_length = 0;
    atomic_store(&client->orphaned, 0);
    atomic_store(&client->busy, 0);
    atomic_store(&client->armed, 1);
    atomic_store(&client->wake_lost, 0);
    atomic_store(&client->calls, 0);
    atoll__queue_init(&client->queue);
    atomic_store(&client->logs_free.head, 0);
    for (uint32_t i = ATOLL__LOGS_MAX; i-- > 0;)
        atoll__stack_push(&client->logs_free, client->log_links, i);
}

/* Everything that can fail, before the client is visible. Needs the lock. */
static atoll_status_t client_fill(
    atoll__client_t *client, uint32_t number, const char *folder, atoll_client_info_t *info) {
    int length = snprintf(client->path, sizeof client->path, "%s/%08x", folder, number);
    if (length < 0 || (size_t)length >= sizeof client->path)
        return atoll__fail(ATOLL_IO, "Cannot open client: the path of its socket is too long");
    client->area_slot = atoll__slot_take(number, AREA_BYTES, ATOLL__HOLD_AREA);
    if (client->area_slot == 0)
        return atoll__fail(ATOLL_NO_MEMORY, "Cannot open client: the arena is full");
    client->area = atoll__slot_bytes(client->area_slot);
    memset(client->area, 0, AREA_BYTES);
    if (atoll__prim_random(client->nonce, sizeof client->nonce) != 0 ||
        (client->listener = atoll__prim_listen(client->path)) < 0) {
        int error = errno;
        (void)atoll__slot_free(number, client->area_slot, ATOLL__HOLD_AREA);
        return atoll__failf(
            ATOLL_IO, "Cannot open client: socket \"%s\": %s", client->path, strerror(error));
    }
    memset(info, 0, sizeof *info);
    info->client = number;
    info->area_slot = client->area_slot;
    info->path_length = (uint32_t)length;
    memcpy(info->nonce, client->nonce, sizeof info->nonce);
    memcpy(info->path, client->path, (size_t)length);
    return ATOLL_OK;
}

atoll_status_t atoll__client_new(const char *folder, atoll_client_info_t *info) {
    atoll__thread_t *thread = atoll__thread();
    if (thread == NULL) return ATOLL_NO_MEMORY;
    atoll_status_t status = ATOLL_NO_MEMORY;
    (void)pthread_mutex_lock(&clients_lock);
    uint32_t index = 0;
    while (index < ATOLL__CLIENTS_MAX &&
           atomic_load(&clients[index].state) != ATOLL__CLIENT_FREE)
        index++;
    if (index < ATOLL__CLIENTS_MAX) {
        atoll__client_t *client = &clients[index];
        client->generation = client->generation % 0xFFFFFFu + 1u;
        uint32_t number = client->generation << 8 | index;
        client_reset(client, thread);
        status = client_fill(client, number, folder, info);
        if (status == ATOLL_OK) {
            /* SYNC POINT: client-open publishes what the client was filled with; paired with
             * client-look. */
            atomic_store_explicit(&client->number, number, memory_order_seq_cst);
            /* SYNC POINT: client-open, behind the number: who finds this life open has its number,
             * and not the one before; paired with client-enter. */
            atomic_store_explicit(&client->state, ATOLL__CLIENT_OPEN, memory_order_seq_cst);
        }
    } else {
        (void)atoll__fail(status, "Cannot open client: too many are open");
    }
    (void)pthread_mutex_unlock(&clients_lock);
    return status;
}

atoll_status_t atoll__client_enter(uint32_t number, atoll__client_t **found) {
    if (clients == NULL || !atoll__library_running())
        return atoll__fail(ATOLL_CLOSED, "Cannot use client: the library is not open");
    atoll__client_t *client = &clients[number & 0xFFu];
    /* SYNC POINT: client-look; paired with client-open. */
    if (number == 0 || atomic_load_explicit(&client->number, memory_order_acquire) != number)
        return atoll__fail(ATOLL_NOT_FOUND, "Cannot use client: no such client, or a stale one");
    /* SYNC POINT: client-enter acquires what was done inside by who left last; before the second
     * look. Paired with client-leave, client-reclaim. */
    bool occupied = atomic_exchange_explicit(&client->busy, 1, memory_order_seq_cst) != 0;
    /* SYNC POINT: client-enter, the second look: the number that was seen may be of a life that has
     * ended since; paired with client-open. */
    if (atomic_load_explicit(&client->state, memory_order_seq_cst) != ATOLL__CLIENT_OPEN ||
        atomic_load_explicit(&client->number, memory_order_seq_cst) != number) {
        if (!occupied) atoll__client_leave(client);
        return atoll__fail(ATOLL_NOT_FOUND, "Cannot use client: it is closed");
    }
    if (occupied)
        return atoll__fail(
            ATOLL_INVALID_ARGUMENT, "Cannot use client: another thread is using it");
    *found = client;
    return ATOLL_OK;
}

void atoll__client_leave(atoll__client_t *client) {
    /* SYNC POINT: client-leave releases what was done inside; paired with client-enter,
     * client-reclaim. */
    atomic_store_explicit(&client->busy, 0, memory_order_release);
}

/* Reads the nonce of the waiting connection. Needs the lock. */
static atoll_status_t candidate_read(atoll__client_t *client) {
    while (client->nonce_length < ATOLL_NONCE_BYTES) {
        int got = atoll__prim_read(
            client->candidate, client->nonce_got + client->nonce_length,
            ATOLL_NONCE_BYTES - client->nonce_length);
        if (got == 0) return ATOLL_WOULD_BLOCK;
        if (got < 0) break;
        client->nonce_length += (uint32_t)got;
    }
    uint8_t difference = client->nonce_length == ATOLL_NONCE_BYTES ? 0 : 1;
    for (uint32_t i = 0; i < client->nonce_length; i++)
        difference |= (uint8_t)(client->nonce[i] ^ client->nonce_got[i]);
    client->nonce_length = 0;
    if (difference == 0) return ATOLL_OK;
    atoll__prim_close(client->candidate);
    client->candidate = -1;
    return ATOLL_DENIED;
}

static void listener_close(atoll__client_t *client) {
    if (client->listener < 0) return;
    atoll__prim_close(client->listener);
    client->listener = -1;
    atoll__prim_file_remove(client->path);
}

atoll_status_t atoll__client_attach(atoll__client_t *client) {
    if (atoll__wake_descriptor(client) >= 0) return ATOLL_OK;
    (void)pthread_mutex_lock(&clients_lock);
    atoll_status_t status = ATOLL_DENIED;
    while (status == ATOLL_DENIED) {
        if (client->candidate < 0) {
            int got = atoll__prim_accept(client->listener, &client->candidate);
            if (got <= 0) {
                status = got == 0 ? ATOLL_WOULD_BLOCK
                                  : atoll__failf(ATOLL_IO, "Cannot accept: %s", strerror(errno));
                break;
            }
        }
        status = candidate_read(client);
    }
    if (status == ATOLL_OK && !atoll__wake_open(client, client->candidate)) {
        atoll__prim_close(client->candidate);
        client->candidate = -1;
        status = atoll__fail(ATOLL_NO_MEMORY, "Cannot attach client: out of memory");
    }
    if (status == ATOLL_OK) {
        client->candidate = -1;
        listener_close(client);
    }
    (void)pthread_mutex_unlock(&clients_lock);
    if (status == ATOLL_OK) atoll__warden_poke();
    if (status == ATOLL_WOULD_BLOCK)
        (void)atoll__fail(status, "Cannot attach client: no connection has sent its nonce yet");
    return status;
}

bool atoll__client_kill(atoll__client_t *client) {
    uint32_t number = atomic_load(&client->number);
    uint32_t state = ATOLL__CLIENT_OPEN;
    /* SYNC POINT: client-dead. Before the calls are looked at (calls-look); paired with client-gone,
     * which looks at the state after its call became visible. */
    if (!atomic_compare_exchange_strong_explicit(
            &client->state, &state, ATOLL__CLIENT_DEAD, memory_order_seq_cst,
            memory_order_relaxed))
        return false;
    atoll__calls_cancel(number);
    return true;
}

void atoll__clients_kill_all(void) {
    for (uint32_t i = 0; i < ATOLL__CLIENTS_MAX; i++) (void)atoll__client_kill(&clients[i]);
}

void atoll__clients_orphan(uint64_t opener) {
    (void)pthread_mutex_lock(&clients_lock);
    for (uint32_t i = 0; i < ATOLL__CLIENTS_MAX; i++) {
        if (clients[i].opener != opener) continue;
        clients[i].opener = 0;
        atomic_store(&clients[i].orphaned, 1);
        atoll__mailbox_post(ATOLL__MAIL_ORPHAN, i);
    }
    (void)pthread_mutex_unlock(&clients_lock);
}

void atoll__client_kill_orphan(uint32_t index) {
    /* Only atoll__clients_reclaim takes the mark away, on this thread. */
    if (atomic_load(&clients[index].orphaned) != 0) (void)atoll__client_kill(&clients[index]);
}

/* True when no thread is inside the dead client and none can enter any more. Needs the lock. */
static bool client_shut(atoll__client_t *client) {
    /* SYNC POINT: client-reclaim. Once busy is taken here it is never given back, so that nobody
     * enters; paired with client-enter, client-leave. */
    if (!client->reclaiming)
        client->reclaiming =
            atomic_exchange_explicit(&client->busy, 1, memory_order_seq_cst) == 0;
    return client->reclaiming;
}

uint32_t atoll__clients_occupied(void) {
    uint32_t occupied = 0;
    (void)pthread_mutex_lock(&clients_lock);
    for (uint32_t i = 0; i < ATOLL__CLIENTS_MAX; i++)
        occupied += atomic_load(&clients[i].state) == ATOLL__CLIENT_DEAD &&
                    !client_shut(&clients[i]);
    (void)pthread_mutex_unlock(&clients_lock);
    return occupied;
}

/* True when the client is free now. Needs the lock. */
static bool client_reclaim(atoll__client_t *client) {
    if (!client_shut(client)) return false;
    /* Not kept for calls that run on. */
    atoll__wake_close(client);
    listener_close(client);
    atoll__prim_close(client->candidate);
    client->candidate = -1;
    atoll__event_drain(client);
    /* SYNC POINT: client-idle. What the last calls did to the client is done; paired with
     * call-gone. */
    if (atomic_load_explicit(&client->calls, memory_order_acquire) != 0) return false;
    /* What the last call pushed before it let go. */
    atoll__event_drain(client);
    uint32_t number = atomic_load(&client->number);
    atomic_store(&client->number, 0);
    atoll__blobs_drop(number);
    atoll__arena_sweep(number);
    /* A mark belongs to one life: the mail about it may be read in the next one. */
    client->opener = 0;
    atomic_store(&client->orphaned, 0);
    atomic_store(&client->state, ATOLL__CLIENT_FREE);
    return true;
}

uint32_t atoll__clients_reclaim(void) {
    uint32_t held = 0;
    (void)pthread_mutex_lock(&clients_lock);
    for (uint32_t i = 0; i < ATOLL__CLIENTS_MAX; i++) {
        if (atomic_load(&clients[i].state) != ATOLL__CLIENT_DEAD) continue;
        if (!client_reclaim(&clients[i])) held++;
    }
    (void)pthread_mutex_unlock(&clients_lock);
    return held;
}

void atoll__clients_stats(atoll_stats_t *stats) {
    /* No client comes or goes meanwhile. */
    (void)pthread_mutex_lock(&clients_lock);
    for (uint32_t i = 0; i < ATOLL__CLIENTS_MAX; i++) {
        atoll__client_t *client = &clients[i];
        if (atomic_load(&client->state) == ATOLL__CLIENT_FREE) continue;
        stats->clients++;
        stats->calls_in_flight += atomic_load_explicit(&client->calls, memory_order_relaxed);
    }
    (void)pthread_mutex_unlock(&clients_lock);
}
