/* CRC32C (polynomial 0x1EDC6F41, RFC 3720 appendix B.4).
 *
 * Owns: the choice of instruction set at run time. Must not know frames. Scalar instructions only:
 * most frames are short, and waking wide vector units costs more than they would save. */
#include <string.h>

#include "internal.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#endif

static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_fill(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82F63B78u & (0u - (crc & 1u)));
        table[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 0xFFu];
}

/* Slicing by eight, for processors without the instruction. */
uint32_t atoll__crc32c_table(uint32_t crc, const void *bytes, size_t length) {
    (void)pthread_once(&table_once, table_fill);
    const uint8_t *at = bytes;
    crc = ~crc;
    for (; length >= 8; at += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        word ^= crc;
        crc = 0;
        for (uint32_t k = 0; k < 8; k++) crc ^= table[7 - k][(word >> (8 * k)) & 0xFFu];
    }
    for (; length > 0; at++, length--) crc = (crc >> 8) ^ table[0][(crc ^ *at) & 0xFFu];
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_hardware(
    uint32_t crc, const void *bytes, size_t length) {
    const uint8_t *at = bytes;
    uint64_t wide = (uint32_t)~crc;
    for (; length >= 8; at += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    uint32_t narrow = (uint32_t)wide;
    for (; length > 0; at++, length--) narrow = _mm_crc32_u8(narrow, *at);
    return ~narrow;
}

static bool has_hardware(void) {
    return __builtin_cpu_supports("sse4.2") != 0;
}
#elif defined(__aarch64__)
__attribute__((target("+crc"))) static uint32_t crc_hardware(
    uint32_t crc, const void *bytes, size_t length) {
    const uint8_t *at = bytes;
    crc = ~crc;
    for (; length >= 8; at += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        crc = __crc32cd(crc, word);
    }
    for (; length > 0; at++, length--) crc = __crc32cb(crc, *at);
    return ~crc;
}

static bool has_hardware(void) {
    return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}
#else
static uint32_t crc_hardware(uint32_t crc, const void *bytes, size_t length) {
    return atoll__crc32c_table(crc, bytes, length);
}

static bool has_hardware(void) {
    return false;
}
#endif

uint32_t atoll__crc32c(uint32_t crc, const void *bytes, size_t length) {
    /* 0: not asked yet, 1: table, 2: instruction. Asking twice gives the same answer. */
    static _Atomic uint32_t choice;
    uint32_t known = atomic_load_explicit(&choice, memory_order_relaxed);
    if (known == 0) {
        known = has_hardware() ? 2 : 1;
        atomic_store_explicit(&choice, known, memory_order_relaxed);
    }
    return known == 2 ? crc_hardware(crc, bytes, length) : atoll__crc32c_table(crc, bytes, length);
}
