/* The socket on which a client is woken.
 *
 * Owns: its descriptor, and when that is closed. Must not know why a client is woken.
 *
 * Workers write on it from any thread, and it is closed as soon as its client is dead: calls of a
 * dead client may run on for as long as their deadlines allow, and a descriptor is dearer than that.
 * So the writer holds a hazard pointer. A pin of the epoch would be wrong here: the writer is inside
 * a system call, where the scheduler may leave it for long, and all that time nothing at all could
 * be released in this process; the hazard delays this one descriptor. A count would be a write on a
 * line that all workers share, at each wake. */
#include <stdlib.h>

#include "hazard.h"
#include "internal.h"

typedef struct wake {
    atoll__retired_t retired;
    int descriptor;
} wake_t;

static void wake_release(atoll__retired_t *retired) {
    wake_t *wake = (wake_t *)retired;
    atoll__prim_close(wake->descriptor);
    free(wake);
}

static void wake_write(const wake_t *wake) {
    atoll__count_add(ATOLL__COUNT_WAKES, 1);
    atoll__prim_wake(wake->descriptor);
}

bool atoll__wake_open(atoll__client_t *client, int descriptor) {
    wake_t *wake = malloc(sizeof *wake);
    if (wake == NULL) return false;
    wake->descriptor = descriptor;
    /* SYNC POINT: wake-open publishes the socket. Before the look at wake_lost; paired with wake-lost,
     * wake-seen, hazard-seen. */
    atomic_store_explicit(&client->wake, &wake->retired, memory_order_seq_cst);
    /* What was pushed before had nobody to wake.
     * SYNC POINT: wake-open, the look: either it finds the mark, or who left it finds the socket;
     * paired with wake-lost. */
    if (atomic_exchange_explicit(&client->wake_lost, 0, memory_order_seq_cst) != 0)
        wake_write(wake);
    return true;
}

void atoll__wake_close(atoll__client_t *client) {
    atoll__retired_t *wake = atomic_exchange(&client->wake, NULL);
    if (wake != NULL) atoll__hazard_retire(wake, wake_release);
}

int atoll__wake_descriptor(atoll__client_t *client) {
    /* SYNC POINT: wake-seen; paired with wake-open. */
    const wake_t *wake =
        (const wake_t *)atomic_load_explicit(&client->wake, memory_order_seq_cst);
    return wake == NULL ? -1 : wake->descriptor;
}

/* The socket of a client, for as long as the record protects it; NULL: there is none, and whoever
 * attaches one wakes. */
static const wake_t *wake_protect(atoll__hazard_t *hazard, atoll__client_t *client) {
    atoll__retired_t *wake = atoll__hazard_protect(hazard, &client->wake);
    ATOLL__WINDOW();
    if (wake != NULL) return (const wake_t *)wake;
    /* SYNC POINT: wake-lost. Stored before the second look; paired with wake-open. */
    atomic_store_explicit(&client->wake_lost, 1, memory_order_seq_cst);
    /* SYNC POINT: wake-lost, for the second look, whose loads are weaker than the store. */
    ATOLL__FENCE(wake_lost);
    wake = atoll__hazard_protect(hazard, &client->wake);
    /* Attached in the meantime? Then one of both exchanges finds the mark, and its thread wakes.
     * SYNC POINT: wake-lost, taken back; paired with wake-open. */
    if (wake == NULL ||
        atomic_exchange_explicit(&client->wake_lost, 0, memory_order_seq_cst) == 0)
        return NULL;
    return (const wake_t *)wake;
}

void atoll__client_wake(atoll__client_t *client) {
    if (atomic_load(&client->state) != ATOLL__CLIENT_OPEN) return;
    atoll__hazard_t *hazard;
    /* Memory for a thread's first wake only; a wake that is lost would leave its client asleep. */
    while ((hazard = atoll__hazard_take()) == NULL) atoll__prim_pause();
    const wake_t *wake = wake_protect(hazard, client);
    if (wake != NULL) wake_write(wake);
    atoll__hazard_reset(hazard);
    atoll__hazard_give(hazard);
}
