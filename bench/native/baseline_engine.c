/* An engine that answers at once: what is left of a call is the core's part of it.
 *
 * Owns: two targets, numbers 0 and 1 of the reply to any CONTROL request. The first answers on the
 * caller's thread; the second moves the call to the workers and answers for them, so that its reply
 * comes by the ring and no other thread has a part in it. */
#include <string.h>

#include "atoll.h"

enum { INLINE = 1, MIGRATED = 2 };

static const atoll_host_t *host;
static uint32_t targets[2];

static atoll_status_t call_start(
    void *engine, void *call, const atoll_request_t *request, void **state) {
    (void)engine;
    (void)state;
    if (request->kind == ATOLL_KIND_CONTROL) {
        host->call_reply(call, ATOLL_OK, 0, (const uint8_t *)targets, sizeof targets);
        return ATOLL_OK;
    }
    atoll_status_t status = ATOLL_OK;
    if (request->handle == MIGRATED) {
        (void)host->call_migrate(call);
        status = ATOLL_PENDING;
    }
    host->call_reply(call, ATOLL_OK, 0, request->payload, request->payload_length);
    return status;
}

static void call_cancel(void *engine, void *state) {
    (void)engine;
    (void)state;
}

static atoll_status_t call_chunk(
    void *engine, void *state, uint32_t chunk, const uint8_t *bytes, uint32_t length,
    uint32_t flags) {
    (void)engine;
    (void)state;
    (void)chunk;
    (void)bytes;
    (void)length;
    (void)flags;
    return ATOLL_UNSUPPORTED;
}

static void call_credit(void *engine, void *state, uint32_t chunks) {
    (void)engine;
    (void)state;
    (void)chunks;
}

static void nothing(void *engine, void *state) {
    (void)engine;
    (void)state;
}

static void close_engine(void *engine) {
    (void)engine;
}

ATOLL_EXPORT atoll_status_t atoll_engine_attach(
    uint32_t abi_version, const atoll_host_t *given, uint32_t engine, const uint8_t *config,
    uint32_t config_length, atoll_engine_t *table, void **context, uint8_t *text,
    uint32_t *text_length) {
    (void)config;
    (void)config_length;
    (void)context;
    (void)text;
    *text_length = 0;
    if (abi_version != ATOLL_ABI_VERSION) return ATOLL_VERSION;
    host = given;
    *table = (atoll_engine_t){
        .abi_version = ATOLL_ABI_VERSION,
        .call_start = call_start,
        .call_cancel = call_cancel,
        .call_chunk = call_chunk,
        .call_credit = call_credit,
        .state_free = nothing,
        .close = close_engine,
    };
    const atoll_group_limits_t limits = {
        .concurrency_max = 64,
        .queue_max = 64,
        .budget_default_us = 60000000,
    };
    uint32_t group = 0;
    atoll_status_t status = host->group_add(&limits, &group);
    for (uint32_t i = 0; i < 2 && status == ATOLL_OK; i++)
        status = host->target_add(engine, i == 0 ? INLINE : MIGRATED, group, &targets[i]);
    return status;
}
