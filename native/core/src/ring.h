/* A ring between one producer and one consumer.
 *
 * Owns: the two indices. Must not know what the items are; they lie where the caller says.
 *
 * Each side keeps its own index and what it last saw of the other's in private memory (a side): it
 * looks at the peer's line only when what it knows is not enough (the idea of MCRingBuffer: Lee,
 * Bu, Chandranmenon, IPDPS 2010), and never trusts it. An index that moved backwards or further
 * than the peer can have gone is answered with ATOLL__RING_CORRUPT; no item outside of the ring is
 * touched, whatever a peer writes. No pointers inside: indices and items may lie in a segment that
 * is mapped at different addresses. All zero is an empty ring with its two sides. */
#ifndef ATOLL_RING_H
#define ATOLL_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "sync.h"

#define ATOLL__RING_CORRUPT UINT32_MAX

/* Items ever pushed and popped, modulo 2^32. */
typedef struct atoll__ring {
    _Alignas(ATOLL__LINE_BYTES) _Atomic uint32_t tail; /* the producer writes */
    _Alignas(ATOLL__LINE_BYTES) _Atomic uint32_t head; /* the consumer writes */
} atoll__ring_t;

/* What one side knows. Lies where the peer cannot write. */
typedef struct atoll__ring_side {
    uint32_t own;
    uint32_t peer;
} atoll__ring_side_t;

/* Free places, looked up again only when fewer than `wanted` are known; a power of two is the
 * capacity. For the producer. */
static inline uint32_t atoll__ring_room(
    atoll__ring_t *ring, atoll__ring_side_t *side, uint32_t capacity, uint32_t wanted) {
    uint32_t used = side->own - side->peer;
    if (capacity - used >= wanted) return capacity - used;
    /* SYNC POINT: ring-popped; the consumer has read what lay in the places. */
    uint32_t head = atomic_load_explicit(&ring->head, ATOLL__SYNC(ring_popped, acquire));
    if (head - side->peer > used) return ATOLL__RING_CORRUPT;
    side->peer = head;
    return capacity - (side->own - head);
}

/* Items to be had, looked up again only when fewer than `wanted` are known. For the consumer. */
static inline uint32_t atoll__ring_ready(
    atoll__ring_t *ring, atoll__ring_side_t *side, uint32_t capacity, uint32_t wanted) {
    uint32_t known = side->peer - side->own;
    if (known >= wanted) return known;
    /* SYNC POINT: ring-pushed, the consumer's end. */
    uint32_t tail = atomic_load_explicit(&ring->tail, ATOLL__SYNC(ring_pushed, acquire));
    uint32_t ready = tail - side->own;
    if (ready > capacity || ready < known) return ATOLL__RING_CORRUPT;
    side->peer = tail;
    return ready;
}

static inline uint8_t *atoll__ring_place(
    void *items, uint32_t capacity, uint32_t item_bytes, uint32_t index) {
    return (uint8_t *)items + (size_t)(index & (capacity - 1u)) * item_bytes;
}

/* Copies up to `count` items of item_bytes in; returns how many, or ATOLL__RING_CORRUPT. */
static inline uint32_t atoll__ring_push(
    atoll__ring_t *ring, atoll__ring_side_t *side, void *items, uint32_t capacity,
    uint32_t item_bytes, const void *from, uint32_t count) {
    uint32_t room = atoll__ring_room(ring, side, capacity, count);
    if (room == ATOLL__RING_CORRUPT) return room;
    if (count > room) count = room;
    if (count == 0) return 0;
    for (uint32_t i = 0; i < count; i++)
        memcpy(
            atoll__ring_place(items, capacity, item_bytes, side->own + i),
            (const uint8_t *)from + (size_t)i * item_bytes, item_bytes);
    side->own += count;
    ATOLL__WINDOW();
    /* SYNC POINT: ring-pushed; for the load in atoll__ring_ready. */
    atomic_store_explicit(&ring->tail, side->own, ATOLL__SYNC(ring_pushed, release));
    return count;
}

/* Copies up to `count` items out; returns how many, or ATOLL__RING_CORRUPT. */
static inline uint32_t atoll__ring_pop(
    atoll__ring_t *ring, atoll__ring_side_t *side, void *items, uint32_t capacity,
    uint32_t item_bytes, void *to, uint32_t count) {
    uint32_t ready = atoll__ring_ready(ring, side, capacity, count);
    if (ready == ATOLL__RING_CORRUPT) return ready;
    if (count > ready) count = ready;
    if (count == 0) return 0;
    for (uint32_t i = 0; i < count; i++)
        memcpy(
            (uint8_t *)to + (size_t)i * item_bytes,
            atoll__ring_place(items, capacity, item_bytes, side->own + i), item_bytes);
    side->own += count;
    ATOLL__WINDOW();
    /* SYNC POINT: ring-popped; for the load in atoll__ring_room. */
    atomic_store_explicit(&ring->head, side->own, ATOLL__SYNC(ring_popped, release));
    return count;
}

#endif
