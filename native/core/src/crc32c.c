/* Which CRC-32C is used.
 *
 * Owns: the choice, made once when the library is loaded, and the constants that the variants share.
 * Must not know how a variant works.
 *
 * ATOLL_CRC32C=NAME forces a variant, for tests and measurements: table, scalar, interleaved, and
 * pclmul or avx512 (x86-64), pmull (arm64). A name that is unknown, or not usable on this machine,
 * is ignored: the environment must not be able to crash the process, nor to weaken a check.
 *
 * The constants. In the reflected domain a 32-bit value is a polynomial whose bit 31 is the
 * coefficient of x^0. The carry-less product of two such values a and b, taken as a 64-bit word, is
 * a b x; the CRC instruction with a register of zero makes w x^32 mod P of a word w. So
 *
 *     step(0, clmul(a, shift[j])) = a x^(64 j - 33) x^33 = a x^(64 j) mod P:
 *
 * the checksum a moved over j words of zeros (Gopal et al., "Fast CRC computation for iSCSI
 * polynomial using CRC32 instruction", Intel 2011; the exponent less by 33 is the form that Peter
 * Cawley describes in "An alternative exposition of crc32_4k_pclmulqdq"). Folding 128 bits over j
 * words (Gopal et al., "Fast CRC computation for generic polynomials using PCLMULQDQ instruction",
 * Intel 2009) multiplies the word that comes first by x^(64 (j + 1)) and the other by x^(64 j); a
 * constant in the low half of a 64-bit word carries x^32 of its own, and the 128-bit product of
 * words again one x, which gives shift[j + 1] and shift[j]. One recurrence makes them all:
 * shift[1] = x^31, which is the value 1, and shift[j + 1] = step(shift[j], 0). */
#include <stdlib.h>

#include "crc32c.h"

uint32_t atoll__crc32c_shift[ATOLL__CRC32C_SHIFTS];

static bool always(void) {
    return true;
}

#define VARIANT(id, when, with) \
    {.name = #id, .function = atoll__crc32c_##id, .usable = when, .instruction = with}

const atoll__crc32c_variant_t atoll__crc32c_variants[] = {
    VARIANT(table, always, false),
#if defined(__x86_64__) || defined(__aarch64__)
    VARIANT(scalar, atoll__crc32c_scalar_usable, true),
    VARIANT(interleaved, atoll__crc32c_interleaved_usable, true),
#endif
#if defined(__x86_64__)
    VARIANT(pclmul, atoll__crc32c_interleaved_usable, true),
    VARIANT(avx512, atoll__crc32c_avx512_usable, true),
#elif defined(__aarch64__)
    VARIANT(pmull, atoll__crc32c_interleaved_usable, true),
#endif
};
const size_t atoll__crc32c_variants_count =
    sizeof atoll__crc32c_variants / sizeof atoll__crc32c_variants[0];

/* What stands here before the constructor has run works as well. */
atoll__crc32c_variant_t atoll__crc32c_chosen = VARIANT(table, always, false);

const atoll__crc32c_variant_t *atoll__crc32c_pick(const char *name) {
    const atoll__crc32c_variant_t *best = &atoll__crc32c_variants[0];
    for (size_t i = 0; i < atoll__crc32c_variants_count; i++) {
        const atoll__crc32c_variant_t *variant = &atoll__crc32c_variants[i];
        if (!variant->usable()) continue;
        if (name != NULL && strcmp(name, variant->name) == 0) return variant;
        best = variant;
    }
    return best;
}

/* A constructor, not a branch in each call: nobody can call the library before its end. */
__attribute__((constructor)) void atoll__crc32c_choose(void) {
    const atoll__crc32c_variant_t *variant = atoll__crc32c_pick(getenv("ATOLL_CRC32C"));
    const atoll__crc32c_variant_t *best = atoll__crc32c_pick(NULL);
    if (best->instruction) {
        /* Also for a variant that is not chosen: tests call each. */
        atoll__crc32c_shift[1] = 1;
        for (size_t j = 1; j + 1 < ATOLL__CRC32C_SHIFTS; j++)
            atoll__crc32c_shift[j + 1] = (uint32_t)atoll__crc32c_step(atoll__crc32c_shift[j], 0);
    }
    atoll__crc32c_chosen = *variant;
}

uint32_t atoll__crc32c_header_copied(const atoll_frame_t *header) {
    atoll_frame_t copy = *header;
    copy.crc32c = 0;
    return atoll__crc32c(0, &copy, sizeof copy);
}
