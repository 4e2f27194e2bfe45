/* The 32-byte frame header: reading with all checks, writing.
 *
 * Owns: what a valid frame is. Must not know who sent it or where it goes. */
#include <string.h>

#include "internal.h"

/* Of the frame at `bytes`, whose header is `frame`. */
static uint32_t frame_crc(const atoll_frame_t *frame, const uint8_t *bytes) {
    uint64_t rest = (uint64_t)frame->extension_words * 8u;
    if ((frame->flags & ATOLL_FLAG_CHECKED) != 0) rest += frame->payload_length;
    uint32_t crc = atoll__crc32c_header(frame);
    return rest == 0 ? crc : atoll__crc32c(crc, bytes + ATOLL_FRAME_BYTES, (size_t)rest);
}

static atoll_fault_t header_fault(const atoll_frame_t *frame, size_t capacity) {
    if (frame->magic != ATOLL_FRAME_MAGIC) return ATOLL_FAULT_MAGIC;
    if (frame->version != ATOLL_FRAME_VERSION) return ATOLL_FAULT_VERSION;
    if (!atoll__kind_known(frame->kind)) return ATOLL_FAULT_KIND;
    if ((frame->flags & ~(uint32_t)ATOLL__FLAGS_KNOWN) != 0) return ATOLL_FAULT_FLAGS;
    if ((frame->flags & ATOLL_FLAG_ENCODING) > ATOLL_FLAG_RKYV) return ATOLL_FAULT_ENCODING;
    if (atoll__frame_bytes(frame) > capacity) return ATOLL_FAULT_LENGTH;
    return ATOLL_FAULT_NONE;
}

atoll_fault_t atoll__frame_judge(
    const uint8_t *bytes, size_t capacity, atoll_level_t level, atoll__message_t *message) {
    const atoll_frame_t *frame = &message->frame;
    atoll_fault_t fault = header_fault(frame, capacity);
    if (fault != ATOLL_FAULT_NONE) return fault;
    bool checked = (frame->flags & ATOLL_FLAG_CHECKED) != 0 || level == ATOLL_LEVEL_FULL;
    if (checked && frame_crc(frame, bytes) != frame->crc32c) return ATOLL_FAULT_CHECKSUM;
    uint32_t extensions = (uint32_t)frame->extension_words * 8u;
    message->payload = bytes + sizeof *frame + extensions;
    if (extensions == 0 || level == ATOLL_LEVEL_HEADER) return ATOLL_FAULT_NONE;
    return atoll__extensions_read(bytes + sizeof *frame, extensions, level, message);
}

/* The header is copied first, and its copy decides how much follows: whatever the peer writes
 * meanwhile is a wrong checksum, never a read beyond either buffer. */
static atoll_fault_t copy_out(
    const uint8_t *shared, size_t capacity, uint8_t *copy, atoll_frame_t *frame) {
    if (capacity < sizeof *frame) return ATOLL_FAULT_SHORT;
    memcpy(frame, shared, sizeof *frame);
    atoll_fault_t fault = header_fault(frame, capacity);
    if (fault != ATOLL_FAULT_NONE) return fault;
    memcpy(copy, frame, sizeof *frame);
    size_t rest = (size_t)atoll__frame_bytes(frame) - sizeof *frame;
    memcpy(copy + sizeof *frame, shared + sizeof *frame, rest);
    return ATOLL_FAULT_NONE;
}

atoll_fault_t atoll__frame_receive(
    atoll__peer_t peer, const uint8_t *bytes, size_t capacity, uint8_t *copy, size_t copy_capacity,
    atoll__message_t *message) {
    atoll_fault_t fault = ATOLL_FAULT_NONE;
    atoll_level_t level = peer == ATOLL__PEER_SELF ? ATOLL_LEVEL_STRUCTURE : ATOLL_LEVEL_FULL;
    if (peer == ATOLL__PEER_SHARED) {
        if (capacity > copy_capacity) capacity = copy_capacity;
        fault = copy_out(bytes, capacity, copy, &message->frame);
        bytes = copy;
    }
    if (fault == ATOLL_FAULT_NONE) fault = atoll__frame_read(bytes, capacity, level, message);
    if (fault == ATOLL_FAULT_NONE && peer == ATOLL__PEER_REMOTE &&
        atoll__message_has(message, ATOLL_EXTENSION_DEADLINE) &&
        message->deadline.clock == ATOLL_CLOCK_MONOTONIC)
        fault = ATOLL_FAULT_CLOCK;
    return fault;
}

atoll_status_t atoll__frame_refuse(atoll_fault_t fault, const atoll_frame_t *frame) {
    static const char *const texts[] = {
        [ATOLL_FAULT_NONE] = "Cannot read frame",
        [ATOLL_FAULT_SHORT] = "Cannot read frame: shorter than its header",
        [ATOLL_FAULT_MAGIC] = "Cannot read frame: wrong magic",
        [ATOLL_FAULT_KIND] = "Cannot read frame: unknown kind",
        [ATOLL_FAULT_FLAGS] = "Cannot read frame: unknown flags",
        [ATOLL_FAULT_ENCODING] = "Cannot read frame: unknown payload encoding",
        [ATOLL_FAULT_LENGTH] = "Cannot read frame: longer than the bytes that are there",
        [ATOLL_FAULT_CHECKSUM] = "Cannot read frame: wrong checksum",
        [ATOLL_FAULT_EXTENSION] = "Cannot read frame: an extension ends behind the extensions",
        [ATOLL_FAULT_CRITICAL] = "Cannot read frame: an unknown extension is critical",
        [ATOLL_FAULT_DUPLICATE] = "Cannot read frame: an extension comes twice",
        [ATOLL_FAULT_VALUE] = "Cannot read frame: an extension is too short",
        [ATOLL_FAULT_PARTS] = "Cannot read frame: payload descriptors do not add up",
        [ATOLL_FAULT_CLOCK] = "Cannot read frame: a deadline by a clock that is not shared",
        [ATOLL_FAULT_PADDING] = "Cannot read frame: padding is not zero",
    };
    if (fault == ATOLL_FAULT_VERSION)
        return atoll__failf(
            ATOLL_INVALID_FRAME, "Cannot read frame: version is %u, supported is %u",
            frame->version, ATOLL_FRAME_VERSION);
    return atoll__fail(ATOLL_INVALID_FRAME, texts[fault]);
}

void atoll__frame_write(
    uint8_t *to, const atoll_frame_t *frame, const uint8_t *extensions, const uint8_t *payload) {
    size_t between = (size_t)frame->extension_words * 8u;
    /* The payload goes first: it may lie where the header will be. */
    if (frame->payload_length > 0 && payload != NULL)
        memmove(to + ATOLL_FRAME_BYTES + between, payload, frame->payload_length);
    if (between > 0 && extensions != NULL) memcpy(to + ATOLL_FRAME_BYTES, extensions, between);
    atoll_frame_t header = *frame;
    header.magic = ATOLL_FRAME_MAGIC;
    header.version = ATOLL_FRAME_VERSION;
    header.crc32c = 0;
    if ((header.flags & ATOLL_FLAG_CHECKED) != 0) header.crc32c = frame_crc(&header, to);
    memcpy(to, &header, sizeof header);
}
