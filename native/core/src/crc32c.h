/* CRC-32C: Castagnoli's polynomial 0x1EDC6F41, bits reflected (RFC 3720, section 12.1 and appendix
 * B.4).
 *
 * Owns: the names of the variants and the way to the chosen one. Must not know frames beyond the
 * place of a header's own checksum. */
#ifndef ATOLL_CRC32C_H
#define ATOLL_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "atoll.h"

/* Continues `crc`, the checksum of what came before (0 at the beginning), over more bytes. Any
 * alignment; reads no byte outside of the range; bytes may be NULL when length is 0. */
typedef uint32_t (*atoll__crc32c_t)(uint32_t crc, const void *bytes, size_t length);

typedef struct atoll__crc32c_variant {
    const char *name;
    atoll__crc32c_t function;
    bool (*usable)(void); /* on this processor and system */
    bool instruction;     /* usable means that the processor has CRC instructions */
} atoll__crc32c_variant_t;

/* From the slowest to the fastest; the first is usable everywhere. */
extern const atoll__crc32c_variant_t atoll__crc32c_variants[];
extern const size_t atoll__crc32c_variants_count;

/* Written once, when the library is loaded, before anybody can call it. */
extern atoll__crc32c_variant_t atoll__crc32c_chosen;

/* The variant of that name, else (NULL, unknown or not usable here) the fastest usable one. */
const atoll__crc32c_variant_t *atoll__crc32c_pick(const char *name);
/* Chooses after the environment. Runs at load; tests call it again. */
void atoll__crc32c_choose(void);

static inline uint32_t atoll__crc32c(uint32_t crc, const void *bytes, size_t length) {
    return atoll__crc32c_chosen.function(crc, bytes, length);
}

static inline uint64_t atoll__crc32c_word_at(const void *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* One step of the CRC instruction over eight bytes, the register not inverted. By the assembler, so
 * that it can be inlined into code that is compiled for every processor; only to be reached when
 * atoll__crc32c_chosen.instruction says so. */
#if defined(__x86_64__)
static inline uint64_t atoll__crc32c_step(uint64_t crc, uint64_t word) {
    __asm__("crc32q %1, %0" : "+r"(crc) : "r"(word));
    return crc;
}
#elif defined(__aarch64__)
static inline uint64_t atoll__crc32c_step(uint64_t crc, uint64_t word) {
    __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %1" : "+r"(crc) : "r"(word));
    return crc;
}
#else
static inline uint64_t atoll__crc32c_step(uint64_t crc, uint64_t word) {
    return (uint32_t)~atoll__crc32c(~(uint32_t)crc, &word, sizeof word);
}
#endif

_Static_assert(ATOLL_FRAME_BYTES == 32, "four steps");
_Static_assert(offsetof(atoll_frame_t, payload_length) == 24, "the lower half of the last word");
_Static_assert(offsetof(atoll_frame_t, crc32c) == 28, "its upper half");

/* The header's checksum by the chosen variant. */
uint32_t atoll__crc32c_header_copied(const atoll_frame_t *header);

/* The checksum of a frame's header with its own field as zero: four instructions behind one branch,
 * because each checked frame pays it. */
static inline uint32_t atoll__crc32c_header(const atoll_frame_t *header) {
    if (!atoll__crc32c_chosen.instruction) return atoll__crc32c_header_copied(header);
    const uint8_t *at = (const uint8_t *)header;
    uint64_t crc = atoll__crc32c_step(UINT32_MAX, atoll__crc32c_word_at(at));
    crc = atoll__crc32c_step(crc, atoll__crc32c_word_at(at + 8));
    crc = atoll__crc32c_step(crc, atoll__crc32c_word_at(at + 16));
    crc = atoll__crc32c_step(crc, header->payload_length);
    return ~(uint32_t)crc;
}

/* ---- crc32c_table.c, crc32c_x86.c, crc32c_arm.c: the variants -------------------------------- */

/* shift[j] is x^(64 j - 33) modulo the polynomial, for j from 1: what a carry-less product needs to
 * move a checksum, or 128 bits, over 8 j bytes. Filled where there are CRC instructions; see
 * crc32c.c for why this one table serves every variant. */
#define ATOLL__CRC32C_SHIFTS 768u
extern uint32_t atoll__crc32c_shift[ATOLL__CRC32C_SHIFTS];

uint32_t atoll__crc32c_table(uint32_t crc, const void *bytes, size_t length);

#if defined(__x86_64__) || defined(__aarch64__)
uint32_t atoll__crc32c_scalar(uint32_t crc, const void *bytes, size_t length);
bool atoll__crc32c_scalar_usable(void);
uint32_t atoll__crc32c_interleaved(uint32_t crc, const void *bytes, size_t length);
bool atoll__crc32c_interleaved_usable(void);
#endif

#if defined(__x86_64__)
uint32_t atoll__crc32c_pclmul(uint32_t crc, const void *bytes, size_t length);
uint32_t atoll__crc32c_avx512(uint32_t crc, const void *bytes, size_t length);
bool atoll__crc32c_avx512_usable(void);
#elif defined(__aarch64__)
uint32_t atoll__crc32c_pmull(uint32_t crc, const void *bytes, size_t length);
#endif

#endif
