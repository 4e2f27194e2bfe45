/* A small engine that exists to test the core, through the ABI only.
 *
 * Owns: behaviours, chosen by handle, that a real engine could show. Must not know the core's
 * insides. CONTROL requests are words: see control(). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

static uint32_t number;
static _Thread_local unsigned starts; /* call_start on this thread, CONTROL apart */
static atomic_uint attached; /* 0: nobody may call this engine */
static atomic_uint cancels;
static atomic_uint control_inline;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t *kept_bytes; /* kept_lock */
static uint64_t kept_length;

static uint32_t sum(const uint8_t *bytes, uint64_t length) {
    uint32_t result = 0;
    for (uint64_t i = 0; i < length; i++) result += bytes[i];
    return result;
}

/* Keeps another blob, or none, and lets go of the one before; the sum of its bytes. */
static uint32_t keep(uint8_t *bytes, uint64_t length) {
    pthread_mutex_lock(&kept_lock);
    uint8_t *before = kept_bytes;
    uint64_t before_length = kept_length;
    kept_bytes = bytes;
    kept_length = length;
    pthread_mutex_unlock(&kept_lock);
    uint32_t result = sum(before, before_length);
    host->blob_free(before, before_length);
    return result;
}

/* `group C Q B R`, `set G C Q B R`, `ungroup G`, `target H G`, `untarget T`, `release N`, `states`,
 * `starts`, `cancels`, `blob B`, `keep B`, `kept`,
 * `plugin G T` (id demo, export demo:api/a#echo), `unplugin P`: what each answers is a number. */
static atoll_status_t control(void *call, const char *text, char *answer, size_t capacity) {
    char word[16] = {0};
    unsigned a = 0, b = 0, c = 0, d = 0, e = 0;
    (void)sscanf(text, "%15s %u %u %u %u %u", word, &a, &b, &c, &d, &e);
    uint32_t result = 0;
    atoll_status_t status = ATOLL_OK;
    if (strcmp(word, "group") == 0) {
        atoll_group_limits_t limits = {a, b, c, d, 0, 0};
        status = host->group_add(&limits, &result);
    } else if (strcmp(word, "set") == 0) {
        atoll_group_limits_t limits = {b, c, d, e, 0, 0};
        status = host->group_set(a, &limits);
    } else if (strcmp(word, "ungroup") == 0) {
        status = host->group_remove(a);
    } else if (strcmp(word, "target") == 0) {
        status = host->target_add(number, a, b, &result);
    } else if (strcmp(word, "untarget") == 0) {
        status = host->target_remove(a);
    } else if (strcmp(word, "release") == 0) {
        result = held_release(a, ATOLL_OK);
    } else if (strcmp(word, "states") == 0) {
        result = atomic_load(&states);
    } else if (strcmp(word, "starts") == 0) {
        result = starts;
    } else if (strcmp(word, "cancels") == 0) {
        result = atomic_load(&cancels);
    } else if (strcmp(word, "inlined") == 0) {
        result = atomic_load(&control_inline);
    } else if (strcmp(word, "plugin") == 0) {
        atoll_export_t export = {
            .name = (const uint8_t *)"demo:api/a#echo", .name_length = 15, .target = b};
        status = host->plugin_add(number, a, (const uint8_t *)"demo", 4, &export, 1, &result);
    } else if (strcmp(word, "unplugin") == 0) {
        status = host->plugin_remove(a);
    } else if (strcmp(word, "blob") == 0) {
        uint8_t *bytes = NULL;
        uint64_t length = 0;
        status = host->blob_take(call, a, &bytes, &length);
        result = sum(bytes, length);
        if (status == ATOLL_OK) host->blob_free(bytes, length);
    } else if (strcmp(word, "keep") == 0) {
        uint8_t *bytes = NULL;
        uint64_t length = 0;
        status = host->blob_take(call, a, &bytes, &length);
        if (status == ATOLL_OK) (void)keep(bytes, length);
    } else if (strcmp(word, "kept") == 0) {
        result = keep(NULL, 0);
    } else {
        status = ATOLL_INVALID_ARGUMENT;
    }
    (void)snprintf(answer, capacity, "%u", result);
    return status;
}

