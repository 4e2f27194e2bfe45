/* CRC-32C by one chain of CRC instructions, by three, and by three beside folding vectors.
 *
 * Owns: what is the same on every processor with a CRC instruction and a carry-less multiplier.
 * Must not know their names: crc32c_x86.c and crc32c_arm.c define these and then include it once.
 *
 *     SCALAR, FOLDING     function attributes: CRC instructions; the multiplier as well
 *     vector_t            128 bits, with the operator ^; the first word in the low half
 *     step, step_4, step_2, step_1   the CRC instruction over 8, 4, 2, 1 bytes
 *     product, low, high  the carry-less product of two 32-bit values; the halves of a vector
 *     load, first         16 bytes; a 32-bit value in front of zeros
 *     fold                vector x over the distance of fold_by(words), onto the next
 *     TRIPLE_BYTES_MIN, FUSED_BYTES_MIN    from where on it pays
 *
 * One chain waits for each instruction's latency, three cycles on x86-64; three chains over thirds
 * of the bytes fill the unit (Gopal et al., Intel 2011). Folding runs in other units, so both are
 * done at once over parts of their own (Peter Cawley, "Faster CRC32-C on x86", corsix.org). What
 * comes of the parts is moved to the end of the last one and put into its last words: their steps
 * reduce it all. Formulae: crc32c.c. Registers are not inverted here. */
#ifndef ATOLL_CRC32C_CHAINS_H
#define ATOLL_CRC32C_CHAINS_H

/* Words that each chain takes in a turn of a fused loop: nine instructions beside the folding. */
#define TURN_STEPS 3u
/* At most so many words are joined at once; the table of constants ends there. */
#define TRIPLE_WORDS_MAX 1024u
#define FUSED_WORDS_MAX 1024u
#define FUSED_VECTOR_WORDS 8u /* four accumulators of two words */

/* The longest chain of a fused block with vectors of so many words a turn. */
#define CHAIN_WORDS_MAX(block, vector) \
    ((block) / ((vector) + 3u * TURN_STEPS) * TURN_STEPS + ((vector) + 3u * TURN_STEPS) / 3u)
_Static_assert(TRIPLE_WORDS_MAX / 3u * 2u < ATOLL__CRC32C_SHIFTS, "the first chain's move");
_Static_assert(
    3u * CHAIN_WORDS_MAX(FUSED_WORDS_MAX, FUSED_VECTOR_WORDS) + FUSED_VECTOR_WORDS <=
        ATOLL__CRC32C_SHIFTS,
    "the first vector's move");

#define NOINLINE __attribute__((noinline))

static inline uint64_t word_at(const uint8_t *at) {
    return atoll__crc32c_word_at(at);
}

SCALAR static inline uint32_t chain(uint32_t crc, const uint8_t *at, size_t length) {
    uint64_t wide = crc;
    for (; length >= 32; at += 32, length -= 32) {
        wide = step(wide, word_at(at));
        wide = step(wide, word_at(at + 8));
        wide = step(wide, word_at(at + 16));
        wide = step(wide, word_at(at + 24));
    }
    for (; length >= 8; at += 8, length -= 8) wide = step(wide, word_at(at));
    crc = (uint32_t)wide;
    if ((length & 4) != 0) {
        uint32_t four;
        memcpy(&four, at, 4);
        crc = step_4(crc, four);
        at += 4;
    }
    if ((length & 2) != 0) {
        uint16_t two;
        memcpy(&two, at, 2);
        crc = step_2(crc, two);
        at += 2;
    }
    return (length & 1) != 0 ? step_1(crc, *at) : crc;
}

/* Three chains over adjacent parts of the same length. */
typedef struct chains {
    const uint8_t *at0, *at1, *at2;
    size_t words; /* of each */
    size_t done;
    uint64_t crc0, crc1, crc2;
} chains_t;

static inline chains_t chains_over(const uint8_t *at, size_t words, uint32_t crc) {
    return (chains_t){
        .at0 = at,
        .at1 = at + 8 * words,
        .at2 = at + 16 * words,
        .words = words,
        .crc0 = crc,
    };
}

SCALAR static inline void chains_step(chains_t *chains) {
    size_t at = 8 * chains->done++;
    chains->crc0 = step(chains->crc0, word_at(chains->at0 + at));
    chains->crc1 = step(chains->crc1, word_at(chains->at1 + at));
    chains->crc2 = step(chains->crc2, word_at(chains->at2 + at));
}

