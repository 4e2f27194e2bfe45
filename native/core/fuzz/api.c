/* The bytes of an input as a program: which exported function to call next, and with what.
 *
 * Owns: the program's language. Must not know how anything is done inside. Arguments are taken from
 * what earlier calls gave, whoever they gave it to, so that foreign and stale ones are as frequent as
 * right ones; now and then they are any number.
 *
 * The test engine stands for plugins: its worker threads answer whenever they do, so that an input
 * does not take the same way each time. What is checked holds on all of them. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "world.h"

#define SCRATCH_BYTES 8192u
/* More than any slot holds: such a length must be refused before a byte is looked at. */
#define COPY_BYTES_MAX (16u << 20)
#define OPENS_MAX 4u

/* ---- clients ---- */

static void client_open(void) {
    member_t *member = &world.members[take8(&world.input) % CLIENTS];
    if (member->open) return;
    if (member->socket >= 0) (void)close(member->socket);
    member->socket = -1;
    atoll_status_t status = atoll_client_open(&member->info);
    CHECK(status == ATOLL_OK || status == ATOLL_NO_MEMORY);
    member->open = status == ATOLL_OK;
    if (!member->open) return;
    keep(&world.clients, member->info.client);
    /* It goes with its thread. */
    if (world.elsewhere) forget(member);
}

static void client_connect(void) {
    member_t *member = &world.members[take8(&world.input) % CLIENTS];
    uint8_t choice = take8(&world.input);
    if (!member->open || (member->socket >= 0 && (choice & 8u) == 0)) return;
    if (member->socket >= 0) {
        /* What was attached by it is dead from here on, though not at once. The warden learns of it
         * by the system; the thread sanitizer, which knows no such order, by this last visit. */
        (void)atoll_slot_bytes(member->info.client, 0);
        (void)close(member->socket);
        member->socket = -1;
        forget(member);
        return;
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, member->info.path, member->info.path_length);
    member->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(member->socket >= 0);
    if (connect(member->socket, (struct sockaddr *)&address, sizeof address) != 0) return;
    uint8_t nonce[ATOLL_NONCE_BYTES];
    memcpy(nonce, member->info.nonce, sizeof nonce);
    if ((choice & 1u) != 0) nonce[choice / 16u] ^= 1;
    size_t length = (choice & 2u) != 0 ? choice / 16u : sizeof nonce;
    (void)send(member->socket, nonce, length, MSG_NOSIGNAL);
}

static void client_attach(void) {
    (void)atoll_client_attach(number_of(&world.clients));
}

static void client_close(void) {
    uint32_t client = number_of(&world.clients);
    member_t *member = member_of(client);
    bool lived = lives(client);
    atoll_status_t status = atoll_client_close(client);
    if (lived) CHECK_EQUAL(status, ATOLL_OK);
    if (lived) forget(member);
}

/* ---- slots ---- */

static void slot_take(void) {
    static const uint32_t sizes[] = {
        0,     1,     32,    64,     65,      256,     1024,     4096,
        16384, 65536, 65537, 200000, 3000000, 8 << 20, 16 << 20, UINT32_MAX};
    uint32_t client = number_of(&world.clients);
    uint8_t choice = take8(&world.input);
    uint32_t bytes = choice < 0xF0 ? sizes[choice % 16] : take32(&world.input);
    uint32_t slot = atoll_slot_take(client, bytes);
    if (slot == 0) return;
    if (lives(client)) CHECK(atoll_slot_bytes(client, slot) >= bytes);
    gain(client, slot);
}

static void slot_give(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t slot = number_of(&world.slots);
    bool had = held_find(client, slot) != NULL;
    atoll_status_t status = atoll_slot_give(client, slot);
    if (!lives(client)) return;
    if (had) CHECK_EQUAL(status, ATOLL_OK);
    if (world.held_all) CHECK_EQUAL(status == ATOLL_OK, had);
    lose(client, slot);
}

static void slot_bytes(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t slot = number_of(&world.slots);
    const holding_t *holding = held_find(client, slot);
    uint32_t bytes = atoll_slot_bytes(client, slot);
    if (!lives(client)) return;
    if (holding != NULL) CHECK_EQUAL(bytes, holding->bytes);
    if (world.held_all) CHECK_EQUAL(bytes != 0, holding != NULL);
}

