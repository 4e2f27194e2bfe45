/* Frames: the vectors, each field's refusal, copying from shared memory, writing, gathering. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vectors.h"

/* ---- vectors ---- */

static void check_named(bool holds, const vector_t *vector, const char *what) {
    if (holds) return;
    char text[256];
    (void)snprintf(text, sizeof text, "%s: %s", vector->name, what);
    test_fail(__FILE__, __LINE__, text);
}

static void check_fault(atoll_fault_t fault, const vector_t *vector) {
    char text[256];
    (void)snprintf(
        text, sizeof text, "fault is %s, expected %s", vector_fault_name(fault),
        vector_fault_name(vector->fault));
    check_named(fault == vector->fault, vector, text);
}

static void check_message(const atoll__message_t *message, const vector_t *vector) {
    const atoll_frame_t *frame = &message->frame;
    const atoll_frame_t *want = &vector->frame;
    bool same = frame->kind == want->kind && frame->flags == want->flags &&
                frame->request_id == want->request_id && frame->target == want->target &&
                frame->budget_us == want->budget_us &&
                frame->payload_length == want->payload_length &&
                atoll__frame_bytes(frame) == vector->length;
    check_named(same, vector, "the header differs");
    check_named(
        want->payload_length == 0 ||
            memcmp(message->payload, vector->payload, want->payload_length) == 0,
        vector, "the payload differs");
    bool traced = atoll__message_has(message, ATOLL_EXTENSION_TRACE);
    check_named(traced == vector->traced, vector, "a trace is missing or too much");
    if (traced) {
        const atoll_trace_t *a = &message->trace, *b = &vector->trace;
        same = a->flags == b->flags && memcmp(a->trace_id, b->trace_id, 16) == 0 &&
               memcmp(a->span_id, b->span_id, 8) == 0;
        check_named(same, vector, "the trace differs");
    }
    bool timed = atoll__message_has(message, ATOLL_EXTENSION_DEADLINE);
    check_named(timed == vector->timed, vector, "a deadline is missing or too much");
    if (timed) {
        same = message->deadline.clock == vector->deadline.clock &&
               message->deadline.at_ns == vector->deadline.at_ns;
        check_named(same, vector, "the deadline differs");
    }
    check_named(message->parts_count == vector->parts_count, vector, "other parts");
    if (message->parts_count > 0)
        check_named(
            memcmp(message->parts, vector->parts, sizeof(atoll_part_t) * vector->parts_count) == 0,
            vector, "the parts differ");
}

static void vector_see(const vector_t *vector) {
    atoll__message_t message;
    atoll_fault_t fault;
    if (vector->level != ATOLL_LEVEL_FULL) {
        fault = atoll__frame_read(vector->bytes, vector->size, vector->level, &message);
    } else {
        atoll__peer_t peer = vector->remote ? ATOLL__PEER_REMOTE : ATOLL__PEER_SHARED;
        uint8_t *copy = malloc(vector->size + 1);
        CHECK(copy != NULL);
        fault = atoll__frame_receive(
            peer, vector->bytes, vector->size, copy, vector->size, &message);
        if (fault == ATOLL_FAULT_NONE) {
            bool inside = message.payload >= copy && message.payload <= copy + vector->size;
            check_named(inside == (peer == ATOLL__PEER_SHARED), vector, "read in the wrong place");
            check_message(&message, vector);
        }
        free(copy);
    }
    check_fault(fault, vector);
    if (fault == ATOLL_FAULT_NONE && vector->level != ATOLL_LEVEL_FULL)
        check_message(&message, vector);
    if (fault != ATOLL_FAULT_NONE)
        CHECK_EQUAL(atoll__frame_refuse(fault, &message.frame), ATOLL_INVALID_FRAME);
}

TEST(wire_vectors, "A26: each frame of tests/corpus/wire is read, or refused for its reason") {
    CHECK(vectors_each(vector_see) >= 88);
}

/* The reader of version 0.1, before there were extensions: it stepped over all of them. */
static uint32_t old_reader_payload(const uint8_t *bytes, size_t capacity, uint32_t *length) {
    atoll_frame_t frame;
    CHECK(capacity >= sizeof frame);
    memcpy(&frame, bytes, sizeof frame);
    CHECK(frame.magic == ATOLL_FRAME_MAGIC && frame.version == ATOLL_FRAME_VERSION);
    CHECK(atoll__frame_bytes(&frame) <= capacity);
    *length = frame.payload_length;
    return ATOLL_FRAME_BYTES + (uint32_t)frame.extension_words * 8u;
}

static void old_see(const vector_t *vector) {
    if (vector->fault != ATOLL_FAULT_NONE || vector->parts_count > 0) return;
    uint32_t length;
    uint32_t offset = old_reader_payload(vector->bytes, vector->size, &length);
    check_named(
        length == vector->frame.payload_length &&
            (length == 0 || memcmp(vector->bytes + offset, vector->payload, length) == 0),
        vector, "an old reader sees another payload");
}

