/* CRC-32C on arm64: the CRC32 extension and PMULL on NEON vectors.
 *
 * Owns: the instructions, and the lengths from which on each way pays: those of crc32c_x86.c, not
 * measured on a processor of this kind. Must not know who chooses. How it works: crc32c_chains.h. */
#if defined(__aarch64__)
#include <arm_acle.h>
#include <arm_neon.h>
#include <sys/auxv.h>

#include "crc32c.h"

#define SCALAR __attribute__((target("+crc")))
#define FOLDING __attribute__((target("+crc+crypto")))

#define TRIPLE_BYTES_MIN 96u
#define FUSED_BYTES_MIN 512u

/* AT_HWCAP bits of Linux on arm64 (arch/arm64/include/uapi/asm/hwcap.h). */
#define CAPABILITY_PMULL (1ul << 4)
#define CAPABILITY_CRC32 (1ul << 7)

bool atoll__crc32c_scalar_usable(void) {
    return (getauxval(AT_HWCAP) & CAPABILITY_CRC32) != 0;
}

bool atoll__crc32c_interleaved_usable(void) {
    return atoll__crc32c_scalar_usable() && (getauxval(AT_HWCAP) & CAPABILITY_PMULL) != 0;
}

typedef uint64x2_t vector_t;

SCALAR static inline uint64_t step(uint64_t crc, uint64_t word) {
    return __crc32cd((uint32_t)crc, word);
}

SCALAR static inline uint32_t step_4(uint32_t crc, uint32_t bytes) {
    return __crc32cw(crc, bytes);
}

SCALAR static inline uint32_t step_2(uint32_t crc, uint16_t bytes) {
    return __crc32ch(crc, bytes);
}

SCALAR static inline uint32_t step_1(uint32_t crc, uint8_t byte) {
    return __crc32cb(crc, byte);
}

FOLDING static inline vector_t product(uint32_t a, uint32_t b) {
    return vreinterpretq_u64_p128(vmull_p64((poly64_t)a, (poly64_t)b));
}

static inline uint64_t low(vector_t x) {
    return vgetq_lane_u64(x, 0);
}

static inline uint64_t high(vector_t x) {
    return vgetq_lane_u64(x, 1);
}

static inline vector_t load(const uint8_t *at) {
    return vreinterpretq_u64_u8(vld1q_u8(at));
}

static inline vector_t first(uint32_t value) {
    return (vector_t){value, 0};
}

static inline vector_t fold_by(size_t words) {
    return (vector_t){atoll__crc32c_shift[words + 1], atoll__crc32c_shift[words]};
}

FOLDING static inline vector_t fold(vector_t x, vector_t by, vector_t next) {
    poly64x2_t a = vreinterpretq_p64_u64(x);
    poly64x2_t b = vreinterpretq_p64_u64(by);
    vector_t front = vreinterpretq_u64_p128(vmull_p64(vgetq_lane_p64(a, 0), vgetq_lane_p64(b, 0)));
    return front ^ vreinterpretq_u64_p128(vmull_high_p64(a, b)) ^ next;
}

#include "crc32c_chains.h"

/* ---- the variants: short inputs are done before anything is saved or set up ------------------ */

SCALAR uint32_t atoll__crc32c_scalar(uint32_t crc, const void *bytes, size_t length) {
    return ~chain(~crc, bytes, length);
}

SCALAR uint32_t atoll__crc32c_interleaved(uint32_t crc, const void *bytes, size_t length) {
    if (length < TRIPLE_BYTES_MIN) return ~chain(~crc, bytes, length);
    return triple(crc, bytes, length);
}

SCALAR uint32_t atoll__crc32c_pmull(uint32_t crc, const void *bytes, size_t length) {
    if (length < TRIPLE_BYTES_MIN) return ~chain(~crc, bytes, length);
    if (length < FUSED_BYTES_MIN) return triple(crc, bytes, length);
    return fused(crc, bytes, length);
}
#else
typedef int atoll__crc32c_arm_t; /* C forbids an empty file. */
#endif
