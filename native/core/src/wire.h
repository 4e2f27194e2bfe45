/* Reading and writing frames: docs/reference/wire.md in C.
 *
 * Owns: the types that a parsed frame has inside the core. Must not know calls or clients. */
#ifndef ATOLL_WIRE_H
#define ATOLL_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "atoll.h"

/* Who wrote a frame: what is checked, and whether it is read where it lies, follows from it. */
typedef enum atoll__peer {
    /* This process. The slot has gone to the library, and whoever submitted it must not write it
     * until the reply: nothing keeps a thread that still has its address from doing so. The core
     * stays whole all the same: it uses only what it checked on the reading that it uses, and checks
     * a payload's parts again when it takes them. The payload does not: the engine validates text
     * and then reads it where it lies, and a byte that changes in between is undefined to it. In
     * place, level structure. */
    ATOLL__PEER_SELF = 0,
    /* Another process that can still write the memory: copied, then level full on the copy. */
    ATOLL__PEER_SHARED = 1,
    /* Anybody, through a socket; the bytes lie in private memory: in place, level full. */
    ATOLL__PEER_REMOTE = 2
} atoll__peer_t;

/* What a frame says, read once. Principal and tenant are left out on purpose: a peer's word for
 * them is worth nothing. */
typedef struct atoll__message {
    atoll_frame_t frame;
    const uint8_t *payload; /* what the frame holds itself */
    uint32_t known;         /* bit 1 << type for each extension that is there */
    uint32_t parts_count;
    uint32_t parts_bytes;
    const uint8_t *parts; /* atoll_part_t, to be copied one by one */
    atoll_deadline_t deadline;
    atoll_trace_t trace;
} atoll__message_t;

static inline bool atoll__message_has(const atoll__message_t *message, uint32_t type) {
    return (message->known & 1u << type) != 0;
}

/* ---- frame.c ---- */

/* Flags and encodings that a frame may have. */
#define ATOLL__FLAGS_KNOWN                                                              \
    (ATOLL_FLAG_CHECKED | ATOLL_FLAG_END | ATOLL_FLAG_STDERR | ATOLL_FLAG_DETACHED |    \
     ATOLL_FLAG_ENCODING)
#define ATOLL__KINDS_KNOWN                                                              \
    (1u << ATOLL_KIND_CALL | 1u << ATOLL_KIND_HTTP | 1u << ATOLL_KIND_CONTROL |         \
     1u << ATOLL_KIND_REPLY | 1u << ATOLL_KIND_HEAD | 1u << ATOLL_KIND_BODY |           \
     1u << ATOLL_KIND_LOG | 1u << ATOLL_KIND_CREDIT)
/* The first eight bytes of a frame that has nothing to it but its lengths: magic and version as they
 * must be, no flag that is unknown or asks for a checksum, a known encoding, no extension. */
#define ATOLL__PLAIN_FLAGS                                                              \
    ((uint32_t)(ATOLL_FLAG_END | ATOLL_FLAG_STDERR | ATOLL_FLAG_DETACHED | ATOLL_FLAG_RKYV))
#define ATOLL__PLAIN_MASK                                                               \
    (0xFFFF000000FFFFFFu | (uint64_t)(0xFFFFu & ~ATOLL__PLAIN_FLAGS) << 32)
#define ATOLL__PLAIN_WORD (ATOLL_FRAME_MAGIC | (uint64_t)ATOLL_FRAME_VERSION << 16)

static inline bool atoll__kind_known(uint32_t kind) {
    return kind < 32 && (ATOLL__KINDS_KNOWN >> kind & 1u) != 0;
}

/* The header is in the message already; finds out what is wrong, or special, about the rest. */
atoll_fault_t atoll__frame_judge(
    const uint8_t *bytes, size_t capacity, atoll_level_t level, atoll__message_t *message);

/* Reads the frame at the beginning of `bytes`, which must be read in place: see atoll__peer_t.
 * `capacity` bytes are there; what lies behind the frame is not looked at. After a fault the message
 * is not to be used. Inline, since most frames of most doors are plain ones. */
static inline atoll_fault_t atoll__frame_read(
    const uint8_t *bytes, size_t capacity, atoll_level_t level, atoll__message_t *message) {
    if (capacity < ATOLL_FRAME_BYTES) return ATOLL_FAULT_SHORT;
    /* Each byte of the header is loaded once, and only the copy is looked at. */
    uint64_t words[ATOLL_FRAME_BYTES / 8];
    memcpy(words, bytes, sizeof words);
    memcpy(&message->frame, words, sizeof words);
    message->payload = bytes + ATOLL_FRAME_BYTES;
    message->known = 0;
    message->parts_count = 0;
    message->parts_bytes = 0;
    bool plain = (words[0] & ATOLL__PLAIN_MASK) == ATOLL__PLAIN_WORD &&
                 atoll__kind_known((uint32_t)(words[0] >> 24) & 0xFFu) &&
                 (uint32_t)words[3] <= capacity - ATOLL_FRAME_BYTES;
    if (plain && level != ATOLL_LEVEL_FULL) return ATOLL_FAULT_NONE;
    return atoll__frame_judge(bytes, capacity, level, message);
}

