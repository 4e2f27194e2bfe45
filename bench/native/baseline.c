/* The hot paths of the core, each as a loop of its own: what bench/baseline.json counts.
 *
 *     baseline PATH OPERATIONS ENGINE
 *
 * Owns: the paths. PATH is one of them or "all"; ENGINE is the library of baseline_engine.c. Prints one
 * object a line with nanoseconds an operation. Under callgrind, with --toggle-collect=measured and
 * --dump-after=measured, each line has its dump, in the same order: only what runs inside of
 * measured() is counted, and neither valgrind's headers nor its client requests are needed. A path
 * runs once before, so that nothing is counted that happens the first time only. One thread, one
 * client, no socket: nothing depends on when another thread runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

/* As many bytes in a frame as the question of bench `ffi_call` has. */
#define PAYLOAD_BYTES 64u
/* The slots that clients in JavaScript take for almost all calls. */
#define SLOT_WANTED 4096u
/* Slots taken before any is given back: several magazines, so that the depot has its part. */
#define BURST 256u
#define QUEUE_CAPACITY 1024u
#define FRAMES 64u
#define FRAME_STRIDE 128u

static uint32_t client;
static uint32_t targets[2];
static const atoll_event_t *submitted;
static uint32_t call_slot;
/* FRAMES frames each: as clients write them, and with a checksum over all of it. */
static uint8_t *plain;
static uint8_t *checked;
static volatile uint64_t sink;

static void must(bool condition, const char *text) {
    if (condition) return;
    fprintf(stderr, "baseline: %s\n", text);
    exit(1);
}

/* Nothing may be known about it beforehand. */
#define OPAQUE(value) __asm__ volatile("" : "+r"(value) : : "memory")

/* ---- memory ---- */

static void slab_pair(uint64_t operations) {
    for (uint64_t i = 0; i < operations; i++) {
        uint32_t slot = atoll__slot_take(client, SLOT_WANTED, ATOLL__HOLD_LIBRARY);
        must(atoll__slot_free(client, slot, ATOLL__HOLD_LIBRARY), "a slot was refused");
    }
}

static void slab_burst(uint64_t operations) {
    uint32_t slots[BURST];
    for (uint64_t done = 0; done < operations; done += BURST) {
        for (uint32_t i = 0; i < BURST; i++)
            slots[i] = atoll__slot_take(client, SLOT_WANTED, ATOLL__HOLD_LIBRARY);
        for (uint32_t i = 0; i < BURST; i++)
            must(atoll__slot_free(client, slots[i], ATOLL__HOLD_LIBRARY), "a slot was refused");
    }
}

/* ---- calls ---- */

/* As JavaScript writes it: the header only, the payload is there. */
static void call_write(uint32_t target, uint64_t request_id) {
    const atoll_frame_t frame = {
        .magic = ATOLL_FRAME_MAGIC,
        .version = ATOLL_FRAME_VERSION,
        .kind = ATOLL_KIND_CALL,
        .request_id = request_id,
        .target = target,
        .payload_length = PAYLOAD_BYTES,
    };
    memcpy(atoll__slot_bytes(call_slot), &frame, sizeof frame);
}

static void call_inline(uint64_t operations) {
    for (uint64_t i = 0; i < operations; i++) {
        call_write(targets[0], i);
        must(atoll_submit(client, call_slot) == ATOLL_OK, "a call did not end inline");
        call_slot = submitted->slot;
    }
}

static void call_reaped(uint64_t operations) {
    const atoll_event_t *reaped = submitted + 2;
    for (uint64_t i = 0; i < operations; i++) {
        call_write(targets[1], i);
        must(atoll_submit(client, call_slot) == ATOLL_PENDING, "a call was not moved");
        must(atoll_reap(client) == 1, "a reply did not come");
        call_slot = reaped->slot;
    }
}

/* ---- frames ---- */

static void frame_put(uint8_t *to, uint64_t request_id, uint32_t flags) {
    static const uint8_t payload[PAYLOAD_BYTES] = {1};
    const atoll_frame_t frame = {
        .kind = ATOLL_KIND_REPLY,
        .flags = (uint16_t)(ATOLL_FLAG_JSON | ATOLL_FLAG_END | flags),
        .request_id = request_id,
        .payload_length = sizeof payload,
    };
    atoll__frame_write(to, &frame, NULL, payload);
}

static uint8_t *frame_at(uint8_t *frames, uint64_t index) {
    uint8_t *frame = frames + index % FRAMES * FRAME_STRIDE;
    OPAQUE(frame);
    return frame;
}

static inline void frames_read(uint8_t *frames, uint64_t operations, atoll_level_t level) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < operations; i++) {
        atoll__message_t message;
        must(
            atoll__frame_read(frame_at(frames, i), FRAME_STRIDE, level, &message) == ATOLL_FAULT_NONE,
            "a frame was refused");
        const atoll_frame_t *frame = &message.frame;
        sum += frame->request_id + frame->target + frame->budget_us + frame->kind + frame->flags +
               frame->payload_length + message.payload[0];
    }
    sink = sum;
}

/* In place, from this process; then as from anybody, whose checksum is checked. */
static void frame_read(uint64_t operations) {
    frames_read(plain, operations, ATOLL_LEVEL_STRUCTURE);
}

static void frame_read_full(uint64_t operations) {
    frames_read(checked, operations, ATOLL_LEVEL_FULL);
}

static void frame_write(uint64_t operations) {
    for (uint64_t i = 0; i < operations; i++) frame_put(frame_at(plain, i), i, 0);
}