static atoll_status_t start_control(void *call, const atoll_request_t *request) {
    char text[128] = {0};
    char answer[32];
    if (request->inline_allowed != 0) atomic_fetch_add(&control_inline, 1);
    uint32_t length = request->payload_length < 127 ? request->payload_length : 127;
    uint8_t *payload;
    if (host->call_payload(call, &payload) != ATOLL_OK) abort();
    memcpy(text, payload, length);
    atoll_status_t status = control(call, text, answer, sizeof answer);
    host->call_reply(call, status, 0, (uint8_t *)answer, (uint32_t)strlen(answer));
    return ATOLL_OK;
}

/* `PARTS BYTES SUM FIRST-TRACE-BYTE LAST-SPAN-BYTE TRACE-FLAGS IS-LIMIT DEADLINE`: the parts, their
 * bytes, the sum of all bytes; the trace context or zeroes. Without parts the payload counts as
 * none. */
static int inspect(const atoll_request_t *request, char *answer, size_t capacity) {
    const atoll_bytes_t *parts = (const atoll_bytes_t *)(const void *)request->parts;
    const atoll_trace_t *trace = (const atoll_trace_t *)(const void *)request->trace;
    uint64_t bytes = 0;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < request->parts_count; i++) {
        bytes += parts[i].length;
        for (uint64_t k = 0; k < parts[i].length; k++) sum += parts[i].bytes[k];
    }
    return snprintf(
        answer, capacity, "%u %llu %u %u %u %u %u %llu", request->parts_count,
        (unsigned long long)bytes, sum, trace == NULL ? 0u : trace->trace_id[0],
        trace == NULL ? 0u : trace->span_id[7], trace == NULL ? 0u : trace->flags,
        request->deadline_is_limit, (unsigned long long)request->deadline_ns);
}

static atoll_status_t start_here(void *call, const atoll_request_t *request) {
    uint8_t *payload;
    uint32_t length = request->payload_length;
    char text[16] = {0};
    if (host->call_payload(call, &payload) != ATOLL_OK) abort();
    memcpy(text, payload, length < 15 ? length : 15);
    uint32_t count = (uint32_t)strtoul(text, NULL, 10);
    uint32_t most = request->handle == LOGS ? 10000 : 128u << 20;
    if (count > most) count = most;
    if (request->handle == GROW) {
        uint8_t *bytes = malloc(count + 1);
        if (bytes == NULL) abort();
        memset(bytes, 'g', count);
        host->call_reply(call, ATOLL_OK, ATOLL_FLAG_JSON, bytes, count);
        free(bytes);
    } else if (request->handle == LOGS) {
        for (uint32_t i = 0; i < count; i++) {
            char line[32];
            int size = snprintf(line, sizeof line, "line %u", i);
            /* Of its flags a line has no others. */
            uint32_t more = ATOLL_FLAG_END | ATOLL_FLAG_EXTENDED | ATOLL_FLAG_JSON;
            uint32_t flags = i % 3 == 1 ? ATOLL_FLAG_STDERR : i % 3 == 2 ? ATOLL_LINE_ACCESS : 0;
            host->call_event(
                call, ATOLL_KIND_LOG, flags | more, (uint8_t *)line, (uint32_t)size);
        }
        host->call_reply(call, ATOLL_OK, 0, NULL, 0);
    } else if (request->handle == INSPECT) {
        char answer[128];
        int size = inspect(request, answer, sizeof answer);
        host->call_reply(call, ATOLL_OK, 0, (uint8_t *)answer, (uint32_t)size);
    } else if (request->handle == BUDGET) {
        char line[32];
        int size = snprintf(line, sizeof line, "%u", request->inline_allowed);
        host->call_reply(call, ATOLL_OK, 0, (uint8_t *)line, (uint32_t)size);
    } else {
        host->call_reply(call, ATOLL_OK, request->flags & ATOLL_FLAG_ENCODING, payload, length);
        if (request->handle == TWICE) host->call_reply(call, ATOLL_TRAP, 0, NULL, 0);
    }
    return ATOLL_OK;
}

