/* What happens to a call between its submission and its reply: start, migration, cancel, reply.
 *
 * Owns: who tells the engine what, and that each call is answered once. Must not know how calls are
 * counted or how their tickets are made. */
#include <stdio.h>

#include "internal.h"

static uint32_t elapsed_us(uint64_t since_ns) {
    uint64_t us = (atoll__prim_now_ns() - since_ns) / 1000u;
    return us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

/* Writes a reply that the request's slot has no room for: into a larger one, or where there is no
 * contiguous room left, spread over several. The frame's slot; 0: no memory. No longer than a message
 * may be. */
static uint32_t reply_write_large(
    atoll__call_t *call, const atoll_frame_t *frame, const uint8_t *bytes, uint32_t *flags) {
    uint32_t length = frame->payload_length;
    uint32_t slot = atoll__slot_take(
        call->client_number, ATOLL_FRAME_BYTES + length, ATOLL__HOLD_LIBRARY);
    if (slot != 0) {
        atoll__frame_write(atoll__slot_bytes(slot), frame, NULL, bytes);
        return slot;
    }
    *flags |= ATOLL_FLAG_EXTENDED;
    return atoll__chain_write(call->client_number, call->slot, frame, bytes, length);
}

static atoll_event_t reply_write(
    atoll__call_t *call, atoll_status_t status, uint32_t flags, const uint8_t *bytes,
    uint32_t length);

/* A result that no message can be long enough for. Not for want of memory: it would be the same the
 * next time. */
static atoll_event_t reply_too_long(atoll__call_t *call, uint32_t length) {
    char text[256];
    int written = snprintf(
        text, sizeof text,
        "{\"message\":\"the result has %u bytes and a message holds at most %u: a quarter of the "
        "arena, 32 MiB at most\",\"limit\":\"message bytes\",\"key\":\"native.arena.bytes\","
        "\"value\":%u}",
        length, atoll__arena_payload_max(), atoll__arena_payload_max());
    return reply_write(
        call, ATOLL_LIMIT, ATOLL_FLAG_JSON, (const uint8_t *)text, (uint32_t)written);
}

/* Writes the reply into the request's slot, or elsewhere; fills in the event. */
static atoll_event_t reply_write(
    atoll__call_t *call, atoll_status_t status, uint32_t flags, const uint8_t *bytes,
    uint32_t length) {
    if (length > atoll__arena_payload_max()) return reply_too_long(call, length);
    uint32_t client = call->client_number;
    uint32_t slot = call->slot;
    atoll_frame_t frame = {
        .kind = ATOLL_KIND_REPLY,
        .flags = (uint16_t)((flags & ATOLL_FLAG_ENCODING) | ATOLL_FLAG_END |
                            (call->frame_flags & ATOLL_FLAG_CHECKED)),
        .request_id = call->request.request_id,
        .target = status,
        .payload_length = length,
    };
    uint32_t event_flags = frame.flags;
    if (length > atoll__slot_capacity(slot) - ATOLL_FRAME_BYTES)
        slot = reply_write_large(call, &frame, bytes, &event_flags);
    else
        atoll__frame_write(atoll__slot_bytes(slot), &frame, NULL, bytes);
    if (slot == 0) return reply_write(call, ATOLL_NO_MEMORY, 0, NULL, 0);
    /* Only now: the engine's bytes may have been the request's own. */
    if (slot != call->slot) (void)atoll__slot_free(client, call->slot, ATOLL__HOLD_LIBRARY);
    call->slot = 0;
    return (atoll_event_t){
        .status = status,
        .kind = ATOLL_KIND_REPLY,
        .ticket = call->ticket,
        .slot = slot,
        .length = length,
        .flags = event_flags,
        .elapsed_us = elapsed_us(call->started_ns),
        .lost = atomic_exchange_explicit(&call->logs_lost, 0, memory_order_relaxed),
    };
}

void atoll__call_finish(
    atoll__call_t *call, atoll__state_t end, atoll_status_t status, uint32_t flags,
    const uint8_t *bytes, uint32_t length) {
    uint32_t group = call->group;
    atoll_event_t event = reply_write(call, status, flags, bytes, length);
    /* Before the reply can be seen: who waits for it and calls again finds the place free. */
    bool waited_for = call->permitted && atoll__group_leave(group);
    if (end == ATOLL__ENDED) {
        call->ended = event;
    } else {
        call->reply_node.call = call;
        call->reply_node.event = event;
        atoll__event_push(call->client, &call->reply_node);
    }
    if (waited_for) atoll__group_pump(group);
    atoll__call_unuse(call);
}

/* Sends engine.call_cancel once, if the engine has the call. */
static void cancel_send(atoll__call_t *call) {
    if (atoll__call_state(call) != ATOLL__RUNNING || !atoll__call_use(call)) return;
    ATOLL__WINDOW();
    /* An engine that stored no state has nothing that could be cancelled. */
    if (atomic_exchange(&call->cancel_sent, 1) == 0 && call->engine_state != NULL)
        call->engine->table.call_cancel(call->engine->context, call->engine_state);
    atoll__call_unuse(call);
}

void atoll__call_cancel(atoll__call_t *call) {
    /* SYNC POINT: cancel-wanted. Stored before the look at the state; paired with cancel-seen. */
    atomic_store_explicit(&call->cancel_wanted, 1, memory_order_seq_cst);
    ATOLL__WINDOW();
    if (atoll__call_state(call) == ATOLL__QUEUED && atoll__group_withdraw(call)) {
        atoll__call_finish(call, ATOLL__DONE, ATOLL_CANCELLED, 0, NULL, 0);
        return;
    }
    cancel_send(call);
}

static bool client_gone(const atoll__call_t *call) {
    /* SYNC POINT: client-gone. After the call became QUEUED or RUNNING: else who kills the client
     * sees the call; paired with client-dead. */
    return atomic_load_explicit(&call->client->state, memory_order_seq_cst) != ATOLL__CLIENT_OPEN;
}

void atoll__call_queued(uint32_t ticket) {
    atoll__call_t *call = atoll__call_acquire(ticket);
    if (call == NULL) return;
    /* SYNC POINT: cancel-seen. After the call became QUEUED; paired with cancel-wanted. */
    bool wanted = atomic_load_explicit(&call->cancel_wanted, memory_order_seq_cst) != 0;
    if (wanted || client_gone(call)) atoll__call_cancel(call);
    atoll__call_release(call);
}

/* Runs call_start and sorts out how it went; the caller holds a use of its own. */
void atoll__call_start(atoll__call_t *call, uint32_t ticket) {
    atoll__engine_t *engine = call->engine;
    atoll_status_t status = engine->table.call_start(
        engine->context, (void *)(uintptr_t)ticket, &call->request, &call->engine_state);
    atoll__state_t state = atoll__call_state(call);
    /* An engine that says OK or refuses without a reply would leave the caller waiting. */
    uint32_t unanswered = 1u << ATOLL__INLINE | 1u << ATOLL__STARTING | 1u << ATOLL__RUNNING;
    if (status != ATOLL_PENDING && (unanswered & 1u << state) != 0) {
        atoll__state_t end = state == ATOLL__INLINE ? ATOLL__ENDED : ATOLL__DONE;
        if (atoll__call_move(call, ticket, 1u << state, end) == state)
            atoll__call_finish(
                call, end, status == ATOLL_OK ? ATOLL_PANIC : status, 0, NULL, 0);
        return;
    }
    if (state == ATOLL__INLINE || state == ATOLL__STARTING)
        (void)atoll__host_migrate((void *)(uintptr_t)ticket);
    /* SYNC POINT: cancel-seen. After the call became RUNNING; paired with cancel-wanted. */
    bool wanted = atomic_load_explicit(&call->cancel_wanted, memory_order_seq_cst) != 0;
    if (wanted || client_gone(call)) cancel_send(call);
    if (call->request.kind == ATOLL_KIND_HTTP) atoll__stream_deliver(call);
}

void atoll__call_start_queued(atoll__call_t *call) {
    uint32_t ticket = call->ticket;
    (void)atoll__call_use(call);
    call->request.inline_allowed = 0;
    if (call->request.deadline_ns <= atoll__prim_now_ns()) {
        if (atoll__call_move(call, ticket, 1u << ATOLL__STARTING, ATOLL__DONE) != ATOLL__FREE)
            atoll__call_finish(call, ATOLL__DONE, ATOLL_DEADLINE, 0, NULL, 0);
    } else {
        atoll__call_start(call, ticket);
    }
    atoll__call_unuse(call);
}

atoll_status_t atoll__host_migrate(void *handle) {
    uint32_t ticket = (uint32_t)(uintptr_t)handle;
    atoll__call_t *call = atoll__call_acquire(ticket);
    if (call == NULL) return ATOLL_NOT_FOUND;
    atoll__state_t state = atoll__call_state(call);
    /* Only the thread inside call_start may be here, so that the state cannot move meanwhile. */
    if (state == ATOLL__INLINE) atoll__call_count(call);
    uint32_t mask = 1u << ATOLL__INLINE | 1u << ATOLL__STARTING;
    ATOLL__WINDOW();
    bool moved = atoll__call_move(call, ticket, mask, ATOLL__RUNNING) != ATOLL__FREE;
    atoll_status_t status = ATOLL_OK;
    if (!moved)
        status = ATOLL_INVALID_ARGUMENT;
    else if (client_gone(call))
        status = ATOLL_CANCELLED;
    atoll__call_release(call);
    return status;
}

atoll_status_t atoll__host_payload(void *handle, uint8_t **bytes) {
    atoll__call_t *call = atoll__call_acquire((uint32_t)(uintptr_t)handle);
    if (call == NULL) return ATOLL_NOT_FOUND;
    atoll_status_t status = ATOLL_OK;
    const uint8_t *whole = call->request.payload;
    if (call->chain != NULL) whole = atoll__chain_whole(call->chain);
    if (whole == NULL) status = ATOLL_NO_MEMORY;
    /* The table's type is shared with what an engine may write. */
    *bytes = (uint8_t *)(uintptr_t)whole;
    atoll__call_release(call);
    return status;
}

void atoll__host_reply(
    void *handle, uint32_t status, uint32_t flags, const uint8_t *bytes, uint32_t length) {
    uint32_t ticket = (uint32_t)(uintptr_t)handle;
    atoll__call_t *call = atoll__call_of(ticket);
    if (call == NULL) return;
    /* No reference is taken: who makes one of these moves owns the engine's. */
    if (atoll__call_move(call, ticket, 1u << ATOLL__INLINE, ATOLL__ENDED) != ATOLL__FREE) {
        atoll__call_finish(call, ATOLL__ENDED, status, flags, bytes, length);
        return;
    }
    uint32_t mask = 1u << ATOLL__STARTING | 1u << ATOLL__RUNNING;
    if (atoll__call_move(call, ticket, mask, ATOLL__DONE) == ATOLL__FREE) return;
    atoll__count_add(ATOLL__COUNT_MIGRATED, 1);
    atoll__call_finish(call, ATOLL__DONE, status, flags, bytes, length);
}

void atoll__calls_cancel(uint32_t client) {
    atoll__calls_each(client, atoll__call_cancel);
}

static void abandon(atoll__call_t *call) {
    uint32_t mask = 1u << ATOLL__STARTING | 1u << ATOLL__RUNNING;
    if (atoll__call_move(call, call->ticket, mask, ATOLL__DONE) != ATOLL__FREE)
        atoll__call_finish(call, ATOLL__DONE, ATOLL_CANCELLED, 0, NULL, 0);
}

void atoll__calls_abandon(void) {
    atoll__calls_each(0, abandon);
}