TEST(wire_old_reader, "an old reader finds the payload behind extensions it has never heard of") {
    (void)vectors_each(old_see);
}

TEST(wire_version, "a frame of another version is refused with both versions named") {
    uint8_t bytes[64];
    atoll_frame_t frame = {.kind = ATOLL_KIND_CALL};
    atoll__frame_write(bytes, &frame, NULL, NULL);
    bytes[2] = 7;
    atoll__message_t message;
    atoll_fault_t fault = atoll__frame_read(bytes, 64, ATOLL_LEVEL_HEADER, &message);
    CHECK_EQUAL(fault, ATOLL_FAULT_VERSION);
    CHECK_EQUAL(atoll__frame_refuse(fault, &message.frame), ATOLL_INVALID_FRAME);
    uint8_t text[128] = {0};
    (void)atoll_error_text(text, sizeof text);
    CHECK(strcmp((char *)text, "Cannot read frame: version is 7, supported is 1") == 0);
}

/* ---- writing ---- */

static uint32_t full_frame(uint8_t *bytes, uint32_t flags, const char *payload) {
    atoll_trace_t trace = atoll__trace_extension(&(atoll_trace_t){.trace_id = {1}, .flags = 1});
    atoll_frame_t frame = {
        .kind = ATOLL_KIND_CALL,
        .flags = (uint16_t)flags,
        .extension_words = sizeof trace / 8u,
        .request_id = 9,
        .target = 3,
        .payload_length = (uint32_t)strlen(payload),
    };
    atoll__frame_write(bytes, &frame, (const uint8_t *)&trace, (const uint8_t *)payload);
    return (uint32_t)atoll__frame_bytes(&frame);
}

