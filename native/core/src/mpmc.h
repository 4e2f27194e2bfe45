/* A bounded queue of 64-bit values for any number of producers and consumers.
 *
 * Owns: positions and turns. Must not know what the values stand for, nor how callers wait.
 *
 * Dmitry Vyukov's bounded MPMC queue (1024cores.net, 2010): each cell carries a turn, which says
 * whose it is, so that a push and a pop meet in the cell and not in the other side's index. Unlike
 * his, it is linearizable: "empty" and "full" are answered only when they are true at one moment;
 * when another thread stands between its two steps, the answer is "busy", and the caller decides
 * whether to spin, yield or do something else. No function waits for another thread.
 *
 * "Empty" and "full" take a look at the other side's index, and each such look costs the other side
 * a transfer of its line. A consumer that is as fast as its producer would take one for each value
 * (bench `queue`: four times as slow), so a few looks at the cell come first.
 *
 * There are no pointers inside, and the capacity is the caller's, never read from memory that a
 * peer may write: a queue can lie in a segment that is mapped at different addresses, and whatever
 * stands in it, nothing beyond its cells is touched. */
#ifndef ATOLL_MPMC_H
#define ATOLL_MPMC_H

#include <stddef.h>
#include <stdint.h>

#include "sync.h"

/* Looks at a cell that is not ready before the index of the other side: 100 to 300 ns. */
#ifndef ATOLL__MPMC_LOOKS
#define ATOLL__MPMC_LOOKS 6
#endif

typedef enum atoll__mpmc_answer {
    ATOLL__MPMC_DONE = 0,
    /* Push: as many values as places. Pop: no value. */
    ATOLL__MPMC_FULL = 1,
    ATOLL__MPMC_EMPTY = 1,
    /* Neither: another thread has taken the place that is next and not finished with it. */
    ATOLL__MPMC_BUSY = 2
} atoll__mpmc_answer_t;

typedef struct atoll__mpmc_cell {
    /* position: free for the push of that position. position + 1: filled for its pop. Then
     * position + capacity. Positions are 64 bits wide: they do not come round. */
    _Atomic uint64_t turn;
    uint64_t value;
} atoll__mpmc_cell_t;

typedef struct atoll__mpmc {
    _Alignas(2 * ATOLL__LINE_BYTES) _Atomic uint64_t tail; /* positions taken by pushes */
    _Alignas(2 * ATOLL__LINE_BYTES) _Atomic uint64_t head; /* positions taken by pops */
    _Alignas(2 * ATOLL__LINE_BYTES) atoll__mpmc_cell_t cells[];
} atoll__mpmc_t;

/* Bytes of a queue for `capacity` values; a power of two, at least 2. */
static inline size_t atoll__mpmc_bytes(uint32_t capacity) {
    return sizeof(atoll__mpmc_t) + (size_t)capacity * sizeof(atoll__mpmc_cell_t);
}

/* Makes it empty. Nobody else may use it yet. */
static inline void atoll__mpmc_init(atoll__mpmc_t *queue, uint32_t capacity) {
    atomic_store_explicit(&queue->tail, 0, memory_order_relaxed);
    atomic_store_explicit(&queue->head, 0, memory_order_relaxed);
    for (uint32_t i = 0; i < capacity; i++)
        atomic_store_explicit(&queue->cells[i].turn, i, memory_order_relaxed);
}

/* Whether the turn changes soon. */
static inline bool atoll__mpmc_look(atoll__mpmc_cell_t *cell, uint64_t turn) {
    for (int i = 0; i < ATOLL__MPMC_LOOKS; i++) {
        atoll__relax();
        if (atomic_load_explicit(&cell->turn, memory_order_relaxed) != turn) return true;
    }
    return false;
}

