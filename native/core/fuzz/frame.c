/* Any bytes read as a frame: refused or read, never beyond their end, and the same by each door. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "harness.h"

static bool inside(const uint8_t *at, uint64_t length, const uint8_t *bytes, size_t size) {
    return at >= bytes && at <= bytes + size && length <= (uint64_t)(bytes + size - at);
}

static void check_bounds(const atoll__message_t *message, const uint8_t *bytes, size_t size) {
    CHECK(inside(message->payload, message->frame.payload_length, bytes, size));
    if (message->parts_count == 0) return;
    CHECK(message->parts_count <= ATOLL_PARTS_MAX);
    CHECK(inside(message->parts, message->parts_count * sizeof(atoll_part_t), bytes, size));
    uint64_t sum = 0;
    for (uint32_t i = 0; i < message->parts_count; i++) {
        atoll_part_t part;
        memcpy(&part, message->parts + i * sizeof part, sizeof part);
        CHECK(part.length > 0 && (uint64_t)part.offset + part.length <= UINT32_MAX);
        sum += part.length;
    }
    CHECK_EQUAL(sum, message->parts_bytes);
}

/* Written again from what was read, it reads the same. */
static void check_again(const atoll__message_t *message) {
    atoll_frame_t frame = message->frame;
    uint8_t extensions[64];
    uint32_t length = 0;
    if (atoll__message_has(message, ATOLL_EXTENSION_TRACE)) {
        atoll_trace_t trace = atoll__trace_extension(&message->trace);
        memcpy(extensions, &trace, sizeof trace);
        length += (uint32_t)sizeof trace;
    }
    frame.extension_words = (uint16_t)(length / 8u);
    size_t size = (size_t)atoll__frame_bytes(&frame);
    uint8_t *bytes = malloc(size);
    CHECK(bytes != NULL);
    atoll__frame_write(bytes, &frame, extensions, message->payload);
    atoll__message_t again;
    CHECK_EQUAL(
        atoll__frame_read(bytes, size, ATOLL_LEVEL_STRUCTURE, &again), ATOLL_FAULT_NONE);
    CHECK_EQUAL(again.frame.request_id, message->frame.request_id);
    CHECK_EQUAL(again.frame.payload_length, message->frame.payload_length);
    bool same = frame.payload_length == 0 ||
                memcmp(again.payload, message->payload, frame.payload_length) == 0;
    CHECK(same);
    CHECK_EQUAL(
        atoll__message_has(&again, ATOLL_EXTENSION_TRACE),
        atoll__message_has(message, ATOLL_EXTENSION_TRACE));
    free(bytes);
}

static void check(const uint8_t *data, size_t size) {
    /* Exactly as large as the input, so that a sanitizer sees the first byte too far. */
    uint8_t *bytes = malloc(size + 1);
    uint8_t *copy = malloc(size + 1);
    CHECK(bytes != NULL && copy != NULL);
    bytes = realloc(bytes, size == 0 ? 1 : size);
    copy = realloc(copy, size == 0 ? 1 : size);
    if (size > 0) memcpy(bytes, data, size);
    atoll__message_t message;
    atoll_fault_t faults[3];
    for (atoll_level_t level = ATOLL_LEVEL_HEADER; level <= ATOLL_LEVEL_FULL; level++) {
        faults[level] = atoll__frame_read(bytes, size, level, &message);
        CHECK(faults[level] <= ATOLL_FAULT_PADDING);
        if (faults[level] != ATOLL_FAULT_NONE) continue;
        check_bounds(&message, bytes, size);
        if (level == ATOLL_LEVEL_STRUCTURE) check_again(&message);
        /* A level does what the one before does. */
        if (level > 0) CHECK_EQUAL(faults[level - 1], ATOLL_FAULT_NONE);
    }
    if (faults[0] != ATOLL_FAULT_NONE) CHECK_EQUAL(faults[1], faults[0]);
    atoll__message_t shared;
    CHECK_EQUAL(
        atoll__frame_receive(ATOLL__PEER_SHARED, bytes, size, copy, size, &shared), faults[2]);
    if (faults[2] == ATOLL_FAULT_NONE) check_bounds(&shared, copy, size);
    atoll_fault_t remote =
        atoll__frame_receive(ATOLL__PEER_REMOTE, bytes, size, NULL, 0, &message);
    CHECK(remote == faults[2] || remote == ATOLL_FAULT_CLOCK);
    free(copy);
    free(bytes);
}

/* Writes the checksum that the frame ought to have; false: it has no room for what it claims. */
static bool mend(uint8_t *bytes, size_t size) {
    atoll_frame_t frame;
    if (size < sizeof frame) return false;
    memcpy(&frame, bytes, sizeof frame);
    uint64_t end = sizeof frame + (uint64_t)frame.extension_words * 8u;
    if ((frame.flags & ATOLL_FLAG_CHECKED) != 0) end += frame.payload_length;
    if (end > size) return false;
    memset(bytes + offsetof(atoll_frame_t, crc32c), 0, sizeof frame.crc32c);
    uint32_t crc = atoll__crc32c(0, bytes, (size_t)end);
    memcpy(bytes + offsetof(atoll_frame_t, crc32c), &crc, sizeof crc);
    return true;
}

void fuzz_frame(const uint8_t *data, size_t size) {
    check(data, size);
    /* Hardly any input has a good checksum by chance: to see what comes behind it. */
    uint8_t *mended = malloc(size + 1);
    CHECK(mended != NULL);
    if (size > 0) memcpy(mended, data, size);
    if (mend(mended, size)) check(mended, size);
    free(mended);
}
