/* A lock-free stack of indices, linked by an array outside of what it links.
 *
 * Owns: the head word with its ABA tag. Must not know what the indices stand for. Links lie outside
 * of the memory that is handed out, so that a stray write into a slot cannot bend the list. */
#ifndef ATOLL_STACK_H
#define ATOLL_STACK_H

#include <stdint.h>

#include "sync.h"

/* Low half: top index plus one, 0 when empty. High half: a tag that grows with each change, so that
 * a head which was popped and pushed again in between never compares equal (ABA). */
typedef struct atoll__stack {
    _Alignas(64) _Atomic uint64_t head;
} atoll__stack_t;

#define ATOLL__STACK_EMPTY UINT32_MAX

static inline uint64_t atoll__stack_word(uint64_t old, uint32_t top) {
    return (((old >> 32) + 1u) << 32) | top;
}

/* Pushes a chain that the caller linked from first to last. */
static inline void atoll__stack_push_chain(
    atoll__stack_t *stack, _Atomic uint32_t *links, uint32_t first, uint32_t last) {
    uint64_t old = atomic_load_explicit(&stack->head, memory_order_relaxed);
    do {
        atomic_store_explicit(&links[last], (uint32_t)old, memory_order_relaxed);
        /* SYNC POINT: stack-push releases what the pusher wrote, for the pops. */
    } while (!atomic_compare_exchange_weak_explicit(
        &stack->head, &old, atoll__stack_word(old, first + 1u), ATOLL__SYNC(stack_push, release),
        memory_order_relaxed));
}

static inline void atoll__stack_push(
    atoll__stack_t *stack, _Atomic uint32_t *links, uint32_t index) {
    atoll__stack_push_chain(stack, links, index, index);
}

/* Takes the top index, or ATOLL__STACK_EMPTY. */
static inline uint32_t atoll__stack_pop(atoll__stack_t *stack, _Atomic uint32_t *links) {
    /* SYNC POINT: stack-push, the popper's end: what the pusher wrote, its link first of all. */
    uint64_t old = atomic_load_explicit(&stack->head, ATOLL__SYNC(stack_push, acquire));
    for (;;) {
        uint32_t top = (uint32_t)old;
        if (top == 0) return ATOLL__STACK_EMPTY;
        /* May be stale when another thread popped this index; the tag then fails the exchange. */
        uint32_t next = atomic_load_explicit(&links[top - 1u], memory_order_relaxed);
        ATOLL__WINDOW();
        /* SYNC POINT: stack-push, as above: another pusher may have been faster. */
        if (atomic_compare_exchange_weak_explicit(
                &stack->head, &old, atoll__stack_word(old, next), ATOLL__SYNC(stack_push, acquire),
                ATOLL__SYNC(stack_push, acquire)))
            return top - 1u;
    }
}

/* Takes the whole chain: its first index, or ATOLL__STACK_EMPTY. The caller follows the links
 * (index plus one, 0 at the end). */
static inline uint32_t atoll__stack_take_all(atoll__stack_t *stack) {
    uint64_t old = atomic_load_explicit(&stack->head, memory_order_relaxed);
    do {
        if ((uint32_t)old == 0) return ATOLL__STACK_EMPTY;
        /* SYNC POINT: stack-push, the taker's end. */
    } while (!atomic_compare_exchange_weak_explicit(
        &stack->head, &old, atoll__stack_word(old, 0), ATOLL__SYNC(stack_push, acquire),
        memory_order_relaxed));
    return (uint32_t)old - 1u;
}

#endif
