/* The native side of the wake bench: a thread that wakes JavaScript and takes the time.
 *
 * Owns: one measurement at a time. Built by the bench into the cache, never part of the product. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define WAKES_MAX 100000u

static uint32_t latency_ns[WAKES_MAX];
static _Atomic uint32_t marked;
static _Atomic uint64_t sent_ns;
static uint32_t wakes, gap_us;
static int listener = -1, connection = -1;
static void (*callback)(void);
static pthread_t thread;

static uint64_t now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *run(void *unused) {
    (void)unused;
    if (callback == NULL) connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    struct timespec gap = {.tv_nsec = (long)gap_us * 1000};
    for (uint32_t i = 0; i < wakes; i++) {
        /* The runtime shall be asleep in its poll, as an idle server is. */
        (void)nanosleep(&gap, NULL);
        atomic_store(&sent_ns, now_ns());
        if (callback != NULL) callback();
        else if (send(connection, "w", 1, MSG_NOSIGNAL) != 1) break;
        while (atomic_load(&marked) <= i) (void)nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
    return NULL;
}

/* Called by the JavaScript handler; returns how many wakes have come. */
uint32_t wake_mark(void) {
    uint32_t i = atomic_load(&marked);
    if (i < WAKES_MAX) latency_ns[i] = (uint32_t)(now_ns() - atomic_load(&sent_ns));
    atomic_store(&marked, i + 1);
    return i + 1;
}

uint32_t wake_listen(const uint8_t *path, uint32_t length) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (length >= sizeof address.sun_path) return 1;
    memcpy(address.sun_path, path, length);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0) return 2;
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0) return 3;
    return listen(listener, 1) == 0 ? 0 : 4;
}

static uint32_t start(uint32_t count, uint32_t gap) {
    if (count > WAKES_MAX) return 1;
    wakes = count;
    gap_us = gap;
    atomic_store(&marked, 0);
    return pthread_create(&thread, NULL, run, NULL) == 0 ? 0 : 2;
}

uint32_t wake_by_socket(uint32_t count, uint32_t gap) {
    callback = NULL;
    return start(count, gap);
}

uint32_t wake_by_callback(void *function, uint32_t count, uint32_t gap) {
    /* A pointer from the runtime's foreign function interface. */
    memcpy(&callback, &function, sizeof callback);
    return start(count, gap);
}

/* Joins the thread and copies the latencies. */
uint32_t wake_finish(uint8_t *to, uint32_t count) {
    (void)pthread_join(thread, NULL);
    if (connection >= 0) (void)close(connection);
    if (listener >= 0) (void)close(listener);
    connection = listener = -1;
    memcpy(to, latency_ns, (size_t)count * sizeof latency_ns[0]);
    return 0;
}
