/* What may stand between a frame's header and its payload.
 *
 * Owns: reading extensions in one pass; a value is checked on the reading that is used. Must not know what the values are used for.
 * Types, critical bit and growth: docs/reference/wire.md. */
#include <string.h>

#include "internal.h"

#define NAME_BYTES_MAX 255u
#define VALUE_BYTES(type) (sizeof(type) - sizeof(atoll_extension_head_t))

/* Descriptors that are as many and as long as they say. Whose slots they name is found out when
 * they are taken. */
static atoll_fault_t read_parts(const uint8_t *at, uint32_t length, atoll__message_t *message) {
    atoll_payload_t head;
    if (length < VALUE_BYTES(head)) return ATOLL_FAULT_PARTS;
    memcpy(&head, at, sizeof head);
    uint32_t rest = length - (uint32_t)VALUE_BYTES(head);
    uint32_t count = rest / (uint32_t)sizeof(atoll_part_t);
    if ((head.tag & ATOLL_EXTENSION_CRITICAL) == 0 || rest % sizeof(atoll_part_t) != 0 ||
        count == 0 || count > ATOLL_PARTS_MAX)
        return ATOLL_FAULT_PARTS;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        atoll_part_t part;
        memcpy(&part, at + sizeof head + i * sizeof part, sizeof part);
        if (part.length == 0 || part.length > UINT32_MAX - part.offset) return ATOLL_FAULT_PARTS;
        sum += part.length;
    }
    if (sum != head.bytes || sum + message->frame.payload_length > UINT32_MAX)
        return ATOLL_FAULT_PARTS;
    message->parts = at + sizeof head;
    message->parts_count = count;
    message->parts_bytes = head.bytes;
    return ATOLL_FAULT_NONE;
}

static atoll_fault_t read_known(
    uint32_t type, const uint8_t *at, uint32_t length, atoll__message_t *message) {
    switch (type) {
    case ATOLL_EXTENSION_TRACE:
        if (length < VALUE_BYTES(atoll_trace_t)) return ATOLL_FAULT_VALUE;
        memcpy(&message->trace, at, sizeof message->trace);
        return ATOLL_FAULT_NONE;
    case ATOLL_EXTENSION_DEADLINE:
        if (length < VALUE_BYTES(atoll_deadline_t)) return ATOLL_FAULT_VALUE;
        memcpy(&message->deadline, at, sizeof message->deadline);
        return message->deadline.clock == ATOLL_CLOCK_MONOTONIC ||
                       message->deadline.clock == ATOLL_CLOCK_REALTIME
                   ? ATOLL_FAULT_NONE
                   : ATOLL_FAULT_CLOCK;
    case ATOLL_EXTENSION_PAYLOAD: return read_parts(at, length, message);
    default: /* PRINCIPAL, TENANT: stripped by not being kept. */
        return length == 0 || length > NAME_BYTES_MAX ? ATOLL_FAULT_VALUE : ATOLL_FAULT_NONE;
    }
}

static bool all_zero(const uint8_t *bytes, uint32_t length) {
    uint8_t seen = 0;
    for (uint32_t i = 0; i < length; i++) seen |= bytes[i];
    return seen == 0;
}

atoll_fault_t atoll__extensions_read(
    const uint8_t *bytes, uint32_t length, atoll_level_t level, atoll__message_t *message) {
    for (uint32_t at = 0; at < length;) {
        atoll_extension_head_t head;
        memcpy(&head, bytes + at, sizeof head);
        uint32_t end = at + (uint32_t)sizeof head + head.length;
        if (end > length) return ATOLL_FAULT_EXTENSION;
        uint32_t next = (end + 7u) & ~7u;
        if (level == ATOLL_LEVEL_FULL && !all_zero(bytes + end, next - end))
            return ATOLL_FAULT_PADDING;
        uint32_t type = head.tag & ~(uint32_t)ATOLL_EXTENSION_CRITICAL;
        if (type > ATOLL_EXTENSION_PAYLOAD) {
            if (type != head.tag) return ATOLL_FAULT_CRITICAL;
        } else if (type != ATOLL_EXTENSION_PADDING) {
            if (atoll__message_has(message, type)) return ATOLL_FAULT_DUPLICATE;
            message->known |= 1u << type;
            atoll_fault_t fault = read_known(type, bytes + at, head.length, message);
            if (fault != ATOLL_FAULT_NONE) return fault;
        }
        at = next;
    }
    if (atoll__message_has(message, ATOLL_EXTENSION_TRACE) &&
        all_zero(message->trace.trace_id, sizeof message->trace.trace_id))
        message->known &= ~(1u << ATOLL_EXTENSION_TRACE);
    return ATOLL_FAULT_NONE;
}

atoll_trace_t atoll__trace_extension(const atoll_trace_t *trace) {
    /* What a newer peer put behind the part that is known here goes no further. */
    atoll_trace_t extension = {
        .tag = ATOLL_EXTENSION_TRACE,
        .length = VALUE_BYTES(atoll_trace_t),
        .flags = trace->flags,
    };
    memcpy(extension.trace_id, trace->trace_id, sizeof extension.trace_id);
    memcpy(extension.span_id, trace->span_id, sizeof extension.span_id);
    return extension;
}
