/* atoll_submit: from a frame in a slot to a call that has ended, runs or waits.
 *
 * Owns: what a request must be and what the client's area says afterwards. Must not know how a
 * reply is written. */
#include <string.h>

#include "epoch.h"
#include "internal.h"

/* What a frame that is to be submitted must be, beside valid. */
static atoll_status_t request_read(uint32_t slot, atoll_frame_t *frame, atoll__route_t *route) {
    atoll_status_t status =
        atoll__frame_read(atoll__slot_bytes(slot), atoll__slot_capacity(slot), frame);
    if (status != ATOLL_OK) return status;
    if (frame->kind < ATOLL_KIND_CALL || frame->kind > ATOLL_KIND_CONTROL)
        return atoll__fail(ATOLL_INVALID_FRAME, "Cannot submit: the frame is not a request");
    if (frame->kind == ATOLL_KIND_CONTROL) {
        *route = (atoll__route_t){.engine = frame->target};
        if (atoll__engine_at(frame->target) == NULL)
            return ATOLL_NOT_FOUND;
        return ATOLL_OK;
    }
    atoll__pin_t pin = atoll__epoch_pin();
    if (pin.reader == NULL) return atoll__fail(ATOLL_NO_MEMORY, "Cannot submit: out of memory");
    bool found = atoll__router_find(frame->target, route);
    atoll__epoch_unpin(pin);
    /* An engine may add targets before it is attached. */
    return found && atoll__engine_at(route->engine) != NULL ? ATOLL_OK : ATOLL_NOT_FOUND;
}

static void call_fill(
    atoll__call_t *call, atoll__client_t *client, uint32_t slot, const atoll_frame_t *frame,
    const atoll__route_t *route, uint32_t budget_us) {
    call->client = client;
    call->client_number = atomic_load_explicit(&client->number, memory_order_relaxed);
    call->slot = slot;
    call->group = route->group;
    call->frame_flags = frame->flags;
    call->engine = atoll__engine_at(route->engine);
    call->started_ns = atoll__prim_now_ns();
    bool detached = (frame->flags & ATOLL_FLAG_DETACHED) != 0 ||
                    frame->kind == ATOLL_KIND_CONTROL ||
                    frame->payload_length > ATOLL__INLINE_PAYLOAD_MAX;
    call->request = (atoll_request_t){
        .payload = atoll__slot_bytes(slot) + atoll__frame_payload_offset(frame),
        .deadline_ns = call->started_ns + (uint64_t)budget_us * 1000u,
        .request_id = frame->request_id,
        .payload_length = frame->payload_length,
        .handle = route->handle,
        .kind = frame->kind,
        .flags = frame->flags,
        .ticket = call->ticket,
        .inline_allowed = detached ? 0 : 1,
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
    if (call != NULL) atoll__call_unuse(call);
    (void)atoll__slot_move(
        atomic_load_explicit(&client->number, memory_order_relaxed), slot, ATOLL__HOLD_LIBRARY,
        ATOLL__HOLD_CLIENT);
    if (status == ATOLL_NOT_FOUND)
        return atoll__fail(status, "Cannot submit: no such target or engine, or a stale one");
    if (status != ATOLL_OVERLOADED) return status;
    atoll__count_add(ATOLL__COUNT_REFUSED, 1);
    return atoll__fail(status, "Cannot submit: as many calls as allowed are running and waiting");
}

atoll_status_t atoll__call_submit(atoll__client_t *client, uint32_t slot) {
    uint32_t number = atomic_load_explicit(&client->number, memory_order_relaxed);
    if (!atoll__slot_move(number, slot, ATOLL__HOLD_CLIENT, ATOLL__HOLD_LIBRARY))
        return atoll__fail(ATOLL_INVALID_FRAME, "Cannot submit: not a slot of this client");
    atoll_frame_t frame;
    atoll__route_t route;
    atoll_status_t status = request_read(slot, &frame, &route);
    if (status != ATOLL_OK) return call_refuse(client, slot, NULL, status);
    atoll__call_t *call = atoll__call_new();
    if (call == NULL) return call_refuse(client, slot, NULL, ATOLL_OVERLOADED);
    uint32_t ticket = call->ticket;
    /* Read once: budget and places are of the same setting. */
    atoll__limits_t limits = {.budget_us = ATOLL__CONTROL_BUDGET_US};
    if (frame.kind != ATOLL_KIND_CONTROL) (void)atoll__group_limits(route.group, &limits);
    bool asks_less = frame.budget_us != 0 && frame.budget_us < limits.budget_us;
    call_fill(
        call, client, slot, &frame, &route, asks_less ? frame.budget_us : limits.budget_us);
    atoll__call_publish(call);
    if (frame.kind != ATOLL_KIND_CONTROL) {
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