TEST(wire_flips, "A26: each flipped bit of a checked frame is noticed, the flag itself too") {
    uint8_t bytes[80];
    uint8_t copy[80];
    atoll__message_t message;
    uint32_t size = full_frame(bytes, ATOLL_FLAG_CHECKED, "hello");
    for (uint32_t bit = 0; bit <= size * 8; bit++) {
        if (bit < size * 8) bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        atoll_fault_t shared = atoll__frame_receive(
            ATOLL__PEER_SHARED, bytes, size, copy, sizeof copy, &message);
        atoll_fault_t remote =
            atoll__frame_receive(ATOLL__PEER_REMOTE, bytes, size, NULL, 0, &message);
        CHECK_EQUAL(shared == ATOLL_FAULT_NONE, bit == size * 8);
        CHECK_EQUAL(remote, shared);
        if (bit < size * 8) bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

TEST(wire_overlap, "a payload that lies where the header will be survives its own framing") {
    for (uint32_t at = 0; at < 80; at++) {
        uint8_t bytes[256] = {0};
        for (uint32_t i = 0; i < 100; i++) bytes[at + i] = (uint8_t)i;
        atoll_frame_t frame = {
            .kind = ATOLL_KIND_REPLY, .flags = ATOLL_FLAG_CHECKED, .payload_length = 100};
        atoll__frame_write(bytes, &frame, NULL, bytes + at);
        atoll__message_t message;
        CHECK_EQUAL(
            atoll__frame_receive(ATOLL__PEER_REMOTE, bytes, 132, NULL, 0, &message),
            ATOLL_FAULT_NONE);
        for (uint32_t i = 0; i < 100; i++) CHECK_EQUAL(message.payload[i], i);
    }
}

/* ---- shared memory that its peer goes on writing ---- */

static uint8_t shared_bytes[512];
static _Atomic uint32_t scribbling;

/* A race by design: volatile, so that each store is made; the receiver's memcpy is what it races
 * with. */
__attribute__((no_sanitize("thread"))) static void *scribble(void *unused) {
    (void)unused;
    volatile uint8_t *bytes = shared_bytes;
    for (uint32_t round = 0; atomic_load(&scribbling) != 0; round++) {
        bytes[6] = (uint8_t)(round % 3 == 0 ? 4 : 60);  /* extension_words */
        bytes[24] = (uint8_t)(round % 5 == 0 ? 5 : 255); /* payload_length */
        bytes[34] = (uint8_t)(round % 7 == 0 ? 28 : 200); /* length of the extension */
        /* All three are right: where threads take turns, the receiver would hardly ever see that. */
        if (round % 105 == 0) (void)sched_yield();
    }
    return NULL;
}

__attribute__((no_sanitize("thread"))) static void scribbled_receive(uint32_t size) {
    uint8_t *copy = malloc(size);
    CHECK(copy != NULL);
    atoll__message_t message;
    uint32_t good = 0;
    uint32_t rounds = test_rounds(200000);
    for (uint32_t i = 0; i < rounds || good == 0; i++) {
        /* There, it must not wait for a whole turn to see a change either. */
        if (i % 64 == 0) (void)sched_yield();
        /* The frame may grow beyond the copy's room: that is a fault, not a write. */
        atoll_fault_t fault = atoll__frame_receive(
            ATOLL__PEER_SHARED, shared_bytes, sizeof shared_bytes, copy, size, &message);
        if (fault != ATOLL_FAULT_NONE) continue;
        good++;
        CHECK_EQUAL(message.frame.payload_length, 5);
        CHECK(message.payload == copy + 64 && memcmp(message.payload, "hello", 5) == 0);
        CHECK_EQUAL(message.trace.trace_id[0], 1);
    }
    free(copy);
}

TEST(wire_scribbled, "A26: a frame in shared memory is what its checksum says, or refused") {
#if defined(__SANITIZE_THREAD__)
    test_skip("memcpy of the sanitizer reports the race that this is about");
#endif
    uint32_t size = full_frame(shared_bytes, ATOLL_FLAG_CHECKED, "hello");
    pthread_t thread;
    atomic_store(&scribbling, 1);
    CHECK(pthread_create(&thread, NULL, scribble, NULL) == 0);
    scribbled_receive(size);
    atomic_store(&scribbling, 0);
    (void)pthread_join(thread, NULL);
}

/* ---- gathered writes, scattered reads ---- */

#define STREAM_FRAMES 600u

static uint32_t frame_size_at(uint32_t index) {
    /* Mostly small, now and then larger than what is copied. */
    return index % 17 == 0 ? 700 + index : index % 90;
}

static uint32_t stream_frame(uint8_t *bytes, uint32_t index) {
    uint8_t payload[2048];
    memset(payload, (int)(index & 0xFF), sizeof payload);
    atoll_frame_t frame = {
        .kind = ATOLL_KIND_CALL,
        .flags = ATOLL_FLAG_CHECKED,
        .request_id = index,
        .payload_length = frame_size_at(index),
    };
    atoll__frame_write(bytes, &frame, NULL, payload);
    return (uint32_t)atoll__frame_bytes(&frame);
}

typedef struct stream_reader {
    int socket;
    size_t have;
    uint32_t next;
    uint8_t ring[6000];
} stream_reader_t;

/* Reads into two runs, as two buffers of a transport would be, and takes whole frames out. */
static void stream_read(stream_reader_t *reader) {
    size_t room = sizeof reader->ring - reader->have;
    size_t half = room / 3;
    atoll_bytes_t parts[2] = {
        {.bytes = reader->ring + reader->have, .length = half},
        {.bytes = reader->ring + reader->have + half, .length = room - half},
    };
    int64_t got = atoll__prim_readv(reader->socket, parts, 2);
    CHECK(got >= 0);
    reader->have += (size_t)got;
    size_t at = 0;
    for (;;) {
        atoll__message_t message;
        atoll_fault_t fault = atoll__frame_receive(
            ATOLL__PEER_REMOTE, reader->ring + at, reader->have - at, NULL, 0, &message);
        if (fault == ATOLL_FAULT_SHORT || fault == ATOLL_FAULT_LENGTH) break;
        CHECK_EQUAL(fault, ATOLL_FAULT_NONE);
        CHECK_EQUAL(message.frame.request_id, reader->next);
        CHECK_EQUAL(message.frame.payload_length, frame_size_at(reader->next));
        size_t all = ((size_t)atoll__frame_bytes(&message.frame) + 7u) & ~(size_t)7u;
        if (at + all > reader->have) break;
        at += all;
        reader->next++;
    }
    memmove(reader->ring, reader->ring + at, reader->have - at);
    reader->have -= at;
}

TEST(wire_gather, "frames gathered into batches arrive whole through a socket that takes little") {
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    int small = 4096;
    CHECK(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
    static uint8_t frames[STREAM_FRAMES][2048];
    static atoll__gather_t gather;
    static stream_reader_t reader;
    reader = (stream_reader_t){.socket = pair[1]};
    uint32_t batches = 0, cut = 0;
    for (uint32_t next = 0; next < STREAM_FRAMES; batches++) {
        atoll__gather_init(&gather);
        while (next < STREAM_FRAMES &&
               atoll__gather_add(&gather, frames[next], stream_frame(frames[next], next)))
            next++;
        CHECK(gather.count > 0);
        uint64_t left = 0;
        for (uint32_t i = 0; i < gather.count; i++) left += gather.parts[i].length;
        while (left > 0) {
            int64_t done = atoll__prim_writev(pair[0], gather.parts, gather.count);
            CHECK(done >= 0);
            left -= (uint64_t)done;
            if (left > 0) cut++;
            stream_read(&reader);
        }
    }
    while (reader.next < STREAM_FRAMES) stream_read(&reader);
    CHECK(batches < STREAM_FRAMES / 8);
    CHECK(cut > 0);
    (void)close(pair[1]);
    atoll_bytes_t one = {.bytes = frames[0], .length = 32};
    CHECK_EQUAL((uint64_t)atoll__prim_writev(pair[0], &one, 1), UINT64_MAX);
    (void)close(pair[0]);
}