static void frame_write_checked(uint64_t operations) {
    for (uint64_t i = 0; i < operations; i++)
        frame_put(frame_at(checked, i), i, ATOLL_FLAG_CHECKED);
}

static void crc_header(uint64_t operations) {
    uint32_t crc = 0;
    for (uint64_t i = 0; i < operations; i++)
        crc ^= atoll__crc32c_header((const atoll_frame_t *)(const void *)frame_at(checked, i));
    sink = crc;
}

/* ---- queues ---- */

static void queue_mpmc(uint64_t operations) {
    static atoll__mpmc_t *queue;
    if (queue == NULL) {
        queue = atoll__prim_reserve(atoll__mpmc_bytes(QUEUE_CAPACITY));
        must(queue != NULL, "no memory");
        atoll__mpmc_init(queue, QUEUE_CAPACITY);
    }
    for (uint64_t i = 0; i < operations; i++) {
        uint64_t value = 0;
        must(atoll__mpmc_push(queue, QUEUE_CAPACITY, i) == ATOLL__MPMC_DONE, "a push failed");
        must(
            atoll__mpmc_pop(queue, QUEUE_CAPACITY, &value) == ATOLL__MPMC_DONE && value == i,
            "a pop failed");
    }
}

static void queue_spsc(uint64_t operations) {
    static atoll__ring_t ring;
    static atoll__ring_side_t producer;
    static atoll__ring_side_t consumer;
    static uint64_t items[QUEUE_CAPACITY];
    for (uint64_t i = 0; i < operations; i++) {
        uint64_t value = 0;
        must(
            atoll__ring_push(&ring, &producer, items, QUEUE_CAPACITY, sizeof i, &i, 1) == 1,
            "a push failed");
        must(
            atoll__ring_pop(&ring, &consumer, items, QUEUE_CAPACITY, sizeof value, &value, 1) == 1,
            "a pop failed");
    }
}

/* ---- program ---- */

typedef struct hot_path {
    const char *name;
    void (*body)(uint64_t operations);
} hot_path_t;

static const hot_path_t paths[] = {
    {"slab-pair", slab_pair},
    {"slab-burst", slab_burst},
    {"call-inline", call_inline},
    {"call-reaped", call_reaped},
    {"frame-read", frame_read},
    {"frame-read-full", frame_read_full},
    {"frame-write", frame_write},
    {"frame-write-checked", frame_write_checked},
    {"crc-header", crc_header},
    {"queue-mpmc", queue_mpmc},
    {"queue-spsc", queue_spsc},
};

/* Known by this name to callgrind: one function, whatever the compiler thinks of it. */
__attribute__((noinline, noclone, used)) static void measured(
    const hot_path_t *path, uint64_t operations) {
    path->body(operations);
    __asm__ volatile("" : : : "memory");
}

static uint64_t now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint8_t *frames_make(uint32_t flags) {
    uint8_t *frames = aligned_alloc(64, FRAMES * FRAME_STRIDE);
    must(frames != NULL, "no memory");
    for (uint64_t i = 0; i < FRAMES; i++) frame_put(frame_at(frames, i), i, flags);
    return frames;
}

static void calls_open(const char *engine_path) {
    static const uint8_t config[] = "arena_bytes=67108864\ncalls_max=1024\n";
    atoll_arena_info_t arena;
    atoll_client_info_t opened;
    uint32_t engine = 0;
    must(atoll_open(config, sizeof config - 1, &arena) == ATOLL_OK, "the library did not open");
    must(atoll_client_open(&opened) == ATOLL_OK, "no client");
    atoll_status_t loaded = atoll_engine_load(
        (const uint8_t *)engine_path, (uint32_t)strlen(engine_path), NULL, 0, &engine);
    must(loaded == ATOLL_OK, "the engine was not loaded");
    client = opened.client;
    submitted = (const atoll_event_t *)(const void *)atoll__slot_bytes(opened.area_slot);
    call_slot = atoll_slot_take(client, SLOT_WANTED);
    must(call_slot != 0, "no slot");
    const atoll_frame_t control = {.kind = ATOLL_KIND_CONTROL, .target = engine};
    atoll__frame_write(atoll__slot_bytes(call_slot), &control, NULL, NULL);
    must(atoll_submit(client, call_slot) == ATOLL_OK, "the engine did not answer");
    call_slot = submitted->slot;
    memcpy(targets, atoll__slot_bytes(call_slot) + ATOLL_FRAME_BYTES, sizeof targets);
}

int main(int count, char **arguments) {
    must(count == 4, "usage: baseline PATH OPERATIONS ENGINE");
    /* Whole bursts, and every frame as often as any other. */
    uint64_t operations = strtoull(arguments[2], NULL, 10) / BURST * BURST + BURST;
    calls_open(arguments[3]);
    plain = frames_make(0);
    checked = frames_make(ATOLL_FLAG_CHECKED);
    bool found = false;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        const hot_path_t *path = &paths[i];
        if (strcmp(arguments[1], "all") != 0 && strcmp(arguments[1], path->name) != 0) continue;
        found = true;
        path->body(operations);
        uint64_t begin = now_ns();
        measured(path, operations);
        double each = (double)(now_ns() - begin) / (double)operations;
        printf(
            "{\"case\":\"%s\",\"value\":%.4f,\"operations\":%llu}\n", path->name, each,
            (unsigned long long)operations);
    }
    must(found, "no such path");
    must(atoll_client_close(client) == ATOLL_OK, "the client did not close");
    must(atoll_close() == ATOLL_OK, "the library did not close");
    free(plain);
    free(checked);
    return 0;
}
