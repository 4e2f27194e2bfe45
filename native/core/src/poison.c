/* Poison, in debug builds: whoever writes into a slot that was given back is found.
 *
 * Owns: what lies in free slots and how a finding is reported. Must not know who uses slots. A free
 * slot is filled with one byte and, under AddressSanitizer, cannot be touched; a slot that is taken
 * must look as it was left, belong to nobody, and starts with another byte. */
#include "arena.h"

#ifdef ATOLL__POISON

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, bytes) ((void)(start))
#define ASAN_UNPOISON_MEMORY_REGION(start, bytes) ((void)(start))
#endif

#define GIVEN 0xDF
#define TAKEN 0xA5
/* Of large slots only so much is filled and looked at. */
#define LOOKED_AT 65536u

static _Atomic uint32_t *filled; /* by cell: bytes of the slot that was given back there, 0: none */

static void report(const char *what, uint32_t slot) {
    (void)fprintf(stderr, "atoll: slot %u %s\n", slot, what);
    abort();
}

void (*atoll__poison_report)(const char *what, uint32_t slot) = report;

bool atoll__poison_open(uint32_t cells) {
    filled = atoll__prim_reserve(cells * sizeof *filled);
    return filled != NULL;
}

static bool is_clean(const uint8_t *bytes, uint32_t length) {
    /* The first byte is right and each is as the one before it. */
    return bytes[0] == GIVEN && memcmp(bytes, bytes + 1, length - 1) == 0;
}

void atoll__poison_take(uint32_t cell, uint32_t bytes) {
    uint8_t *start = atoll__slot_bytes(cell);
    ASAN_UNPOISON_MEMORY_REGION(start, bytes);
    if (atomic_load_explicit(atoll__owner_of(cell), memory_order_relaxed) != 0)
        atoll__poison_report("was handed out while it belongs to somebody", cell);
    /* A unit that was cut into smaller slots before holds the traces of several. */
    for (uint32_t at = 0; at < bytes / ATOLL_SLOT_BYTES; at++) {
        uint32_t length = atomic_exchange_explicit(&filled[cell + at], 0, memory_order_relaxed);
        uint32_t rest = bytes - at * ATOLL_SLOT_BYTES;
        if (length > rest) length = rest;
        if (length > 0 && !is_clean(start + (size_t)at * ATOLL_SLOT_BYTES, length))
            atoll__poison_report("was written to after it was given back", cell + at);
    }
    memset(start, TAKEN, bytes < LOOKED_AT ? bytes : LOOKED_AT);
}

void atoll__poison_give(uint32_t cell, uint32_t bytes) {
    uint8_t *start = atoll__slot_bytes(cell);
    uint32_t length = bytes < LOOKED_AT ? bytes : LOOKED_AT;
    memset(start, GIVEN, length);
    /* The pages of an extent may go back to the system: it then reads as zero. */
    if (bytes <= LOOKED_AT) atomic_store_explicit(&filled[cell], length, memory_order_relaxed);
    ASAN_POISON_MEMORY_REGION(start, bytes);
}

void atoll__poison_double(uint32_t cell) {
    atoll__poison_report("was freed by the library, which does not hold it", cell);
}

#endif
