/* Inputs of the fuzzers (fuzz/) without a fuzzer: mutations of the wire vectors, the same ones each
 * time, and the programs that were kept. They run where clang is missing, and under every sanitizer. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "../fuzz/fuzz.h"
#include "vectors.h"

#define SEEDS_MAX 256u
#define INPUT_MAX 16384u
#define ROUNDS 120000u
/* In tests/corpus/api: who keeps another one counts it here, so that none gets lost unseen. */
#define PROGRAMS 199u

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

static void fuzz_round(uint64_t number) {
    static uint8_t input[INPUT_MAX];
    random_state = number * 0xD1342543DE82EF95u;
    uint32_t seed = random_below(seeds_count);
    size_t size = seeds[seed].size;
    memcpy(input, seeds[seed].bytes, size);
    for (uint32_t i = random_below(4); i > 0; i--) size = mutate(input, size);
    fuzz_frame(input, size);
}

TEST(fuzz_frames, "A26: fuzz: mutated frames are refused or read, never beyond their bytes") {
    (void)vectors_each(seed_keep);
    CHECK(seeds_count > 80);
    uint32_t rounds = test_rounds(ROUNDS);
    for (uint64_t round = 0; round < rounds; round++) fuzz_round(round);
    while (seeds_count > 0) free(seeds[--seeds_count].bytes);
}

/* ---- programs ---- */

static void program_run(const char *path) {
    static uint8_t program[INPUT_MAX];
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    size_t size = fread(program, 1, sizeof program, file);
    (void)fclose(file);
    fuzz_api(program, size);
}

TEST(fuzz_programs, "A30: fuzz: programs of the API that were kept do no harm, and give all back") {
    /* As for the vectors: the tests run in native/core. */
    const char *folder = "../../tests/corpus/api";
    DIR *listing = opendir(folder);
    CHECK(listing != NULL);
    uint32_t count = 0;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        program_run(path);
        count++;
    }
    (void)closedir(listing);
    CHECK_EQUAL(count, PROGRAMS);
}
