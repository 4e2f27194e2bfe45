/* The native side of the frame bench: frames read where they lie, and scans with and without
 * prefetching. Usage: frame CASE OPERATIONS; prints nanoseconds an operation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

#define HOT_FRAMES 64u
#define PAYLOAD_BYTES 64u
/* Beyond the second-level cache, as the slots of many connections are. */
#define COLD_FRAMES 131072u
#define COLD_STRIDE 512u
#define BATCH 64u
#define AHEAD 6u
/* As calls lie in their pool: the state is the first word of each. */
#define POOL_CALLS 65536u

static volatile uint64_t sink;

static uint64_t now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void frame_put(uint8_t *to, uint32_t index) {
    uint8_t payload[PAYLOAD_BYTES];
    memset(payload, (int)index, sizeof payload);
    atoll_frame_t frame = {
        .kind = ATOLL_KIND_CALL,
        .flags = ATOLL_FLAG_JSON | ATOLL_FLAG_END,
        .request_id = index,
        .target = index * 3,
        .budget_us = 1000000,
        .payload_length = sizeof payload,
    };
    atoll__frame_write(to, &frame, NULL, payload);
}

/* What a door looks at in each frame. */
static uint64_t frame_use(const uint8_t *bytes, uint32_t capacity) {
    atoll__message_t message;
    if (atoll__frame_read(bytes, capacity, ATOLL_LEVEL_STRUCTURE, &message) != ATOLL_FAULT_NONE)
        abort();
    const atoll_frame_t *frame = &message.frame;
    return frame->request_id + frame->target + frame->budget_us + frame->kind + frame->flags +
           frame->payload_length + message.payload[0];
}

static uint8_t *frames_make(uint32_t count, uint32_t stride) {
    uint8_t *bytes = aligned_alloc(64, (size_t)count * stride);
    if (bytes == NULL) abort();
    for (uint32_t i = 0; i < count; i++) frame_put(bytes + (size_t)i * stride, i);
    return bytes;
}

static void read_hot(uint64_t operations) {
    static uint8_t *frames;
    const uint32_t stride = 128;
    static const uint8_t *order[HOT_FRAMES];
    if (frames == NULL) frames = frames_make(HOT_FRAMES, stride);
    for (uint32_t i = 0; i < HOT_FRAMES; i++) order[i] = frames + i * stride;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < operations; i++) {
        const uint8_t *frame = order[i % HOT_FRAMES];
        /* Nothing may be known about the frame beforehand: black_box of the peer. */
        __asm__ volatile("" : "+r"(frame) : : "memory");
        sum += frame_use(frame, stride);
    }
    sink = sum;
}

/* A batch of frames in slots all over the arena, in the order in which they were announced. */
static void scan_scattered(uint64_t operations, bool prefetch) {
    static uint8_t *frames;
    if (frames == NULL) frames = frames_make(COLD_FRAMES, COLD_STRIDE);
    uint32_t order[BATCH];
    uint64_t sum = 0;
    uint32_t seed = 1;
    for (uint64_t done = 0; done < operations; done += BATCH) {
        for (uint32_t i = 0; i < BATCH; i++) {
            seed = seed * 1664525u + 1013904223u;
            order[i] = (seed >> 8) % COLD_FRAMES;
        }
        for (uint32_t i = 0; i < BATCH; i++) {
            if (prefetch && i + AHEAD < BATCH)
                __builtin_prefetch(frames + (size_t)order[i + AHEAD] * COLD_STRIDE, 0, 3);
            sum += frame_use(frames + (size_t)order[i] * COLD_STRIDE, COLD_STRIDE);
        }
    }
    sink = sum;
}

/* A look at each call of the pool, as cancelling a client's calls does. */
static void scan_pool(uint64_t operations, bool prefetch) {
    static atoll__call_t *calls;
    if (calls == NULL) {
        calls = aligned_alloc(64, POOL_CALLS * sizeof *calls);
        if (calls == NULL) abort();
        memset(calls, 0, POOL_CALLS * sizeof *calls);
    }
    uint64_t sum = 0;
    for (uint64_t i = 0; i < operations; i++) {
        uint64_t at = i % POOL_CALLS;
        if (prefetch) __builtin_prefetch(&calls[(at + 16) % POOL_CALLS].word, 0, 3);
        sum += atomic_load_explicit(&calls[at].word, memory_order_acquire);
    }
    sink = sum;
}

static void run(const char *name, uint64_t operations) {
    if (strcmp(name, "native") == 0) read_hot(operations);
    else if (strcmp(name, "scattered") == 0) scan_scattered(operations, false);
    else if (strcmp(name, "scattered-prefetch") == 0) scan_scattered(operations, true);
    else if (strcmp(name, "pool") == 0) scan_pool(operations, false);
    else if (strcmp(name, "pool-prefetch") == 0) scan_pool(operations, true);
    else abort();
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    uint64_t operations = strtoull(arguments[2], NULL, 10);
    run(arguments[1], operations / 4 + 1);
    uint64_t begin = now_ns();
    run(arguments[1], operations);
    double each = (double)(now_ns() - begin) / (double)operations;
    printf("{\"case\":\"%s\",\"value\":%.4f}\n", arguments[1], each);
    return 0;
}
