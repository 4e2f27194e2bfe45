/* Frames that nobody would write: mutations of the vectors, held against what must be true of any.
 *
 * Deterministic, so that a finding is found again; a bounded number in the suite, ATOLL_FUZZ_SECONDS of
 * it by `make fuzz SECONDS=600`. LLVMFuzzerTestOneInput is there for who has libFuzzer. What is found
 * is kept as a vector in tests/corpus/wire. */
#include <stdlib.h>
#include <string.h>

#include "vectors.h"

#define SEEDS_MAX 256u
#define INPUT_MAX 16384u
#define ROUNDS 200000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- what must be true ---- */

static bool inside(const uint8_t *at, uint64_t length, const uint8_t *bytes, size_t size) {
    return at >= bytes && at <= bytes + size && length <= (uint64_t)(bytes + size - at);
}

static void check_bounds(const atoll__message_t *message, const uint8_t *bytes, size_t size) {
    CHECK(inside(message->payload, message->frame.payload_length, bytes, size));
    if (message->parts_count == 0) return;
    CHECK(message->parts_count <= ATOLL_PARTS_MAX);
    CHECK(inside(message->parts, message->parts_count * sizeof(atoll_part_t), bytes, size));
    uint64_t sum = 0;
    for (uint32_t i = 0; i < message->parts_count; i++) {
        atoll_part_t part;
        memcpy(&part, message->parts + i * sizeof part, sizeof part);
        CHECK(part.length > 0 && (uint64_t)part.offset + part.length <= UINT32_MAX);
        sum += part.length;
    }
    CHECK_EQUAL(sum, message->parts_bytes);
}

/* Written again from what was read, it reads the same. */
static void check_again(const atoll__message_t *message) {
    atoll_frame_t frame = message->frame;
    uint8_t extensions[64];
    uint32_t length = 0;
    if (atoll__message_has(message, ATOLL_EXTENSION_TRACE)) {
        atoll_trace_t trace = atoll__trace_extension(&message->trace);
        memcpy(extensions, &trace, sizeof trace);
        length += (uint32_t)sizeof trace;
    }
    frame.extension_words = (uint16_t)(length / 8u);
    size_t size = (size_t)atoll__frame_bytes(&frame);
    uint8_t *bytes = malloc(size);
    CHECK(bytes != NULL);
    atoll__frame_write(bytes, &frame, extensions, message->payload);
    atoll__message_t again;
    CHECK_EQUAL(
        atoll__frame_read(bytes, size, ATOLL_LEVEL_STRUCTURE, &again), ATOLL_FAULT_NONE);
    CHECK_EQUAL(again.frame.request_id, message->frame.request_id);
    CHECK_EQUAL(again.frame.payload_length, message->frame.payload_length);
    bool same = frame.payload_length == 0 ||
                memcmp(again.payload, message->payload, frame.payload_length) == 0;
    CHECK(same);
    CHECK_EQUAL(
        atoll__message_has(&again, ATOLL_EXTENSION_TRACE),
        atoll__message_has(message, ATOLL_EXTENSION_TRACE));
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* Exactly as large as the input, so that a sanitizer sees the first byte too far. */
    uint8_t *bytes = malloc(size + 1);
    uint8_t *copy = malloc(size + 1);
    CHECK(bytes != NULL && copy != NULL);
    bytes = realloc(bytes, size == 0 ? 1 : size);
    copy = realloc(copy, size == 0 ? 1 : size);
    if (size > 0) memcpy(bytes, data, size);
    atoll__message_t message;
    atoll_fault_t faults[3];
    for (atoll_level_t level = ATOLL_LEVEL_HEADER; level <= ATOLL_LEVEL_FULL; level++) {
        faults[level] = atoll__frame_read(bytes, size, level, &message);
        CHECK(faults[level] <= ATOLL_FAULT_PADDING);
        if (faults[level] != ATOLL_FAULT_NONE) continue;
        check_bounds(&message, bytes, size);
        if (level == ATOLL_LEVEL_STRUCTURE) check_again(&message);
        /* A level does what the one before does. */
        if (level > 0) CHECK_EQUAL(faults[level - 1], ATOLL_FAULT_NONE);
    }
    if (faults[0] != ATOLL_FAULT_NONE) CHECK_EQUAL(faults[1], faults[0]);
    atoll__message_t shared;
    CHECK_EQUAL(
        atoll__frame_receive(ATOLL__PEER_SHARED, bytes, size, copy, size, &shared), faults[2]);
    if (faults[2] == ATOLL_FAULT_NONE) check_bounds(&shared, copy, size);
    atoll_fault_t remote =
        atoll__frame_receive(ATOLL__PEER_REMOTE, bytes, size, NULL, 0, &message);
    CHECK(remote == faults[2] || remote == ATOLL_FAULT_CLOCK);
    free(copy);
    free(bytes);
    return 0;
}

