/* CRC-32C on x86-64: crc32q, PCLMULQDQ, and VPCLMULQDQ on 512 bits.
 *
 * Owns: the instructions, and the lengths from which on each way pays, by measurement on Zen 4
 * (bench/crc32c_bench.ts). Must not know who chooses. How it works: crc32c_chains.h. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "crc32c.h"

#define SCALAR __attribute__((target("sse4.2")))
#define FOLDING __attribute__((target("sse4.2,pclmul,avx")))
#define WIDE __attribute__((target("sse4.2,pclmul,avx,avx512f,avx512vl,vpclmulqdq")))

#define TRIPLE_BYTES_MIN 96u
/* Zen 4 gains a tenth by folding 128 bits, because its multiplier takes two cycles for them as it
 * does for 512; processors with one a cycle gain more. */
#define FUSED_BYTES_MIN 512u
/* 512 bits are even at 576 bytes and save 10 ns here; waking them can cost some processors 2 us. */
#define WIDE_BYTES_MIN 1024u

bool atoll__crc32c_scalar_usable(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2") != 0;
}

/* For AVX and AVX-512 the compiler's library asks XGETBV too, whether the system saves them. */
bool atoll__crc32c_interleaved_usable(void) {
    return atoll__crc32c_scalar_usable() && __builtin_cpu_supports("pclmul") != 0 &&
           __builtin_cpu_supports("avx") != 0;
}

bool atoll__crc32c_avx512_usable(void) {
    return atoll__crc32c_interleaved_usable() && __builtin_cpu_supports("avx512f") != 0 &&
           __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("vpclmulqdq") != 0;
}

typedef __m128i vector_t;

SCALAR static inline uint64_t step(uint64_t crc, uint64_t word) {
    return _mm_crc32_u64(crc, word);
}

SCALAR static inline uint32_t step_4(uint32_t crc, uint32_t bytes) {
    return _mm_crc32_u32(crc, bytes);
}

SCALAR static inline uint32_t step_2(uint32_t crc, uint16_t bytes) {
    return _mm_crc32_u16(crc, bytes);
}

SCALAR static inline uint32_t step_1(uint32_t crc, uint8_t byte) {
    return _mm_crc32_u8(crc, byte);
}

FOLDING static inline vector_t product(uint32_t a, uint32_t b) {
    return _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)a), _mm_cvtsi32_si128((int)b), 0x00);
}

SCALAR static inline uint64_t low(vector_t x) {
    return (uint64_t)_mm_cvtsi128_si64(x);
}

SCALAR static inline uint64_t high(vector_t x) {
    return (uint64_t)_mm_extract_epi64(x, 1);
}