static inline atoll__mpmc_answer_t atoll__mpmc_push(
    atoll__mpmc_t *queue, uint32_t capacity, uint64_t value) {
    uint64_t position = atomic_load_explicit(&queue->tail, memory_order_relaxed);
    for (;;) {
        atoll__mpmc_cell_t *cell = &queue->cells[position & (capacity - 1u)];
        /* SYNC POINT: mpmc-emptied; the value of the last lap was read. */
        uint64_t turn = atomic_load_explicit(&cell->turn, ATOLL__SYNC(mpmc_emptied, acquire));
        if (turn == position) {
            ATOLL__WINDOW();
            /* SYNC POINT: mpmc-place, as below. */
            if (!atomic_compare_exchange_weak_explicit(
                    &queue->tail, &position, position + 1, ATOLL__SYNC(mpmc_place, seq_cst),
                    memory_order_relaxed))
                continue;
            cell->value = value;
            ATOLL__WINDOW();
            /* SYNC POINT: mpmc-filled; for the load in atoll__mpmc_pop. */
            atomic_store_explicit(&cell->turn, position + 1, ATOLL__SYNC(mpmc_filled, release));
            return ATOLL__MPMC_DONE;
        }
        bool behind = turn < position; /* else another push was faster */
        if (behind && atoll__mpmc_look(cell, turn)) continue;
        /* SYNC POINT: mpmc-place. Places are taken, and looked at for these answers, in one order
         * that all agree on: else one thread could see the queue full before a pop and another
         * find it empty after it. */
        uint64_t head = atomic_load_explicit(&queue->head, ATOLL__SYNC(mpmc_place, seq_cst));
        /* SYNC POINT: mpmc-place, behind the look at the head. */
        uint64_t tail = atomic_load_explicit(&queue->tail, ATOLL__SYNC(mpmc_place, seq_cst));
        if (tail == position)
            /* The tail stood still while the head was read: it was full then, or the pop of a lap
             * ago has its value and has not said so. */
            return position - head == capacity ? ATOLL__MPMC_FULL : ATOLL__MPMC_BUSY;
        position = tail;
    }
}

static inline atoll__mpmc_answer_t atoll__mpmc_pop(
    atoll__mpmc_t *queue, uint32_t capacity, uint64_t *value) {
    uint64_t position = atomic_load_explicit(&queue->head, memory_order_relaxed);
    for (;;) {
        atoll__mpmc_cell_t *cell = &queue->cells[position & (capacity - 1u)];
        /* SYNC POINT: mpmc-filled, the consumer's end. */
        uint64_t turn = atomic_load_explicit(&cell->turn, ATOLL__SYNC(mpmc_filled, acquire));
        if (turn == position + 1) {
            ATOLL__WINDOW();
            /* SYNC POINT: mpmc-place, as below. */
            if (!atomic_compare_exchange_weak_explicit(
                    &queue->head, &position, position + 1, ATOLL__SYNC(mpmc_place, seq_cst),
                    memory_order_relaxed))
                continue;
            *value = cell->value;
            ATOLL__WINDOW();
            /* SYNC POINT: mpmc-emptied; for the load in atoll__mpmc_push. */
            atomic_store_explicit(
                &cell->turn, position + capacity, ATOLL__SYNC(mpmc_emptied, release));
            return ATOLL__MPMC_DONE;
        }
        bool behind = turn <= position; /* else another pop was faster */
        if (behind && atoll__mpmc_look(cell, turn)) continue;
        /* SYNC POINT: mpmc-place, as above. Empty when the tail was read, if the head stood still. */
        uint64_t tail = atomic_load_explicit(&queue->tail, ATOLL__SYNC(mpmc_place, seq_cst));
        /* SYNC POINT: mpmc-place, behind the look at the tail. */
        uint64_t head = atomic_load_explicit(&queue->head, ATOLL__SYNC(mpmc_place, seq_cst));
        if (head == position) return tail == position ? ATOLL__MPMC_EMPTY : ATOLL__MPMC_BUSY;
        position = head;
    }
}

#endif
