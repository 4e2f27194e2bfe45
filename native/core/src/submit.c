/* atoll_submit: from a frame in a slot to a call that has ended, runs or waits.
 *
 * Owns: what a request must be and what the client's area says afterwards. Must not know how a
 * reply is written. */
#include <string.h>

#include "epoch.h"
#include "internal.h"

/* What a frame that is to be submitted must be, beside valid. */
static atoll_status_t request_read(
    uint32_t slot, atoll__message_t *message, atoll__route_t *route, atoll__engine_t **engine) {
    atoll_fault_t fault = atoll__frame_receive(
        ATOLL__PEER_SELF, atoll__slot_bytes(slot), atoll__slot_capacity(slot), NULL, 0, message);
    if (fault != ATOLL_FAULT_NONE) return atoll__frame_refuse(fault, &message->frame);
    const atoll_frame_t *frame = &message->frame;
    if (frame->kind < ATOLL_KIND_CALL || frame->kind > ATOLL_KIND_CONTROL)
        return atoll__fail(ATOLL_INVALID_FRAME, "Cannot submit: the frame is not a request");
    if (frame->kind == ATOLL_KIND_CONTROL) {
        *route = (atoll__route_t){.engine = frame->target};
        *engine = atoll__engine_at(frame->target);
        return *engine != NULL ? ATOLL_OK : ATOLL_NOT_FOUND;
    }
    atoll__pin_t pin = atoll__epoch_pin();
    if (pin.reader == NULL) return atoll__fail(ATOLL_NO_MEMORY, "Cannot submit: out of memory");
    bool found = atoll__router_find(frame->target, route);
    atoll__epoch_unpin(pin);
    /* An engine may add targets before it is attached. */
    *engine = found ? atoll__engine_at(route->engine) : NULL;
    return *engine != NULL ? ATOLL_OK : ATOLL_NOT_FOUND;
}

/* The extension's time on CLOCK_MONOTONIC. */
static uint64_t deadline_of(const atoll_deadline_t *deadline, uint64_t now_ns) {
    if (deadline->clock == ATOLL_CLOCK_MONOTONIC) return deadline->at_ns;
    uint64_t wall_ns = atoll__prim_wall_ns();
    if (deadline->at_ns <= wall_ns) return now_ns;
    uint64_t left_ns = deadline->at_ns - wall_ns;
    return left_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + left_ns;
}

/* What the extensions say. Not OK: the parts are not the client's, or the deadline is over. */
static atoll_status_t call_extend(atoll__call_t *call, const atoll__message_t *message) {
    if (atoll__message_has(message, ATOLL_EXTENSION_TRACE)) {
        call->trace = atoll__trace_extension(&message->trace);
        call->request.trace = (const uint8_t *)&call->trace;
    }
    if (message->parts_count > 0) {
        atoll_status_t status = atoll__chain_take(call->client_number, message, &call->chain);
        if (status != ATOLL_OK) return status;
        call->request.payload = NULL;
        call->request.payload_length = (uint32_t)call->chain->bytes;
        call->request.parts = (const uint8_t *)call->chain->parts;
        call->request.parts_count = call->chain->count;
        /* Nobody puts pieces together on the client's thread. */
        call->request.inline_allowed = 0;
    }
    if (!atoll__message_has(message, ATOLL_EXTENSION_DEADLINE)) return ATOLL_OK;
    uint64_t deadline_ns = deadline_of(&message->deadline, call->started_ns);
    if (deadline_ns < call->request.deadline_ns) {
        call->request.deadline_ns = deadline_ns;
        call->request.deadline_is_limit = 0;
    }
    return deadline_ns > call->started_ns ? ATOLL_OK : ATOLL_DEADLINE;
}

static void call_fill(
    atoll__call_t *call, atoll__client_t *client, uint32_t slot, const atoll__message_t *message,
    const atoll__route_t *route, atoll__engine_t *engine, uint64_t budget_us,
    bool budget_is_limit) {
    const atoll_frame_t *frame = &message->frame;
    call->client = client;
    call->client_number = atomic_load_explicit(&client->number, memory_order_relaxed);
    call->slot = slot;
    call->group = route->group;
    call->frame_flags = frame->flags;
    call->engine = engine;
    call->started_ns = atoll__prim_now_ns();
    bool detached = (frame->flags & ATOLL_FLAG_DETACHED) != 0 ||
                    frame->kind == ATOLL_KIND_CONTROL ||
                    frame->payload_length > ATOLL__INLINE_PAYLOAD_MAX;
    call->request = (atoll_request_t){
        .payload = message->payload,
        .deadline_ns = call->started_ns + budget_us * 1000u,
        .request_id = frame->request_id,
        .payload_length = frame->payload_length,
        .handle = route->handle,
        .kind = frame->kind,
        .flags = frame->flags,
        .ticket = call->ticket,
        .inline_allowed = detached ? 0 : 1,
        .deadline_is_limit = budget_is_limit ? 1 : 0,
    };
    if (frame->kind == ATOLL_KIND_HTTP) atoll__stream_reset(call);
}

