/* CRC-32C: each variant against the definition, published vectors and another library. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

/* Emulated and sanitized builds take their time. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__aarch64__)
#define RANDOM_BUFFERS 20000u
#else
#define RANDOM_BUFFERS 1000000u
#endif

#define EACH_VARIANT(variant)                                                                   \
    for (const atoll__crc32c_variant_t *variant = atoll__crc32c_variants;                       \
         variant < atoll__crc32c_variants + atoll__crc32c_variants_count; variant++)            \
        if (variant->usable())

/* Says which variant and where, which CHECK_EQUAL cannot. */
static void same(
    const atoll__crc32c_variant_t *variant, uint32_t actual, uint32_t expected, size_t length,
    size_t start) {
    if (actual == expected) return;
    char text[160];
    (void)snprintf(
        text, sizeof text, "%s is %08X, expected %08X, %zu bytes at %zu", variant->name, actual,
        expected, length, start);
    test_fail(__FILE__, __LINE__, text);
}

static uint64_t random_state = 0x9E3779B97F4A7C15u;

/* xorshift64* (Vigna, 2014). */
static uint32_t random_next(void) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 0x2545F4914F6CDD1Du) >> 32);
}

static void random_fill(uint8_t *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) bytes[i] = (uint8_t)random_next();
}

/* The definition, bit by bit: RFC 3720, section 12.1. */
static uint32_t defined_byte(uint32_t crc, uint8_t byte) {
    crc = ~crc ^ byte;
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82F63B78u & (0u - (crc & 1u)));
    return ~crc;
}

static void vector(const void *bytes, size_t length, uint32_t expected) {
    EACH_VARIANT(variant)
    same(variant, variant->function(0, bytes, length), expected, length, 0);
    CHECK_EQUAL(atoll__crc32c(0, bytes, length), expected);
}