SCALAR static inline vector_t load(const uint8_t *at) {
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

SCALAR static inline vector_t first(uint32_t value) {
    return _mm_cvtsi32_si128((int)value);
}

FOLDING static inline vector_t fold_by(size_t words) {
    return _mm_set_epi64x(
        (int64_t)atoll__crc32c_shift[words], (int64_t)atoll__crc32c_shift[words + 1]);
}

FOLDING static inline vector_t fold(vector_t x, vector_t by, vector_t next) {
    return _mm_clmulepi64_si128(x, by, 0x00) ^ _mm_clmulepi64_si128(x, by, 0x11) ^ next;
}

#include "crc32c_chains.h"

/* ---- beside three accumulators of 512 bits -------------------------------------------------- */

#define WIDE_VECTOR_WORDS 24u
#define WIDE_WORDS_MAX 2048u
_Static_assert(
    3u * CHAIN_WORDS_MAX(WIDE_WORDS_MAX, WIDE_VECTOR_WORDS) + WIDE_VECTOR_WORDS <=
        ATOLL__CRC32C_SHIFTS,
    "the first vector's move");

/* Four folds side by side. 0x96: the exclusive or of three. */
WIDE static inline __m512i wide_fold(__m512i x, __m512i by, __m512i next) {
    return _mm512_ternarylogic_epi64(
        _mm512_clmulepi64_epi128(x, by, 0x00), _mm512_clmulepi64_epi128(x, by, 0x11), next, 0x96);
}

WIDE static inline __m512i wide_fold_by(size_t words) {
    return _mm512_broadcast_i32x4(fold_by(words));
}

WIDE static inline __m512i wide_load(const uint8_t *at) {
    return _mm512_loadu_si512((const void *)at);
}

/* For folding the four lanes onto 128 bits, the last of them over so many words: the constants lie
 * in the table in the opposite order. */
WIDE static inline __m512i wide_lanes_by(size_t words) {
    const __m512i backwards = _mm512_set_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    const void *from = &atoll__crc32c_shift[words];
    return _mm512_permutexvar_epi64(
        backwards, _mm512_cvtepu32_epi64(_mm256_loadu_si256((const __m256i *)from)));
}

WIDE static inline vector_t wide_lanes_sum(__m512i x) {
    __m256i half = _mm512_castsi512_si256(x) ^ _mm512_extracti64x4_epi64(x, 1);
    return _mm256_castsi256_si128(half) ^ _mm256_extracti128_si256(half, 1);
}

/* As fused_block. Not aligned first: the multiplier is what it waits for, not loads. */
WIDE static inline size_t wide_block(uint32_t *crc, const uint8_t *at, size_t words) {
    size_t turns = words / (WIDE_VECTOR_WORDS + 3 * TURN_STEPS);
    size_t each = fused_chain_words(words, turns, WIDE_VECTOR_WORDS);
    chains_t chains = chains_over(at + 8 * WIDE_VECTOR_WORDS * turns, each, 0);
    const __m512i over = wide_fold_by(WIDE_VECTOR_WORDS);
    __m512i x0 = _mm512_xor_si512(wide_load(at), _mm512_zextsi128_si512(first(*crc)));
    __m512i x1 = wide_load(at + 64);
    __m512i x2 = wide_load(at + 128);
    for (size_t turn = 1; turn < turns; turn++) {
        at += 8 * WIDE_VECTOR_WORDS;
        x0 = wide_fold(x0, over, wide_load(at));
        x1 = wide_fold(x1, over, wide_load(at + 64));
        x2 = wide_fold(x2, over, wide_load(at + 128));
        chains_step(&chains);
        chains_step(&chains);
        chains_step(&chains);
    }
    __m512i tail = wide_fold(x2, wide_lanes_by(3 * each), _mm512_setzero_si512());
    tail = wide_fold(x1, wide_lanes_by(3 * each + 8), tail);
    tail = wide_fold(x0, wide_lanes_by(3 * each + 16), tail);
    *crc = chains_join(&chains, wide_lanes_sum(tail));
    return 8 * WIDE_VECTOR_WORDS * turns + 24 * each;
}

WIDE NOINLINE static uint32_t wide(uint32_t crc, const uint8_t *at, size_t length) {
    crc = ~crc;
    while (length >= WIDE_BYTES_MIN) {
        size_t words = length / 8 < WIDE_WORDS_MAX ? length / 8 : WIDE_WORDS_MAX;
        size_t taken = wide_block(&crc, at, words);
        at += taken;
        length -= taken;
    }
    return length < FUSED_BYTES_MIN ? triple(~crc, at, length) : fused(~crc, at, length);
}

/* ---- the variants: short inputs are done before anything is saved or set up ------------------ */

SCALAR uint32_t atoll__crc32c_scalar(uint32_t crc, const void *bytes, size_t length) {
    return ~chain(~crc, bytes, length);
}

SCALAR uint32_t atoll__crc32c_interleaved(uint32_t crc, const void *bytes, size_t length) {
    if (length < TRIPLE_BYTES_MIN) return ~chain(~crc, bytes, length);
    return triple(crc, bytes, length);
}

SCALAR uint32_t atoll__crc32c_pclmul(uint32_t crc, const void *bytes, size_t length) {
    if (length < TRIPLE_BYTES_MIN) return ~chain(~crc, bytes, length);
    if (length < FUSED_BYTES_MIN) return triple(crc, bytes, length);
    return fused(crc, bytes, length);
}

SCALAR uint32_t atoll__crc32c_avx512(uint32_t crc, const void *bytes, size_t length) {
    if (length < TRIPLE_BYTES_MIN) return ~chain(~crc, bytes, length);
    if (length < FUSED_BYTES_MIN) return triple(crc, bytes, length);
    if (length < WIDE_BYTES_MIN) return fused(crc, bytes, length);
    return wide(crc, bytes, length);
}
#else
typedef int atoll__crc32c_x86_t; /* C forbids an empty file. */
#endif
