/* Free units, as runs of neighbours.
 *
 * Owns: which units are free, and which free ones still hold memory. Must not know what a unit is
 * used for. Runs are filed by length in two levels and found by their ends, so that taking and giving
 * look at no other unit: two-level segregated fit with boundary tags (Masmano, Ripoll, Crespo, Real,
 * "TLSF: a new dynamic memory allocator for real-time systems", ECRTS 2004). */
#include <string.h>

#include "arena.h"

/* Lengths below 8 have a bin each, above that each power of two has eight. */
#define STEP_BITS 3u
#define STEPS (1u << STEP_BITS)
#define BINS 160u
/* Free units that may keep their pages: what was just used is used again soon. */
#define KEPT_UNITS_MAX 128u

static struct {
    uint32_t *lengths; /* by the first and by the last unit of a run, 0 elsewhere */
    uint32_t *next;    /* by first unit: the runs of a bin, 0 at the end */
    uint32_t *before;
    uint8_t *touched; /* by unit: may hold memory */
    uint32_t top;
    uint32_t kept_max;
    _Atomic uint32_t kept; /* free units that are touched; written under the lock */
    uint32_t heads[BINS];
    uint64_t filled[(BINS + 63) / 64];
} units;

static uint32_t bin_of(uint32_t length) {
    if (length < STEPS) return length;
    uint32_t level = 31u - (uint32_t)__builtin_clz(length);
    return (level - STEP_BITS + 1) * STEPS + ((length >> (level - STEP_BITS)) & (STEPS - 1));
}

/* The first bin whose every run has that length. */
static uint32_t bin_above(uint32_t length) {
    if (length < STEPS) return length;
    uint32_t level = 31u - (uint32_t)__builtin_clz(length);
    return bin_of(length + (1u << (level - STEP_BITS)) - 1);
}

static void run_insert(uint32_t first, uint32_t length) {
    uint32_t bin = bin_of(length);
    units.lengths[first] = length;
    units.lengths[first + length - 1] = length;
    units.before[first] = 0;
    units.next[first] = units.heads[bin];
    if (units.heads[bin] != 0) units.before[units.heads[bin]] = first;
    units.heads[bin] = first;
    units.filled[bin / 64] |= 1ull << bin % 64;
}

static void run_remove(uint32_t first) {
    uint32_t length = units.lengths[first];
    uint32_t bin = bin_of(length);
    uint32_t next = units.next[first];
    uint32_t before = units.before[first];
    if (next != 0) units.before[next] = before;
    if (before != 0)
        units.next[before] = next;
    else
        units.heads[bin] = next;
    if (units.heads[bin] == 0) units.filled[bin / 64] &= ~(1ull << bin % 64);
    units.lengths[first] = 0;
    units.lengths[first + length - 1] = 0;
}

bool atoll__units_open(uint32_t count) {
    units.lengths = atoll__prim_reserve(count * sizeof *units.lengths);
    units.next = atoll__prim_reserve(count * sizeof *units.next);
    units.before = atoll__prim_reserve(count * sizeof *units.before);
    units.touched = atoll__prim_reserve(count * sizeof *units.touched);
    if (units.lengths == NULL || units.next == NULL || units.before == NULL ||
        units.touched == NULL)
        return false;
    /* An arena that could not be opened is opened anew. */
    memset(units.heads, 0, sizeof units.heads);
    memset(units.filled, 0, sizeof units.filled);
    units.kept_max = count / 8 < KEPT_UNITS_MAX ? count / 8 : KEPT_UNITS_MAX;
    units.top = 1;
    /* Slot 0 means "none": the first unit is never handed out. */
    run_insert(1, count - 1);
    return true;
}

/* A run of at least that length, 0 when there is none. */
static uint32_t run_find(uint32_t length) {
    uint32_t bin = bin_above(length);
    for (uint32_t word = bin / 64; word < sizeof units.filled / sizeof units.filled[0]; word++) {
        uint64_t filled = units.filled[word];
        if (word == bin / 64) filled &= ~0ull << bin % 64;
        if (filled != 0) return units.heads[word * 64 + (uint32_t)__builtin_ctzll(filled)];
    }
    /* Almost full: the bin below has longer and shorter ones. */
    for (uint32_t run = units.heads[bin_of(length)]; run != 0; run = units.next[run])
        if (units.lengths[run] >= length) return run;
    return 0;
}

uint32_t atoll__units_take(uint32_t count) {
    uint32_t first = run_find(count);
    if (first == 0) return 0;
    uint32_t length = units.lengths[first];
    run_remove(first);
    if (length > count) run_insert(first + count, length - count);
    if (first + count > units.top) units.top = first + count;
    uint32_t kept = 0;
    for (uint32_t unit = first; unit < first + count; unit++) kept += units.touched[unit];
    atomic_fetch_sub_explicit(&units.kept, kept, memory_order_relaxed);
    return first;
}

void atoll__units_give(uint32_t first, uint32_t count, bool clean) {
    for (uint32_t unit = first; unit < first + count; unit++) units.touched[unit] = !clean;
    if (!clean) atomic_fetch_add_explicit(&units.kept, count, memory_order_relaxed);
    uint32_t begin = first;
    uint32_t length = count;
    /* The last unit of the run on the left, the first of the run on the right, if they are free. */
    uint32_t left = units.lengths[first - 1];
    if (left != 0) {
        begin -= left;
        length += left;
        run_remove(begin);
    }
    uint32_t end = first + count;
    uint32_t right = end < atoll__arena.units ? units.lengths[end] : 0;
    if (right != 0) {
        run_remove(end);
        length += right;
    }
    run_insert(begin, length);
}

bool atoll__units_kept(uint32_t count) {
    return atomic_load_explicit(&units.kept, memory_order_relaxed) + count <= units.kept_max;
}

uint32_t atoll__units_top(void) {
    return units.top;
}