static void copy_in(void) {
    static uint8_t from[COPY_BYTES_MAX];
    uint32_t client = number_of(&world.clients);
    uint32_t slot = number_of(&world.slots);
    uint8_t choice = take8(&world.input);
    uint32_t length = choice < 0xF0 ? choice : take32(&world.input);
    atoll_status_t status = atoll_copy_in(client, slot, from, length);
    if (length > COPY_BYTES_MAX) CHECK(status != ATOLL_OK);
    if (length > 0) CHECK_EQUAL(atoll_copy_in(client, slot, NULL, length), ATOLL_INVALID_ARGUMENT);
}

static void copy_out(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t slot = number_of(&world.slots);
    uint32_t offset = take8(&world.input);
    uint32_t length = take8(&world.input);
    if (offset >= 0xF0) offset = take32(&world.input);
    if (length >= 0xF0) length = take32(&world.input);
    bool sane = length <= COPY_BYTES_MAX;
    uint8_t *to = malloc(sane ? length + 1 : 1);
    CHECK(to != NULL);
    to[sane ? length : 0] = 0xA5;
    atoll_status_t status = atoll_copy_out(client, slot, offset, to, length);
    CHECK(sane || status != ATOLL_OK);
    CHECK_EQUAL(to[sane ? length : 0], 0xA5);
    free(to);
}

/* ---- frames ---- */

static uint32_t trace_put(uint8_t *to) {
    atoll_trace_t trace = {0};
    (void)take_bytes(&world.input, trace.trace_id, sizeof trace.trace_id);
    trace = atoll__trace_extension(&trace);
    memcpy(to, &trace, sizeof trace);
    return (uint32_t)sizeof trace;
}

/* Within two seconds of now, before or after it. */
static uint32_t deadline_put(uint8_t *to) {
    atoll_deadline_t deadline = {
        .tag = ATOLL_EXTENSION_DEADLINE,
        .length = sizeof deadline - sizeof(atoll_extension_head_t),
        .clock = take8(&world.input) % 4,
    };
    uint64_t now_ns = deadline.clock == ATOLL_CLOCK_REALTIME ? atoll__prim_wall_ns()
                                                             : atoll__prim_now_ns();
    deadline.at_ns = now_ns + take32(&world.input) - UINT32_MAX / 2;
    memcpy(to, &deadline, sizeof deadline);
    return (uint32_t)sizeof deadline;
}

static uint32_t parts_put(uint8_t *to) {
    input_t *input = &world.input;
    uint32_t count = take8(input) % 8u;
    atoll_payload_t head = {
        .tag = ATOLL_EXTENSION_PAYLOAD | ATOLL_EXTENSION_CRITICAL,
        .length = (uint16_t)(sizeof head - sizeof(atoll_extension_head_t) +
                             count * sizeof(atoll_part_t)),
    };
    for (uint32_t i = 0; i < count; i++) {
        /* One by one: C has no order for the elements of an initialiser. */
        atoll_part_t part = {.segment = take8(input) == 0xFF ? 1 : 0};
        part.slot = number_of(&world.slots);
        part.offset = take8(input);
        part.length = take8(input);
        if (part.length >= 0xF0) part.length = take16(input) * 37u;
        head.bytes += part.length;
        memcpy(to + sizeof head + i * sizeof part, &part, sizeof part);
    }
    memcpy(to, &head, sizeof head);
    return (uint32_t)(sizeof head + count * sizeof(atoll_part_t));
}

/* Puts a frame together in `bytes`; returns its length. */
static uint32_t frame_make(uint8_t *bytes, uint8_t mode) {
    static const uint8_t kinds[] = {
        ATOLL_KIND_CALL, ATOLL_KIND_HTTP, ATOLL_KIND_BODY,    ATOLL_KIND_CALL,
        ATOLL_KIND_HTTP, ATOLL_KIND_BODY, ATOLL_KIND_CONTROL, ATOLL_KIND_REPLY};
    input_t *input = &world.input;
    uint8_t extensions[1024];
    uint32_t between = 0;
    if ((mode & 8u) != 0) between += trace_put(extensions + between);
    if ((mode & 16u) != 0) between += deadline_put(extensions + between);
    if ((mode & 32u) != 0) between += parts_put(extensions + between);
    uint8_t payload[600];
    uint32_t most = take8(input);
    uint32_t length = take_bytes(input, payload, most < 0xF0 ? most % 16u : 600);
    atoll_frame_t frame = {
        .kind = kinds[mode & 7u],
        .extension_words = (uint16_t)(between / 8u),
        .request_id = mode,
        .payload_length = length,
    };
    frame.flags = (uint16_t)take16(input);
    frame.target = frame.kind == ATOLL_KIND_CONTROL ? world.engine : number_of(&world.targets);
    if (take8(input) >= 0xC0) frame.budget_us = take16(input);
    /* As most frames are: no flag that is unknown. */
    if ((mode & 64u) == 0) frame.flags &= ATOLL_FLAG_CHECKED | ATOLL_FLAG_END | ATOLL_FLAG_DETACHED;
    atoll__frame_write(bytes, &frame, extensions, payload);
    return (uint32_t)sizeof frame + between + length;
}

