/* The 32-byte frame header: reading with all checks, writing.
 *
 * Owns: what a valid frame is. Must not know who sent it or where it goes. */
#include <string.h>

#include "internal.h"

#define FLAGS_KNOWN                                                                     \
    (ATOLL_FLAG_CHECKED | ATOLL_FLAG_END | ATOLL_FLAG_STDERR | ATOLL_FLAG_DETACHED | \
     ATOLL_FLAG_ENCODING)

static uint32_t frame_crc(const atoll_frame_t *frame, const uint8_t *rest, size_t length) {
    uint32_t crc = atoll__crc32c_header(frame);
    return length == 0 ? crc : atoll__crc32c(crc, rest, length);
}

static bool kind_known(uint32_t kind) {
    return (kind >= ATOLL_KIND_CALL && kind <= ATOLL_KIND_CONTROL) ||
           (kind >= ATOLL_KIND_REPLY && kind <= ATOLL_KIND_CREDIT);
}

atoll_status_t atoll__frame_read(const uint8_t *bytes, uint32_t capacity, atoll_frame_t *frame) {
    if (capacity < ATOLL_FRAME_BYTES)
        return atoll__fail(ATOLL_INVALID_FRAME, "Cannot read frame: shorter than its header");
    memcpy(frame, bytes, ATOLL_FRAME_BYTES);
    if (frame->magic != ATOLL_FRAME_MAGIC)
        return atoll__fail(ATOLL_INVALID_FRAME, "Cannot read frame: wrong magic");
    if (frame->version != ATOLL_FRAME_VERSION)
        return atoll__fail(ATOLL_INVALID_FRAME, "Cannot read frame: unknown version");
    if (!kind_known(frame->kind))
        return atoll__fail(ATOLL_INVALID_FRAME, "Cannot read frame: unknown kind");
    if ((frame->flags & ~(uint32_t)FLAGS_KNOWN) != 0)
        return atoll__fail(ATOLL_INVALID_FRAME, "Cannot read frame: unknown flags");
    uint64_t extensions = (uint64_t)frame->extension_words * 8u;
    uint64_t total = ATOLL_FRAME_BYTES + extensions + frame->payload_length;
    if (total > capacity)
        return atoll__fail(ATOLL_INVALID_FRAME, "Cannot read frame: longer than its slot");
    if ((frame->flags & ATOLL_FLAG_CHECKED) != 0) {
        size_t rest = (size_t)(total - ATOLL_FRAME_BYTES);
        if (frame_crc(frame, bytes + ATOLL_FRAME_BYTES, rest) != frame->crc32c)
            return atoll__fail(ATOLL_INVALID_FRAME, "Cannot read frame: wrong checksum");
    }
    return ATOLL_OK;
}

void atoll__frame_write(uint8_t *to, const atoll_frame_t *frame, const uint8_t *payload) {
    /* The payload goes first: it may lie where the header will be. */
    if (frame->payload_length > 0)
        memmove(to + ATOLL_FRAME_BYTES, payload, frame->payload_length);
    atoll_frame_t header = *frame;
    header.magic = ATOLL_FRAME_MAGIC;
    header.version = ATOLL_FRAME_VERSION;
    header.extension_words = 0;
    header.crc32c = 0;
    if ((header.flags & ATOLL_FLAG_CHECKED) != 0)
        header.crc32c = frame_crc(&header, to + ATOLL_FRAME_BYTES, header.payload_length);
    memcpy(to, &header, sizeof header);
}