static void area_write(atoll__client_t *client, const atoll_event_t *event) {
    memcpy(client->area, event, sizeof *event);
}

static atoll_status_t area_pending(atoll__client_t *client, uint32_t ticket) {
    atoll_event_t event = {.status = ATOLL_PENDING, .kind = ATOLL_KIND_REPLY, .ticket = ticket};
    area_write(client, &event);
    return ATOLL_PENDING;
}

static atoll_status_t call_refuse(
    atoll__client_t *client, uint32_t slot, atoll__call_t *call, atoll_status_t status) {
    if (call != NULL) {
        /* The parts go back with the frame; else the call would free them. */
        if (call->chain != NULL) atoll__chain_return(call->chain);
        call->chain = NULL;
        atoll__call_unuse(call);
    }
    (void)atoll__slot_move(
        atomic_load_explicit(&client->number, memory_order_relaxed), slot, ATOLL__HOLD_LIBRARY,
        ATOLL__HOLD_CLIENT);
    if (status == ATOLL_NOT_FOUND)
        return atoll__fail(status, "Cannot submit: no such target or engine, or a stale one");
    if (status == ATOLL_DEADLINE)
        return atoll__fail(status, "Cannot submit: the deadline of the frame is over");
    if (status != ATOLL_OVERLOADED && status != ATOLL_RATE_LIMITED) return status;
    atoll__count_add(ATOLL__COUNT_REFUSED, 1);
    if (status == ATOLL_RATE_LIMITED)
        return atoll__fail(status, "Cannot submit: as many calls as allowed in a second came");
    if (call == NULL)
        return atoll__fail(status, "Cannot submit: native.callsMax calls are in flight");
    return atoll__fail(status, "Cannot submit: as many calls as allowed are running and waiting");
}

atoll_status_t atoll__call_submit(atoll__client_t *client, uint32_t slot) {
    uint32_t number = atomic_load_explicit(&client->number, memory_order_relaxed);
    if (!atoll__slot_move(number, slot, ATOLL__HOLD_CLIENT, ATOLL__HOLD_LIBRARY))
        return atoll__fail(ATOLL_INVALID_FRAME, "Cannot submit: not a slot of this client");
    atoll__message_t message;
    atoll__route_t route;
    atoll__engine_t *engine = NULL;
    atoll_status_t status = request_read(slot, &message, &route, &engine);
    if (status != ATOLL_OK) return call_refuse(client, slot, NULL, status);
    atoll__call_t *call = atoll__call_new();
    if (call == NULL) return call_refuse(client, slot, NULL, ATOLL_OVERLOADED);
    uint32_t ticket = call->ticket;
    /* Read once: budget and places are of the same setting. */
    const atoll_frame_t *frame = &message.frame;
    atoll__limits_t limits = {.budget_us = ATOLL__CONTROL_BUDGET_US};
    bool grouped = frame->kind != ATOLL_KIND_CONTROL;
    if (grouped) (void)atoll__group_limits(route.group, &limits);
    bool asks_less = frame->budget_us != 0 && frame->budget_us < limits.budget_us;
    call_fill(
        call, client, slot, &message, &route, engine,
        asks_less ? frame->budget_us : limits.budget_us, grouped && !asks_less);
    if (message.known != 0) status = call_extend(call, &message);
    atoll__call_publish(call);
    if (status != ATOLL_OK) return call_refuse(client, slot, call, status);
    if (grouped) {
        status = atoll__group_enter(route.group, &limits, call);
        if (status == ATOLL_PENDING) {
            atoll__call_queued(ticket);
            return area_pending(client, ticket);
        }
        if (status != ATOLL_OK) return call_refuse(client, slot, call, status);
        call->permitted = true;
    }
    (void)atoll__call_use(call);
    atoll__call_start(call, ticket);
    if (atoll__call_state(call) != ATOLL__ENDED) {
        atoll__call_unuse(call);
        return area_pending(client, ticket);
    }
    atoll__count_add(ATOLL__COUNT_INLINE, 1);
    atoll_event_t event = call->ended;
    if (!atoll__slot_move(number, event.slot, ATOLL__HOLD_LIBRARY, ATOLL__HOLD_CLIENT))
        assert(false);
    area_write(client, &event);
    atoll__call_unuse(call);
    return ATOLL_OK;
}