static void frame_put(void) {
    static uint8_t bytes[SCRATCH_BYTES];
    uint32_t client = number_of(&world.clients);
    uint32_t slot = number_of(&world.slots);
    uint8_t mode = take8(&world.input);
    uint32_t length;
    if (mode < 0xF0)
        length = frame_make(bytes, mode);
    else
        length = take_bytes(&world.input, bytes, take16(&world.input) % SCRATCH_BYTES);
    uint32_t room = atoll_slot_bytes(client, slot);
    (void)atoll_copy_in(client, slot, bytes, length < room ? length : room);
}

/* A byte of a frame that is in a slot already. */
static void frame_change(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t slot = number_of(&world.slots);
    uint8_t offset = take8(&world.input);
    uint8_t value = take8(&world.input);
    if (lives(client) && offset < atoll_slot_bytes(client, slot))
        atoll__slot_bytes(slot)[offset] ^= value;
}

static const atoll_event_t *area_of(uint32_t client) {
    return (const atoll_event_t *)(const void *)atoll__slot_bytes(member_of(client)->info.area_slot);
}

static void submit_slot(uint32_t client, uint32_t slot) {
    bool had = held_find(client, slot) != NULL;
    uint32_t parts[ATOLL_PARTS_MAX];
    uint32_t count = 0;
    atoll__message_t message;
    if (had && atoll__frame_read(
                   atoll__slot_bytes(slot), atoll_slot_bytes(client, slot), ATOLL_LEVEL_STRUCTURE,
                   &message) == ATOLL_FAULT_NONE)
        for (; count < message.parts_count; count++) {
            atoll_part_t part;
            memcpy(&part, message.parts + count * sizeof part, sizeof part);
            parts[count] = part.slot;
        }
    atoll_status_t status = atoll_submit(client, slot);
    if (!lives(client)) return;
    if (status != ATOLL_OK && status != ATOLL_PENDING) {
        if (!had) return;
        CHECK(atoll_slot_bytes(client, slot) != 0);
        for (uint32_t i = 0; i < count; i++)
            if (held_find(client, parts[i]) != NULL)
                CHECK(atoll_slot_bytes(client, parts[i]) != 0);
        return;
    }
    if (world.held_all) CHECK(had);
    lose(client, slot);
    for (uint32_t i = 0; i < count; i++) lose(client, parts[i]);
    atoll_event_t event = *area_of(client);
    CHECK_EQUAL(event.kind, ATOLL_KIND_REPLY);
    if (status == ATOLL_OK) {
        gain_event(client, &event);
    } else {
        CHECK_EQUAL(event.status, ATOLL_PENDING);
        CHECK_EQUAL(event.slot, 0);
        keep(&world.tickets, event.ticket);
    }
}

static void submit(void) {
    uint32_t client = number_of(&world.clients);
    submit_slot(client, number_of(&world.slots));
}

/* A fresh slot with a frame; 0: there was none. */
static uint32_t frame_slot(uint32_t client, uint8_t mode) {
    uint8_t bytes[SCRATCH_BYTES];
    uint32_t length = frame_make(bytes, mode);
    uint32_t slot = atoll_slot_take(client, length);
    if (slot == 0) return 0;
    gain(client, slot);
    atoll_status_t status = atoll_copy_in(client, slot, bytes, length);
    if (lives(client)) CHECK_EQUAL(status, ATOLL_OK);
    return slot;
}

/* A call in one step, as most are. */
static void call(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t slot = frame_slot(client, take8(&world.input));
    if (slot != 0) submit_slot(client, slot);
}

static void reap(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t count = atoll_reap(client);
    CHECK(count <= ATOLL_EVENTS_MAX);
    if (!lives(client)) return;
    const atoll_event_t *events = area_of(client) + ATOLL_SLOT_BYTES / ATOLL_EVENT_BYTES;
    for (uint32_t i = 0; i < count; i++) gain_event(client, &events[i]);
}