/* ---- mutation ---- */

static struct {
    uint8_t *bytes;
    size_t size;
} seeds[SEEDS_MAX];
static uint32_t seeds_count;
static uint64_t random_state;

static uint32_t random_below(uint32_t bound) {
    /* splitmix64, https://prng.di.unimi.it/splitmix64.c */
    uint64_t z = (random_state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ (z >> 31)) % bound);
}

static void seed_keep(const vector_t *vector) {
    if (seeds_count == SEEDS_MAX || vector->size > INPUT_MAX / 2) return;
    seeds[seeds_count].bytes = malloc(vector->size + 1);
    CHECK(seeds[seeds_count].bytes != NULL);
    memcpy(seeds[seeds_count].bytes, vector->bytes, vector->size);
    seeds[seeds_count++].size = vector->size;
}

/* Numbers at which comparisons change their minds. */
static uint32_t edge(void) {
    static const uint32_t edges[] = {0, 1, 4, 5, 7, 8, 12, 28, 255, 256, 0x7FFF, 0x8000, 0x8005,
                                     0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};
    return edges[random_below(sizeof edges / sizeof edges[0])];
}

static size_t mutate(uint8_t *bytes, size_t size) {
    uint32_t value = edge();
    size_t at = size < 8 ? 0 : random_below((uint32_t)size - 7);
    switch (random_below(size < 8 ? 1 : 7)) {
    case 0: return random_below((uint32_t)size + 1);
    case 1: bytes[at] ^= (uint8_t)(1u << random_below(8)); break;
    case 2: memcpy(bytes + (at & ~(size_t)1), &value, 2); break;
    case 3: memcpy(bytes + (at & ~(size_t)3), &value, 4); break;
    case 4: memcpy(bytes + random_below(size < 32 ? 1 : 25), &value, 4); break;
    case 5: { /* one place to another, as a splice does */
        size_t from = random_below((uint32_t)size - 7);
        memmove(bytes + at, bytes + from, 8);
        break;
    }
    default: { /* the extensions of another seed */
        uint32_t other = random_below(seeds_count);
        size_t rest = seeds[other].size > 32 ? seeds[other].size - 32 : 0;
        if (size >= 32 && size + rest <= INPUT_MAX) {
            memcpy(bytes + size, seeds[other].bytes + 32, rest);
            return size + rest;
        }
    }
    }
    return size;
}

/* Most mutations end at the checksum; half of them get a good one, to see what comes behind it. */
static void mend(uint8_t *bytes, size_t size) {
    atoll_frame_t frame;
    if (size < sizeof frame || random_below(2) == 0) return;
    memcpy(&frame, bytes, sizeof frame);
    uint64_t end = sizeof frame + (uint64_t)frame.extension_words * 8u;
    if ((frame.flags & ATOLL_FLAG_CHECKED) != 0) end += frame.payload_length;
    if (end > size) return;
    memset(bytes + 28, 0, 4);
    uint32_t crc = atoll__crc32c(0, bytes, (size_t)end);
    memcpy(bytes + 28, &crc, 4);
}

static void fuzz_round(uint64_t number) {
    static uint8_t input[INPUT_MAX];
    random_state = number * 0xD1342543DE82EF95u;
    uint32_t seed = random_below(seeds_count);
    size_t size = seeds[seed].size;
    memcpy(input, seeds[seed].bytes, size);
    for (uint32_t i = random_below(4); i > 0; i--) size = mutate(input, size);
    mend(input, size);
    (void)LLVMFuzzerTestOneInput(input, size);
}

TEST(fuzz_frames, "A26: fuzz: mutated frames are refused or read, never beyond their bytes") {
    (void)vectors_each(seed_keep);
    CHECK(seeds_count > 80);
    const char *seconds = getenv("ATOLL_FUZZ_SECONDS");
    uint64_t end_ns = 0;
    uint64_t round = 0;
    if (seconds != NULL) {
        /* The long mode has other numbers each time, and says which, so that they can be tried again. */
        round = atoll__prim_now_ns();
        end_ns = round + strtoull(seconds, NULL, 10) * 1000000000u;
        printf("# from round %llu on\n", (unsigned long long)round);
        fflush(stdout);
    }
    do {
        for (uint32_t i = 0; i < ROUNDS; i++) fuzz_round(round++);
    } while (atoll__prim_now_ns() < end_ns);
    while (seeds_count > 0) free(seeds[--seeds_count].bytes);
}
