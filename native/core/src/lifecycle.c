/* What happens to a call between its submission and its reply: start, migration, cancel, reply.
 *
 * Owns: who tells the engine what, and that each call is answered once. Must not know how calls are
 * counted or how their tickets are made. */
#include "internal.h"

static uint32_t elapsed_us(uint64_t since_ns) {
    uint64_t us = (atoll__prim_now_ns() - since_ns) / 1000u;
    return us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

/* Writes the reply into the request's slot, or a larger one; fills in the event. */
static atoll_event_t reply_write(
    atoll__call_t *call, atoll_status_t status, uint32_t flags, const uint8_t *bytes,
    uint32_t length) {
    uint32_t client = call->client_number;
    uint32_t slot = call->slot;
    uint32_t capacity = atoll__slot_capacity(slot);
    if (length > capacity - ATOLL_FRAME_BYTES) {
        uint32_t larger = length > atoll__arena_payload_max()
                              ? 0
                              : atoll__slot_take(
                                    client, ATOLL_FRAME_BYTES + length, ATOLL__HOLD_LIBRARY);
        if (larger == 0) {
            status = ATOLL_NO_MEMORY;
            flags = 0;
            length = 0;
        } else {
            slot = larger;
        }
    }
    atoll_frame_t frame = {
        .kind = ATOLL_KIND_REPLY,
        .flags = (uint16_t)((flags & ATOLL_FLAG_ENCODING) | ATOLL_FLAG_END |
                            (call->frame_flags & ATOLL_FLAG_CHECKED)),
        .request_id = call->request.request_id,
        .target = status,
        .payload_length = length,
    };
    atoll__frame_write(atoll__slot_bytes(slot), &frame, bytes);
    /* Only now: the engine's bytes may have been the request's own. */
    if (slot != call->slot) (void)atoll__slot_free(client, call->slot, ATOLL__HOLD_LIBRARY);
    call->slot = 0;
    return (atoll_event_t){
        .status = status,
        .kind = ATOLL_KIND_REPLY,
        .ticket = call->ticket,
        .slot = slot,
        .length = length,
        .flags = frame.flags,
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
    return atomic_load_explicit(&call->client->state, memory_order_seq_cst) != ATOLL__CLIENT_OPEN;
}

void atoll__call_queued(uint32_t ticket) {
    atoll__call_t *call = atoll__call_acquire(ticket);
    if (call == NULL) return;
    /* SYNC POINT: cancel-seen. After the call became QUEUED; paired with cancel-wanted and, where
     * its client died in the meantime, client-dead. */
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
    /* SYNC POINT: call-migrate. After the call became RUNNING; paired with client-dead. */
    else if (client_gone(call))
        status = ATOLL_CANCELLED;
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