/* What a client does with a response that streams: takes each chunk, gives it back, asks for more. */
static void drain(void) {
    uint32_t client = number_of(&world.clients);
    if (!lives(client)) return;
    uint32_t count = atoll_reap(client);
    atoll_event_t events[ATOLL_EVENTS_MAX];
    memcpy(events, area_of(client) + ATOLL_SLOT_BYTES / ATOLL_EVENT_BYTES, sizeof events);
    for (uint32_t i = 0; i < count; i++) {
        gain_event(client, &events[i]);
        if (events[i].slot == 0) continue;
        CHECK_EQUAL(atoll_slot_give(client, events[i].slot), ATOLL_OK);
        lose(client, events[i].slot);
        if (events[i].kind == ATOLL_KIND_BODY)
            (void)atoll_stream_credit(client, events[i].ticket, 1);
    }
}

static void cancel(void) {
    uint32_t client = number_of(&world.clients);
    (void)atoll_cancel(client, number_of(&world.tickets));
}

static void send_slot(uint32_t client, uint32_t slot) {
    bool had = held_find(client, slot) != NULL;
    atoll_status_t status = atoll_stream_send(client, number_of(&world.tickets), slot);
    if (!lives(client)) return;
    if (status == ATOLL_OK) {
        if (world.held_all) CHECK(had);
        lose(client, slot);
    } else if (had) {
        CHECK(atoll_slot_bytes(client, slot) != 0);
    }
}

static void stream_send(void) {
    uint32_t client = number_of(&world.clients);
    send_slot(client, number_of(&world.slots));
}

/* A chunk in one step. */
static void chunk(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t slot = frame_slot(client, (take8(&world.input) & 0xF8u) | 2u);
    if (slot != 0) send_slot(client, slot);
}

static void stream_credit(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t ticket = number_of(&world.tickets);
    uint8_t chunks = take8(&world.input);
    (void)atoll_stream_credit(client, ticket, chunks < 0xF0 ? chunks : take32(&world.input));
}

/* ---- the engine's side ---- */

/* The number a CONTROL request was answered with; false: it was not, or by an error. */
static bool control(uint32_t client, const char *text, uint32_t *answer) {
    uint32_t length = (uint32_t)strlen(text);
    uint32_t slot = atoll_slot_take(client, 128 + ATOLL_FRAME_BYTES);
    if (slot == 0 || !lives(client)) return false;
    gain(client, slot);
    atoll_frame_t frame = {
        .kind = ATOLL_KIND_CONTROL, .target = world.engine, .payload_length = length};
    atoll__frame_write(atoll__slot_bytes(slot), &frame, NULL, (const uint8_t *)text);
    submit_slot(client, slot);
    atoll_event_t event = *area_of(client);
    if (event.status != ATOLL_OK || held_find(client, event.slot) == NULL) return false;
    char digits[32] = {0};
    memcpy(
        digits, atoll__slot_bytes(event.slot) + ATOLL_FRAME_BYTES,
        event.length < 31 ? event.length : 31);
    *answer = (uint32_t)strtoul(digits, NULL, 10);
    CHECK_EQUAL(atoll_slot_give(client, event.slot), ATOLL_OK);
    lose(client, event.slot);
    return true;
}

static uint32_t small_or_any(void) {
    uint8_t choice = take8(&world.input);
    return choice < 0xF0 ? choice % 8u : take32(&world.input);
}