TEST(crc_vectors, "crc32c: vectors of RFC 3720 B.4 and others that are published") {
    uint8_t bytes[32] = {0};
    vector(bytes, 32, 0x8A9136AAu);
    memset(bytes, 0xFF, 32);
    vector(bytes, 32, 0x62A8AB43u);
    for (uint8_t i = 0; i < 32; i++) bytes[i] = i;
    vector(bytes, 32, 0x46DD794Eu);
    for (uint8_t i = 0; i < 32; i++) bytes[i] = (uint8_t)(31 - i);
    vector(bytes, 32, 0x113FDB5Cu);
    /* An iSCSI read command. */
    static const uint8_t command[48] = {
        0x01, 0xC0, [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02,
    };
    vector(command, 48, 0xD9963A56u);
    /* The check value of CRC-32/ISCSI in the catalogue of parametrised CRC algorithms. */
    vector("123456789", 9, 0xE3069283u);
    vector("a", 1, 0xC1D04330u);
    vector("The quick brown fox jumps over the lazy dog", 43, 0x22620404u);
    vector(NULL, 0, 0);
}

TEST(crc_constants, "crc32c: the constants are the powers they should be") {
    if (!atoll__crc32c_pick(NULL)->instruction) test_skip("the variant of this processor has none");
    /* x^31 times x^64 again and again, bit by bit: x times p is a shift to the right. */
    uint32_t power = 1;
    for (size_t j = 1; j < ATOLL__CRC32C_SHIFTS; j++) {
        CHECK_EQUAL(atoll__crc32c_shift[j], power);
        for (int bit = 0; bit < 64; bit++)
            power = (power >> 1) ^ (0x82F63B78u & (0u - (power & 1u)));
    }
    /* As others have published them: folding over 16, 64 and 192 bytes. */
    CHECK_EQUAL(atoll__crc32c_shift[3], 0xF20C0DFEu);
    CHECK_EQUAL(atoll__crc32c_shift[2], 0x493C7D27u);
    CHECK_EQUAL(atoll__crc32c_shift[9], 0x740EEF02u);
    CHECK_EQUAL(atoll__crc32c_shift[8], 0x9E4ADDF8u);
    CHECK_EQUAL(atoll__crc32c_shift[25], 0xA87AB8A8u);
    CHECK_EQUAL(atoll__crc32c_shift[24], 0xAB7AFF2Au);
}

TEST(crc_lengths, "crc32c: each variant at each length to 1,100 and each alignment to 63") {
    static _Alignas(64) uint8_t bytes[64 + 1100];
    random_fill(bytes, sizeof bytes);
    for (size_t start = 0; start < 64; start++) {
        uint32_t before = random_next();
        uint32_t expected = before;
        for (size_t length = 0; length <= 1100; length++) {
            EACH_VARIANT(variant)
            same(variant, variant->function(before, bytes + start, length), expected, length, start);
            expected = defined_byte(expected, bytes[start + length % 1100]);
        }
    }
}

TEST(crc_long, "crc32c: each variant on long buffers") {
    enum { CAPACITY = 1 << 20 };
    uint8_t *bytes = malloc(CAPACITY + 64);
    CHECK(bytes != NULL);
    random_fill(bytes, CAPACITY + 64);
    for (uint32_t round = 0; round < 60; round++) {
        /* All magnitudes alike, and now and then exactly where blocks end. */
        size_t length = (size_t)random_next() % ((size_t)1 << (11 + random_next() % 10));
        if (round % 4 == 0) length &= ~(size_t)1023;
        size_t start = random_next() % 64;
        uint32_t before = random_next();
        uint32_t expected = before;
        for (size_t i = 0; i < length; i++) expected = defined_byte(expected, bytes[start + i]);
        EACH_VARIANT(variant)
        same(variant, variant->function(before, bytes + start, length), expected, length, start);
    }
    free(bytes);
}

TEST(crc_split, "crc32c: each variant goes on after a split at any point") {
    enum { LENGTH = 4200 };
    static uint8_t bytes[LENGTH];
    random_fill(bytes, LENGTH);
    uint32_t expected = atoll__crc32c_table(0, bytes, LENGTH);
    for (size_t split = 0; split <= LENGTH; split++) {
        EACH_VARIANT(variant) {
            uint32_t front = variant->function(0, bytes, split);
            uint32_t whole = variant->function(front, bytes + split, LENGTH - split);
            same(variant, whole, expected, split, 0);
        }
    }
}

TEST(crc_edges, "crc32c: no variant reads a byte outside of the range") {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    enum { INNER = 65536 };
    uint8_t *guarded = mmap(
        NULL, INNER + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(guarded != MAP_FAILED);
    CHECK(mprotect(guarded, page, PROT_NONE) == 0);
    CHECK(mprotect(guarded + page + INNER, page, PROT_NONE) == 0);
    uint8_t *first = guarded + page;
    uint8_t *end = first + INNER;
    random_fill(first, INNER);
    for (size_t length = 0; length <= INNER; length += length < 1200 ? 1 : 1 + random_next() % 999) {
        uint32_t front = atoll__crc32c_table(0, first, length);
        uint32_t back = atoll__crc32c_table(0, end - length, length);
        EACH_VARIANT(variant) {
            same(variant, variant->function(0, first, length), front, length, 0);
            same(variant, variant->function(0, end - length, length), back, length, INNER - length);
        }
    }
    CHECK(munmap(guarded, INNER + 2 * page) == 0);
}

TEST(crc_header, "crc32c: a header's checksum is that of its bytes with its own field as zero") {
    for (uint32_t round = 0; round < 1000; round++) {
        atoll_frame_t header;
        random_fill((uint8_t *)&header, sizeof header);
        uint32_t actual = atoll__crc32c_header(&header);
        header.crc32c = 0;
        CHECK_EQUAL(actual, atoll__crc32c_table(0, &header, sizeof header));
    }
}

TEST(crc_choice, "crc32c: ATOLL_CRC32C forces a variant; what is unknown or unusable is ignored") {
    const char *was = getenv("ATOLL_CRC32C");
    char *kept = was == NULL ? NULL : strdup(was);
    const atoll__crc32c_variant_t *best = &atoll__crc32c_variants[0];
    EACH_VARIANT(variant) best = variant;
    for (size_t i = 0; i < atoll__crc32c_variants_count; i++) {
        const atoll__crc32c_variant_t *variant = &atoll__crc32c_variants[i];
        CHECK(setenv("ATOLL_CRC32C", variant->name, 1) == 0);
        atoll__crc32c_choose();
        CHECK(strcmp(atoll__crc32c_chosen.name, (variant->usable() ? variant : best)->name) == 0);
        CHECK_EQUAL(atoll__crc32c(0, "123456789", 9), 0xE3069283u);
        crc_header();
    }
    static const char *const odd[] = {"", "sse9", "TABLE", "table "};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        CHECK(setenv("ATOLL_CRC32C", odd[i], 1) == 0);
        atoll__crc32c_choose();
        CHECK(strcmp(atoll__crc32c_chosen.name, best->name) == 0);
    }
    if (kept == NULL)
        CHECK(unsetenv("ATOLL_CRC32C") == 0);
    else
        CHECK(setenv("ATOLL_CRC32C", kept, 1) == 0);
    free(kept);
    atoll__crc32c_choose();
    printf("# crc32c: %s is used here\n", atoll__crc32c_chosen.name);
}

TEST(crc_isal, "crc32c: agrees with ISA-L on random buffers and alignments") {
    void *library = dlopen("libisal.so.2", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
#if defined(__aarch64__)
        test_skip("no package brings ISA-L for arm64");
#endif
        /* Set where all that can be installed is. */
        const char *complete = getenv("ATOLL_TEST_COMPLETE");
        CHECK(complete == NULL || *complete == '\0');
        test_skip("libisal.so.2 is missing (Debian: libisal2)");
    }
    unsigned int (*peer)(unsigned char *, int, unsigned int);
    *(void **)&peer = dlsym(library, "crc32_iscsi");
    CHECK(peer != NULL);
    enum { CAPACITY = 1 << 17 };
    uint8_t *bytes = malloc(CAPACITY);
    CHECK(bytes != NULL);
    random_fill(bytes, CAPACITY);
    uint32_t rounds = test_rounds(RANDOM_BUFFERS);
    for (uint32_t round = 0; round < rounds; round++) {
        /* Mostly short; one in a thousand up to 64 KiB. */
        size_t length = random_next() % (round % 1000 == 0 ? 65536 : round % 16 == 0 ? 4200 : 400);
        uint8_t *at = bytes + random_next() % (CAPACITY - 65536);
        uint32_t before = random_next();
        *at ^= (uint8_t)round;
        /* ISA-L's function leaves both inversions to its caller. */
        uint32_t expected = ~peer(at, (int)length, ~before);
        size_t start = (size_t)(at - bytes) % 64;
        same(&atoll__crc32c_chosen, atoll__crc32c(before, at, length), expected, length, start);
        if (round % 8 != 0) continue;
        EACH_VARIANT(variant)
        same(variant, variant->function(before, at, length), expected, length, start);
    }
    free(bytes);
    CHECK(dlclose(library) == 0);
}
