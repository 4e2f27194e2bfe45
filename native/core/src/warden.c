/* The warden: the library's one thread.
 *
 * Owns: when dead clients are noticed and taken apart, when waiting calls expire, when its mail is
 * read, when what was retired is released though nothing more is. Must not know how any of these is
 * done. Calls whose start is left to it begin on its thread (`call_start` of their engine). It sleeps
 * without a limit while there is nothing of the kind, and ticks while there is. */
#include <errno.h>
#include <string.h>

#include "epoch.h"
#include "hazard.h"
#include "internal.h"

#define TICK_MS 5
#define IDLE_TICKS 20

static struct {
    uintptr_t thread;
    int signal;
    _Atomic uint32_t stopping;
    _Atomic uint32_t ticking;
} warden = {.signal = -1};

void atoll__warden_poke(void) {
    atoll__prim_signal_poke(warden.signal);
}

void atoll__warden_tick(void) {
    /* SYNC POINT: tick-wanted. What there is to do was counted before; paired with tick-idle. */
    if (atomic_load_explicit(&warden.ticking, memory_order_seq_cst) == 0) atoll__warden_poke();
}

static bool has_work(void) {
    return atoll__groups_queued() > 0 || atoll__mailbox_waiting() ||
           atoll__epoch_waiting() > 0 || atoll__hazard_waiting() > 0;
}

static void read_mail(atoll__mail_t mail, uint32_t number) {
    switch (mail) {
    case ATOLL__MAIL_STARVED:
        atoll__stream_retry(number);
        break;
    case ATOLL__MAIL_ORPHAN:
        atoll__client_kill_orphan(number);
        break;
    case ATOLL__MAIL_PUMP:
        atoll__group_pump(number);
        break;
    }
}

void atoll__warden_read(void) {
    if (atoll__mailbox_drain(read_mail)) return;
    atoll__streams_retry();
    atoll__groups_pump();
    for (uint32_t i = 0; i < ATOLL__CLIENTS_MAX; i++) atoll__client_kill_orphan(i);
}

/* Waits for hang-ups and kills who hung up. */
static void watch(int timeout_ms) {
    int descriptors[ATOLL__CLIENTS_MAX + 1];
    bool hung_up[ATOLL__CLIENTS_MAX + 1];
    uint32_t owners[ATOLL__CLIENTS_MAX + 1];
    uint32_t count = 1;
    descriptors[0] = warden.signal;
    for (uint32_t i = 0; i < ATOLL__CLIENTS_MAX; i++) {
        atoll__client_t *client = atoll__client_at(i);
        if (atomic_load(&client->state) != ATOLL__CLIENT_OPEN) continue;
        int socket = atoll__wake_descriptor(client);
        if (socket < 0) continue;
        descriptors[count] = socket;
        owners[count++] = i;
    }
    /* Sockets are taken away by atoll__clients_reclaim alone, on this thread: none is closed now. */
    atoll__prim_wait(descriptors, hung_up, count, timeout_ms);
    if (hung_up[0]) atoll__prim_signal_clear(warden.signal);
    for (uint32_t i = 1; i < count; i++)
        if (hung_up[i]) (void)atoll__client_kill(atoll__client_at(owners[i]));
}

static void warden_main(void) {
    uint32_t idle = 0;
    while (atomic_load(&warden.stopping) == 0) {
        atoll__warden_read();
        uint32_t held = atoll__clients_reclaim();
        atoll__groups_expire(atoll__prim_now_ns());
        atoll__epoch_collect();
        atoll__hazard_scan();
        bool busy = held > 0 || has_work();
        idle = busy ? 0 : idle + 1;
        /* Some ticks longer than needed, so that a busy group does not poke for each call. */
        bool tick = idle < IDLE_TICKS;
        /* SYNC POINT: tick-idle. Stored before the second look, which is tick-look; paired with
         * tick-wanted. */
        atomic_store_explicit(&warden.ticking, tick ? 1 : 0, memory_order_seq_cst);
        watch(tick || has_work() ? TICK_MS : -1);
    }
}

atoll_status_t atoll__warden_start(void) {
    if (warden.signal < 0) warden.signal = atoll__prim_signal_make();
    if (warden.signal < 0)
        return atoll__failf(ATOLL_IO, "Cannot open: eventfd: %s", strerror(errno));
    atomic_store(&warden.stopping, 0);
    atomic_store(&warden.ticking, 0);
    if (atoll__prim_thread_start(&warden.thread, "atoll-warden", warden_main) != 0)
        return atoll__failf(ATOLL_IO, "Cannot open: thread: %s", strerror(errno));
    return ATOLL_OK;
}

void atoll__warden_stop(void) {
    atomic_store(&warden.stopping, 1);
    atoll__warden_poke();
    atoll__prim_thread_join(warden.thread);
}
