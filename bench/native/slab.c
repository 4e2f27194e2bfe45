/* What does it cost to take a slot and to give it back?
 *
 * Owns: the loops and the ring, the same for every contender. Must not know how any of them works.
 *
 *     slab CASE OPERATIONS CONTENDER
 *
 * CASE is same-thread or cross-thread for all six classes (the geometric mean of their figures), or
 * one of them with the class behind it, as in same-thread-4096. An operation is one take, a write of
 * the first 8 bytes, one give; the value is nanoseconds for one. CONTENDER is atoll or the file name
 * of an allocator, which is preloaded, as its own documentation says to use it; that malloc is really
 * its own is checked. Every contender is called by pointers that were looked up before. */
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#define CLASSES 6u
#define BURST 8u
#define ARENA_BYTES (256u << 20)
#define CLIENT 1u

static const uint32_t class_bytes[CLASSES] = {64, 256, 1024, 4096, 16384, 65536};

static uint64_t now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void fail(const char *text) {
    fprintf(stderr, "slab: %s\n", text);
    exit(1);
}

/* ---- contenders: a handle is a slot index or an address ---- */

typedef struct contender {
    uint32_t (*slot_take)(uint32_t client, uint32_t bytes, atoll__hold_t hold);
    bool (*slot_free)(uint32_t client, uint32_t slot, atoll__hold_t from);
    uint8_t *base;
    void *(*peer_take)(size_t bytes);
    void (*peer_give)(void *bytes);
} contender_t;

/* Each loop works on a copy of its own, which stays in registers. */
static contender_t contender;
static bool is_peer;

#define INLINE static inline __attribute__((always_inline))

INLINE uint64_t take(const contender_t *c, bool peer, uint32_t bytes, uint64_t value) {
    if (peer) {
        void *got = c->peer_take(bytes);
        memcpy(got, &value, sizeof value);
        return (uint64_t)(uintptr_t)got;
    }
    uint32_t slot = c->slot_take(CLIENT, bytes, ATOLL__HOLD_LIBRARY);
    memcpy(c->base + (size_t)slot * ATOLL_SLOT_BYTES, &value, sizeof value);
    return slot;
}

INLINE uint64_t look(const contender_t *c, bool peer, uint64_t handle) {
    uint64_t value;
    if (peer)
        memcpy(&value, (const void *)(uintptr_t)handle, sizeof value);
    else
        memcpy(&value, c->base + handle * ATOLL_SLOT_BYTES, sizeof value);
    return value;
}

INLINE void give(const contender_t *c, bool peer, uint64_t handle) {
    if (peer)
        c->peer_give((void *)(uintptr_t)handle);
    else if (!c->slot_free(CLIENT, (uint32_t)handle, ATOLL__HOLD_LIBRARY))
        fail("a slot was refused");
}

/* ---- same thread: pairs and bursts in turn, as many operations in each ---- */

INLINE void same_loop(bool peer, uint32_t bytes, uint64_t operations) {
    const contender_t c = contender;
    uint64_t held[BURST];
    for (uint64_t done = 0; done < operations; done += 2 * BURST) {
        for (uint32_t i = 0; i < BURST; i++) give(&c, peer, take(&c, peer, bytes, done));
        for (uint32_t i = 0; i < BURST; i++) held[i] = take(&c, peer, bytes, done);
        for (uint32_t i = 0; i < BURST; i++) give(&c, peer, held[i]);
    }
}

static double same_thread(uint32_t bytes, uint64_t operations) {
    uint64_t begin = now_ns();
    if (is_peer)
        same_loop(true, bytes, operations);
    else
        same_loop(false, bytes, operations);
    return (double)(now_ns() - begin) / (double)operations;
}

/* ---- cross thread: one takes, the other gives ---- */

#define RING 1024u

static struct {
    _Alignas(64) _Atomic uint64_t tail;
    _Alignas(64) _Atomic uint64_t head;
    _Alignas(64) uint64_t slots[RING];
} ring;

