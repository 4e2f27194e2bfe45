/* Frames from tests/corpus/wire, as the C tests see them.
 *
 * Owns: the format of the vector files. Must not know how frames are read. */
#ifndef ATOLL_TEST_VECTORS_H
#define ATOLL_TEST_VECTORS_H

#include "harness.h"

#define VECTOR_PARTS_MAX ATOLL_PARTS_MAX

typedef struct vector {
    char name[128];
    atoll_level_t level;
    bool remote;
    uint8_t *bytes; /* exactly `size` bytes of heap, so that a read beyond them is noticed */
    size_t size;
    atoll_fault_t fault;
    atoll_frame_t frame; /* kind, flags, request_id, target, budget_us, payload_length */
    uint64_t length;
    bool traced;
    atoll_trace_t trace;
    bool timed;
    atoll_deadline_t deadline;
    uint32_t parts_count;
    atoll_part_t parts[VECTOR_PARTS_MAX];
    uint8_t *payload;
} vector_t;

/* Calls `see` with each vector; returns how many there are. */
uint32_t vectors_each(void (*see)(const vector_t *vector));
/* `none` for a fault's number, as the files write it. */
const char *vector_fault_name(atoll_fault_t fault);

#endif