static void engine_order(void) {
    uint32_t client = number_of(&world.clients);
    char text[128];
    pool_t *to = NULL;
    uint32_t a, b, c;
    switch (take8(&world.input) % 12) {
    case 0:
        a = small_or_any(), b = small_or_any(), c = take16(&world.input);
        (void)snprintf(text, sizeof text, "group %u %u %u", a, b, c);
        to = &world.groups;
        break;
    case 1:
        a = number_of(&world.groups), b = small_or_any(), c = small_or_any();
        (void)snprintf(text, sizeof text, "set %u %u %u 0", a, b, c);
        break;
    case 2: (void)snprintf(text, sizeof text, "ungroup %u", number_of(&world.groups)); break;
    case 3:
        a = take8(&world.input) % 17u, b = number_of(&world.groups);
        (void)snprintf(text, sizeof text, "target %u %u", a, b);
        to = &world.targets;
        break;
    case 4: (void)snprintf(text, sizeof text, "untarget %u", number_of(&world.targets)); break;
    case 5: (void)snprintf(text, sizeof text, "release %u", take8(&world.input)); break;
    case 6:
        a = number_of(&world.groups), b = number_of(&world.targets);
        (void)snprintf(text, sizeof text, "plugin %u %u", a, b);
        to = &world.plugins;
        break;
    case 7: (void)snprintf(text, sizeof text, "unplugin %u", number_of(&world.plugins)); break;
    case 8: (void)snprintf(text, sizeof text, "blob %u", number_of(&world.blobs)); break;
    case 9: (void)snprintf(text, sizeof text, "keep %u", number_of(&world.blobs)); break;
    case 10: (void)snprintf(text, sizeof text, "kept"); break;
    default: (void)snprintf(text, sizeof text, "states"); break;
    }
    uint32_t answer;
    if (control(client, text, &answer) && to != NULL) keep(to, answer);
}

static void blob_put(void) {
    uint8_t bytes[256];
    uint32_t client = number_of(&world.clients);
    uint32_t length = take_bytes(&world.input, bytes, take8(&world.input));
    uint32_t blob = 0;
    if (atoll_blob_put(client, bytes, length, &blob) == ATOLL_OK) keep(&world.blobs, blob);
    CHECK(atoll_blob_put(client, NULL, 1, &blob) != ATOLL_OK);
}

static void blob_drop(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t blob = number_of(&world.blobs);
    atoll_status_t status = atoll_blob_drop(client, blob);
    if (status == ATOLL_OK) CHECK_EQUAL(atoll_blob_drop(client, blob) == ATOLL_OK, false);
}

static void plugin_find(void) {
    uint32_t client = number_of(&world.clients);
    uint8_t id[64] = "demo";
    uint32_t length = 4;
    if (take8(&world.input) >= 0x80) length = take_bytes(&world.input, id, take8(&world.input) % 64u);
    const atoll_plugin_info_t untouched = {.plugin = 0xA5A5A5A5u, .group = 0xA5A5A5A5u};
    atoll_plugin_info_t info = untouched;
    if (atoll_plugin_find(client, id, length, &info) == ATOLL_OK)
        keep(&world.plugins, info.plugin);
    else
        CHECK(memcmp(&info, &untouched, sizeof info) == 0);
}

static void target_find(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t plugin = number_of(&world.plugins);
    uint8_t name[64] = "demo:api/a#echo";
    uint32_t length = 15;
    uint8_t choice = take8(&world.input);
    if (choice >= 0xC0) length = take_bytes(&world.input, name, take8(&world.input) % 64u);
    const uint8_t *from = choice < 0x60 ? name + 11 : name;
    uint32_t target = 0xA5A5A5A5u;
    if (atoll_target_find(client, plugin, from, choice < 0x60 ? 4 : length, &target) == ATOLL_OK)
        keep(&world.targets, target);
    else
        CHECK_EQUAL(target, 0xA5A5A5A5u);
}

/* ---- the library ---- */

static void open_more(void) {
    uint8_t config[128];
    uint32_t length = take_bytes(&world.input, config, take8(&world.input) % 128u);
    atoll_arena_info_t info;
    if (world.opens == OPENS_MAX) return;
    CHECK_EQUAL(atoll_open(config, length, &info), ATOLL_OK);
    CHECK(info.base == (uintptr_t)world.base);
    /* What a thread did not close is closed by its end. */
    if (!world.elsewhere) world.opens++;
}

static void close_one(void) {
    if (world.opens < 2) return;
    CHECK_EQUAL(atoll_close(), world.elsewhere ? ATOLL_CLOSED : ATOLL_OK);
    if (!world.elsewhere) world.opens--;
}

static void engine_load(void) {
    uint8_t text[64];
    uint32_t length = take_bytes(&world.input, text, take8(&world.input) % 64u);
    uint32_t engine = 0;
    const char *path = test_engine_path();
    if (length % 2 == 0) {
        CHECK_EQUAL(
            atoll_engine_load(
                (const uint8_t *)path, (uint32_t)strlen(path), text, length, &engine),
            ATOLL_OK);
        CHECK_EQUAL(engine, world.engine);
    } else {
        /* Nowhere: what the machine has is not for a fuzzer to load. */
        memcpy(text, "/nowhere", length < 8 ? length : 8);
        CHECK(atoll_engine_load(text, length, NULL, 0, &engine) != ATOLL_OK);
    }
}