static void pin(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

INLINE void spin(uint32_t *rounds) {
    /* With one processor for both threads the other must get its turn. */
    if (++*rounds % 1024 == 0) (void)sched_yield();
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Each looks at the other's counter only when its own view is used up, and publishes by eights. */
INLINE void produce(bool peer, uint32_t bytes, uint64_t operations) {
    const contender_t c = contender;
    uint64_t head = 0;
    uint32_t rounds = 0;
    for (uint64_t tail = 0; tail < operations;) {
        while (tail - head > RING - 8) {
            head = atomic_load_explicit(&ring.head, memory_order_acquire);
            if (tail - head > RING - 8) spin(&rounds);
        }
        for (uint32_t i = 0; i < 8; i++, tail++)
            ring.slots[tail % RING] = take(&c, peer, bytes, tail);
        atomic_store_explicit(&ring.tail, tail, memory_order_release);
    }
}

INLINE void consume(bool peer, uint64_t operations) {
    const contender_t c = contender;
    uint32_t rounds = 0;
    for (uint64_t head = 0; head < operations;) {
        uint64_t tail = atomic_load_explicit(&ring.tail, memory_order_acquire);
        if (tail == head) spin(&rounds);
        while (head < tail) {
            for (uint32_t i = 0; i < 8; i++, head++) {
                uint64_t handle = ring.slots[head % RING];
                if (look(&c, peer, handle) != head) fail("a slot holds something else");
                give(&c, peer, handle);
            }
            atomic_store_explicit(&ring.head, head, memory_order_release);
        }
    }
}

static void *consumer_main(void *argument) {
    pin(1);
    if (is_peer)
        consume(true, *(uint64_t *)argument);
    else
        consume(false, *(uint64_t *)argument);
    return NULL;
}

static double cross_thread(uint32_t bytes, uint64_t operations) {
    pthread_t consumer;
    atomic_store(&ring.head, 0);
    atomic_store(&ring.tail, 0);
    uint64_t begin = now_ns();
    if (pthread_create(&consumer, NULL, consumer_main, &operations) != 0) fail("no thread");
    if (is_peer)
        produce(true, bytes, operations);
    else
        produce(false, bytes, operations);
    (void)pthread_join(consumer, NULL);
    return (double)(now_ns() - begin) / (double)operations;
}

/* ---- program ---- */

/* Starts itself again with the allocator in front of the C library's. */
static void peer_open(const char *library, char **arguments) {
    const char *loaded = getenv("LD_PRELOAD");
    if (loaded == NULL || strcmp(loaded, library) != 0) {
        if (setenv("LD_PRELOAD", library, 1) != 0) fail("setenv");
        (void)execv("/proc/self/exe", arguments);
        fail("cannot start again");
    }
    /* Not by name, which would be this program's own entry. */
    contender.peer_take = (void *(*)(size_t))dlsym(RTLD_DEFAULT, "malloc");
    contender.peer_give = (void (*)(void *))dlsym(RTLD_DEFAULT, "free");
    Dl_info take_info = {0};
    Dl_info give_info = {0};
    if (dladdr((void *)contender.peer_take, &take_info) == 0 ||
        dladdr((void *)contender.peer_give, &give_info) == 0 ||
        strstr(take_info.dli_fname, library) == NULL ||
        strstr(give_info.dli_fname, library) == NULL)
        fail("malloc is not the peer's: is its library installed?");
    is_peer = true;
}

static void atoll_core_open(void) {
    const atoll__arena_options_t options = {.bytes = ARENA_BYTES};
    if (atoll__arena_open(&options) != ATOLL_OK) fail("no arena");
    contender = (contender_t){
        .slot_take = atoll__slot_take,
        .slot_free = atoll__slot_free,
        .base = atoll__arena_base(),
    };
}

static double measure(bool cross, uint32_t bytes, uint64_t operations) {
    double (*run)(uint32_t, uint64_t) = cross ? cross_thread : same_thread;
    (void)run(bytes, operations / 8 / 16 * 16 + 16);
    return run(bytes, operations / 16 * 16 + 16);
}

int main(int count, char **arguments) {
    if (count != 4) fail("usage: slab CASE OPERATIONS CONTENDER");
    const char *name = arguments[1];
    uint64_t operations = strtoull(arguments[2], NULL, 10);
    if (strcmp(arguments[3], "atoll") == 0)
        atoll_core_open();
    else
        peer_open(arguments[3], arguments);
    pin(0);
    bool cross = strncmp(name, "cross-thread", 12) == 0;
    if (!cross && strncmp(name, "same-thread", 11) != 0) fail("no such case");
    const char *class = name + (cross ? 12 : 11);
    uint32_t only = class[0] == '-' ? (uint32_t)strtoul(class + 1, NULL, 10) : 0;
    double sum = 0;
    uint32_t measured = 0;
    for (uint32_t i = 0; i < CLASSES; i++) {
        if (only != 0 && class_bytes[i] != only) continue;
        double value = measure(cross, class_bytes[i], operations);
        printf("{\"case\":\"%s-%u\",\"value\":%.4f}\n", cross ? "cross-thread" : "same-thread",
               class_bytes[i], value);
        sum += log(value);
        measured++;
    }
    if (measured == 0) fail("no such class");
    if (only == 0)
        printf("{\"case\":\"%s\",\"value\":%.4f}\n", name, exp(sum / measured));
    return 0;
}