/* The same as a peer's frame deserves. `copy` has room for copy_capacity bytes and is used for
 * ATOLL__PEER_SHARED only; the message then points into it. */
atoll_fault_t atoll__frame_receive(
    atoll__peer_t peer, const uint8_t *bytes, size_t capacity, uint8_t *copy, size_t copy_capacity,
    atoll__message_t *message);
/* Keeps a fault's text for atoll_error_text and returns INVALID_FRAME. `frame` is the message's. */
atoll_status_t atoll__frame_refuse(atoll_fault_t fault, const atoll_frame_t *frame);
/* Bytes of a frame without parts that lie elsewhere. */
static inline uint64_t atoll__frame_bytes(const atoll_frame_t *frame) {
    return ATOLL_FRAME_BYTES + (uint64_t)frame->extension_words * 8u + frame->payload_length;
}
/* Writes magic, version, checksum and what `frame` says, then its extensions (extension_words * 8
 * bytes) and its payload, which may overlap the destination; the extensions may not. Either may be
 * NULL: it is there already. */
void atoll__frame_write(
    uint8_t *to, const atoll_frame_t *frame, const uint8_t *extensions, const uint8_t *payload);

/* ---- extension.c ---- */

/* Reads all extensions into the message; they begin behind the header. */
atoll_fault_t atoll__extensions_read(
    const uint8_t *bytes, uint32_t length, atoll_level_t level, atoll__message_t *message);
/* A trace context as an extension of 4 words. */
atoll_trace_t atoll__trace_extension(const atoll_trace_t *trace);
/* Bytes of the extension PAYLOAD with so many parts: a multiple of 8. */
static inline uint32_t atoll__payload_extension_bytes(uint32_t parts) {
    return (uint32_t)(sizeof(atoll_payload_t) + parts * sizeof(atoll_part_t));
}

/* ---- chain.c ---- */

/* A payload in several pieces, in private memory; the pieces themselves lie in slots that the
 * library holds. */
typedef struct atoll__chain {
    uint32_t client;
    uint32_t count;
    uint32_t slots_count;
    uint64_t bytes;
    _Atomic(uint8_t *) whole; /* in one piece, once somebody asked */
    uint32_t *slots;          /* behind the parts */
    atoll_bytes_t parts[];
} atoll__chain_t;

/* Takes the parts of a client's message over. INVALID_FRAME: nothing was taken; NO_MEMORY. */
atoll_status_t atoll__chain_take(
    uint32_t client, const atoll__message_t *message, atoll__chain_t **chain);
/* Gives the slots back to the client, as if they had not been taken. */
void atoll__chain_return(atoll__chain_t *chain);
/* Frees the slots and whatever else the chain has. */
void atoll__chain_free(atoll__chain_t *chain);
/* The payload in one piece, put together by whoever asks first; NULL: no memory. */
const uint8_t *atoll__chain_whole(atoll__chain_t *chain);
/* Writes a frame whose payload is spread over slots that become the client's at once. `slot` is
 * used for the frame if it is large enough. 0: no room, nothing was taken. */
uint32_t atoll__chain_write(
    uint32_t client, uint32_t slot, const atoll_frame_t *frame, const uint8_t *bytes,
    uint32_t length);

/* ---- gather.c ---- */

#define ATOLL__GATHER_PARTS 64u
#define ATOLL__GATHER_BYTES 4096u
/* Up to this size a frame is copied: cheaper than one more run for the system to look at. */
#define ATOLL__GATHER_SMALL 512u

/* Frames for one socket on their way to one atoll__prim_writev. Small ones are copied side by side,
 * so that a run of them is one part; larger ones are sent from where they lie and must stay there. */
typedef struct atoll__gather {
    uint32_t count;
    uint32_t used; /* bytes of buffer */
    atoll_bytes_t parts[ATOLL__GATHER_PARTS];
    _Alignas(8) uint8_t buffer[ATOLL__GATHER_BYTES];
} atoll__gather_t;

static inline void atoll__gather_init(atoll__gather_t *gather) {
    gather->count = 0;
    gather->used = 0;
}
/* Adds a frame that lies in one piece, and zeroes up to the next multiple of 8 bytes. False: no room,
 * nothing was added; write first. */
bool atoll__gather_add(atoll__gather_t *gather, const uint8_t *bytes, uint32_t length);

#endif