static void error_text(void) {
    uint32_t capacity = take8(&world.input);
    uint8_t *text = malloc(capacity + 1);
    CHECK(text != NULL);
    text[capacity] = 0xA5;
    CHECK(atoll_error_text(text, capacity) <= capacity);
    CHECK_EQUAL(text[capacity], 0xA5);
    free(text);
}

static void look(void) {
    atoll_stats_t stats;
    CHECK_EQUAL(atoll_stats(&stats), ATOLL_OK);
    uint32_t bytes_held = slots_used(&stats);
    if (world.held_all) CHECK(bytes_held >= world.held_count);
    CHECK(stats.clients <= ATOLL__CLIENTS_MAX);
    CHECK_EQUAL(atoll_abi_version(), ATOLL_ABI_VERSION);
}

/* Lets the workers and the warden do something. */
static void rest(void) {
    (void)usleep(take8(&world.input));
}

static void elsewhere(void);

static void (*const operations[])(void) = {
    client_open,   client_connect, client_attach, client_close, slot_take,    slot_give,
    slot_bytes,    copy_in,        copy_out,      frame_put,    frame_change, submit,
    call,          call,           chunk,         chunk,        reap,         drain,
    cancel,        stream_send,    stream_credit, engine_order, engine_order, blob_put,
    blob_drop,     plugin_find,    target_find,   open_more,    close_one,    engine_load,
    error_text,    look,           rest,          elsewhere,
};

static void operation(void) {
    operations[take8(&world.input) % (sizeof operations / sizeof operations[0])]();
}

static void *elsewhere_main(void *unused) {
    (void)unused;
    operation();
    return NULL;
}

/* The next operation by a thread of its own. */
static void elsewhere(void) {
    if (world.elsewhere || world.input.left == 0) return;
    world.elsewhere = true;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, elsewhere_main, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    world.elsewhere = false;
}

static void world_open(void) {
    /* Few calls: one that is lost is missed soon, and that there are none left comes to pass. */
    static const char config[] = "arena_bytes=33554432\ncalls_max=64\n";
    atoll_arena_info_t info;
    CHECK_EQUAL(
        atoll_open((const uint8_t *)config, (uint32_t)sizeof config - 1, &info), ATOLL_OK);
    world.base = (uint8_t *)(uintptr_t)info.base;
    world.opens = 1;
    world.held_all = true;
    const char *path = test_engine_path();
    CHECK_EQUAL(
        atoll_engine_load(
            (const uint8_t *)path, (uint32_t)strlen(path), NULL, 0, &world.engine),
        ATOLL_OK);
    for (uint32_t i = 0; i < CLIENTS; i++) world.members[i].socket = -1;
    client_open();
    uint32_t answer = 0;
    CHECK(control(world.clients.numbers[0], "group 4 4 0", &answer));
    keep(&world.groups, answer);
    for (uint32_t behaviour = 1; behaviour <= INSPECT; behaviour++) {
        char text[64];
        (void)snprintf(text, sizeof text, "target %u %u", behaviour, world.groups.numbers[0]);
        CHECK(control(world.clients.numbers[0], text, &answer));
        keep(&world.targets, answer);
    }
    world.tickets = (pool_t){0};
}

/* Everything comes back, whatever the program left open, running or half sent. */
static void world_close(void) {
    while (world.opens-- > 0) CHECK_EQUAL(atoll_close(), ATOLL_OK);
    CHECK_EQUAL(atoll_close(), ATOLL_CLOSED);
    for (uint32_t i = 0; i < CLIENTS; i++)
        if (world.members[i].socket >= 0) (void)close(world.members[i].socket);
    atoll_stats_t stats = {0};
    atoll__arena_stats(&stats);
    atoll__clients_stats(&stats);
    CHECK_EQUAL(slots_used(&stats), 0);
    CHECK_EQUAL(stats.clients, 0);
    CHECK_EQUAL(stats.calls_in_flight, 0);
    CHECK_EQUAL(atoll__router_count(), 0);
    CHECK_EQUAL(atoll__plugins_count(), 0);
}

void fuzz_api(const uint8_t *data, size_t size) {
    world = (world_t){.input = {.at = data}};
    world_open();
    world.input.left = size;
    while (world.input.left > 0) operation();
    world_close();
}