static atoll_status_t call_start(
    void *engine, void *call, const atoll_request_t *request, void **stored) {
    (void)engine;
    if (atomic_load(&attached) == 0) abort();
    if (request->kind == ATOLL_KIND_CONTROL) return start_control(call, request);
    starts++;
    uint32_t behaviour = request->handle;
    if (behaviour == FORGET) return ATOLL_OK;
    if (behaviour == REFUSE) return ATOLL_TRAP;
    bool holds = behaviour == HOLD || behaviour == DEAF || behaviour == STUBBORN;
    bool waits = holds || behaviour == PEND || behaviour == STREAM || behaviour == QUICK ||
                 behaviour == LAZY || behaviour == WRITER;
    /* An echo that may not run here goes to a worker; the others are quick enough. */
    if (!waits && (request->inline_allowed != 0 || behaviour != ECHO))
        return start_here(call, request);
    state_t *state = state_new(call, request);
    *stored = state;
    if (holds || behaviour == LAZY) held_add(state);
    if (behaviour == LAZY) return ATOLL_PENDING;
    atoll_status_t status = host->call_migrate(call);
    if (behaviour == QUICK)
        end(state, ATOLL_OK, state->payload, state->length);
    else if (!holds)
        job_add(state);
    else if (status == ATOLL_CANCELLED)
        end(state, ATOLL_CANCELLED, NULL, 0);
    return ATOLL_PENDING;
}

static void call_cancel(void *engine, void *argument) {
    (void)engine;
    if (atomic_load(&attached) == 0) abort();
    state_t *state = argument;
    atomic_fetch_add(&cancels, 1);
    pthread_mutex_lock(&state->lock);
    state->cancelled = true;
    pthread_cond_broadcast(&state->changed);
    pthread_mutex_unlock(&state->lock);
    uint32_t behaviour = state->behaviour;
    if (behaviour != STREAM && behaviour != WRITER && behaviour != STUBBORN)
        end(state, ATOLL_CANCELLED, NULL, 0);
}

static atoll_status_t call_chunk(
    void *engine, void *argument, uint32_t chunk, const uint8_t *bytes, uint32_t length,
    uint32_t flags) {
    (void)engine;
    state_t *state = argument;
    if (state->behaviour != STREAM) return ATOLL_CLOSED;
    pthread_mutex_lock(&state->lock);
    uint32_t place = (state->chunk_first + state->chunk_count) % 8;
    state->chunks[place] = chunk;
    state->chunk_bytes[place] = bytes;
    state->chunk_lengths[place] = length;
    state->chunk_flags[place] = flags;
    state->chunk_count++;
    pthread_cond_broadcast(&state->changed);
    pthread_mutex_unlock(&state->lock);
    return ATOLL_OK;
}

static void call_credit(void *engine, void *argument, uint32_t chunks) {
    (void)engine;
    state_t *state = argument;
    pthread_mutex_lock(&state->lock);
    state->credits += chunks;
    pthread_cond_broadcast(&state->changed);
    pthread_mutex_unlock(&state->lock);
}

static void state_free(void *engine, void *argument) {
    (void)engine;
    put(argument);
}

static void engine_close(void *engine) {
    (void)engine;
    held_release(UINT32_MAX, ATOLL_CANCELLED);
    (void)keep(NULL, 0);
    workers_stop();
    atomic_store(&attached, 0);
}

atoll_status_t atoll_engine_attach(
    uint32_t abi_version, const atoll_host_t *table, uint32_t engine, const uint8_t *config,
    uint32_t config_length, atoll_engine_t *offered, void **context, uint8_t *text,
    uint32_t *text_length) {
    if (abi_version != ATOLL_ABI_VERSION || table->abi_version != ATOLL_ABI_VERSION)
        return ATOLL_VERSION;
    if (config_length == 6 && memcmp(config, "refuse", 6) == 0) {
        static const char why[] = "the configuration says so";
        memcpy(text, why, sizeof why - 1);
        *text_length = sizeof why - 1;
        return ATOLL_INVALID_ARGUMENT;
    }
    if (config_length == 5 && memcmp(config, "mute!", 5) == 0) return ATOLL_INVALID_ARGUMENT;
    /* Attached twice: whoever refused it last has not closed it. */
    if (atomic_load(&attached) != 0) abort();
    host = table;
    number = engine;
    *context = &states;
    *offered = (atoll_engine_t){
        .abi_version = config_length == 3 && memcmp(config, "old", 3) == 0 ? 0
                                                                           : ATOLL_ABI_VERSION,
        .call_start = call_start,
        .call_cancel = call_cancel,
        .call_chunk = call_chunk,
        .call_credit = call_credit,
        .state_free = state_free,
        .close = engine_close,
    };
    if (offered->abi_version == 0) return ATOLL_OK;
    if (config_length == 4 && memcmp(config, "gaps", 4) == 0) offered->call_chunk = NULL;
    atomic_store(&attached, 1);
    return workers_start() ? ATOLL_OK : ATOLL_IO;
}