/* What a checksum is after so many words of zeros, still to be reduced by the last one's step. */
FOLDING static inline vector_t moved(uint64_t crc, size_t words) {
    return product((uint32_t)crc, atoll__crc32c_shift[words]);
}

/* Ends the chains, of two words at least. `tail`: what comes before them, folded onto the last two
 * words of all. */
FOLDING static inline uint32_t chains_join(chains_t *chains, vector_t tail) {
    while (chains->done + 2 < chains->words) chains_step(chains);
    size_t at = 8 * chains->done;
    uint64_t crc0 = step(chains->crc0, word_at(chains->at0 + at));
    uint64_t crc1 = step(chains->crc1, word_at(chains->at1 + at));
    uint64_t crc2 = step(chains->crc2, word_at(chains->at2 + at) ^ low(tail));
    crc0 = step(crc0, word_at(chains->at0 + at + 8));
    crc1 = step(crc1, word_at(chains->at1 + at + 8));
    vector_t sum = moved(crc0, 2 * chains->words) ^ moved(crc1, chains->words);
    return (uint32_t)step(crc2, word_at(chains->at2 + at + 8) ^ high(tail) ^ low(sum));
}

/* Takes and gives the checksum as callers know it, as all that follow do. */
FOLDING NOINLINE static uint32_t triple(uint32_t crc, const uint8_t *at, size_t length) {
    crc = ~crc;
    while (length >= TRIPLE_BYTES_MIN) {
        size_t words = length / 8;
        if (words > TRIPLE_WORDS_MAX) words = TRIPLE_WORDS_MAX;
        chains_t chains = chains_over(at, words / 3, crc);
        crc = chains_join(&chains, (vector_t){0});
        at += 24 * chains.words;
        length -= 24 * chains.words;
    }
    return ~chain(crc, at, length);
}

/* Words of each chain of a fused block: a turn of it folds `vector` words. */
static inline size_t fused_chain_words(size_t words, size_t turns, size_t vector) {
    return turns * TURN_STEPS + (words - turns * (vector + 3 * TURN_STEPS)) / 3;
}

/* One block: the vectors' part comes first, then the chains'. Gives the bytes it took. */
FOLDING static inline size_t fused_block(uint32_t *crc, const uint8_t *at, size_t words) {
    size_t turns = words / (FUSED_VECTOR_WORDS + 3 * TURN_STEPS);
    size_t each = fused_chain_words(words, turns, FUSED_VECTOR_WORDS);
    chains_t chains = chains_over(at + 8 * FUSED_VECTOR_WORDS * turns, each, 0);
    const vector_t over = fold_by(FUSED_VECTOR_WORDS);
    vector_t x0 = load(at) ^ first(*crc);
    vector_t x1 = load(at + 16);
    vector_t x2 = load(at + 32);
    vector_t x3 = load(at + 48);
    for (size_t turn = 1; turn < turns; turn++) {
        at += 8 * FUSED_VECTOR_WORDS;
        x0 = fold(x0, over, load(at));
        x1 = fold(x1, over, load(at + 16));
        x2 = fold(x2, over, load(at + 32));
        x3 = fold(x3, over, load(at + 48));
        chains_step(&chains);
        chains_step(&chains);
        chains_step(&chains);
    }
    /* Each goes straight over the chains: one after the other onto the next would wait. */
    vector_t tail = fold(x3, fold_by(3 * each), (vector_t){0});
    tail = fold(x2, fold_by(3 * each + 2), tail);
    tail = fold(x1, fold_by(3 * each + 4), tail);
    tail = fold(x0, fold_by(3 * each + 6), tail);
    *crc = chains_join(&chains, tail);
    return 8 * FUSED_VECTOR_WORDS * turns + 24 * each;
}

FOLDING NOINLINE static uint32_t fused(uint32_t crc, const uint8_t *at, size_t length) {
    crc = ~crc;
    while (length >= FUSED_BYTES_MIN) {
        size_t words = length / 8 < FUSED_WORDS_MAX ? length / 8 : FUSED_WORDS_MAX;
        size_t taken = fused_block(&crc, at, words);
        at += taken;
        length -= taken;
    }
    return triple(~crc, at, length);
}

#endif
