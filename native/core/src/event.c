/* Events on their way to a client: the queue, the wake, the reap.
 *
 * Owns: the order of events and the arm/wake protocol. Must not know engines. */
#include <string.h>

#include "internal.h"

void atoll__queue_init(atoll__queue_t *queue) {
    atomic_store_explicit(&queue->stub.next, NULL, memory_order_relaxed);
    atomic_store_explicit(&queue->head, &queue->stub, memory_order_relaxed);
    queue->tail = &queue->stub;
}

void atoll__queue_push(atoll__queue_t *queue, atoll__node_t *node) {
    atomic_store_explicit(&node->next, NULL, memory_order_relaxed);
    /* SYNC POINT: event-head; paired with itself. Each push acquires the one before, so that the
     * link below is stored behind the NULL that the other thread stored there above. */
    atoll__node_t *before = atomic_exchange_explicit(&queue->head, node, memory_order_acq_rel);
    ATOLL__WINDOW();
    /* SYNC POINT: event-link. Sequentially consistent, before the load of `armed` in wake-if-armed;
     * who pops looks here again after arm-wake. */
    atomic_store_explicit(&before->next, node, ATOLL__SYNC(event_link, seq_cst));
}

/* One consumer. NULL: empty, or a producer is between its two steps; it then wakes the client. */
atoll__node_t *atoll__queue_pop(atoll__queue_t *queue) {
    atoll__node_t *tail = queue->tail;
    /* SYNC POINT: event-link, the consumer's end. */
    atoll__node_t *next = atomic_load_explicit(&tail->next, ATOLL__SYNC(event_link, seq_cst));
    if (tail == &queue->stub) {
        if (next == NULL) return NULL;
        queue->tail = next;
        tail = next;
        /* SYNC POINT: event-link, of the node behind the stub. */
        next = atomic_load_explicit(&tail->next, ATOLL__SYNC(event_link, seq_cst));
    }
    if (next != NULL) {
        queue->tail = next;
        return tail;
    }
    /* SYNC POINT: event-head, looked at. Stronger than it need be: what follows is a push. */
    if (tail != atomic_load_explicit(&queue->head, memory_order_acquire)) return NULL;
    /* The last node can leave only when something follows it. */
    atoll__queue_push(queue, &queue->stub);
    /* SYNC POINT: event-link, of the last one. */
    next = atomic_load_explicit(&tail->next, ATOLL__SYNC(event_link, seq_cst));
    if (next == NULL) return NULL;
    queue->tail = next;
    return tail;
}

static void wake_if_armed(atoll__client_t *client) {
    /* SYNC POINT: wake-if-armed. The event was linked before; paired with arm-wake: either this
     * load sees the arming, or the reaper's second look sees the event. */
    if (atomic_load_explicit(&client->armed, ATOLL__SYNC(arm_wake, seq_cst)) == 0) return;
    /* SYNC POINT: wake-if-armed, one of all who saw the arming wakes. Sequentially consistent: by C11
     * the load above may else return this 0 although it stands behind the next arming; paired with
     * arm-wake. */
    if (atomic_exchange_explicit(&client->armed, 0, memory_order_seq_cst) == 0) return;
    atoll__client_wake(client);
}

void atoll__event_push(atoll__client_t *client, atoll__node_t *node) {
    atoll__call_retain(node->call);
    atoll__count_add(ATOLL__COUNT_EVENTS, 1);
    atoll__queue_push(&client->queue, node);
    wake_if_armed(client);
}

void atoll__event_log(atoll__call_t *call, uint32_t flags, const uint8_t *bytes, uint32_t length) {
    atoll__client_t *client = call->client;
    uint32_t index = atoll__stack_pop(&client->logs_free, client->log_links);
    uint32_t slot = 0;
    /* A line belongs to the trace of its call. */
    const uint8_t *trace = call->request.trace;
    uint32_t between = trace == NULL ? 0 : (uint32_t)sizeof(atoll_trace_t);
    if (index != ATOLL__STACK_EMPTY) {
        slot = atoll__slot_take(
            call->client_number, ATOLL_FRAME_BYTES + between + length, ATOLL__HOLD_LIBRARY);
        if (slot == 0) atoll__stack_push(&client->logs_free, client->log_links, index);
    }
    if (slot == 0) {
        atomic_fetch_add_explicit(&call->logs_lost, 1, memory_order_relaxed);
        atoll__count_add(ATOLL__COUNT_LOGS_LOST, 1);
        return;
    }
    atoll_frame_t frame = {
        .kind = ATOLL_KIND_LOG,
        .flags = (uint16_t)(flags & ATOLL_FLAG_STDERR),
        .extension_words = (uint16_t)(between / 8u),
        .request_id = call->request.request_id,
        .payload_length = length,
    };
    atoll__frame_write(atoll__slot_bytes(slot), &frame, trace, bytes);
    atoll__node_t *node = &client->logs[index];
    node->call = NULL;
    node->event = (atoll_event_t){
        .kind = ATOLL_KIND_LOG,
        .ticket = call->ticket,
        .slot = slot,
        .length = length,
        .flags = frame.flags | (flags & ATOLL_FLAG_LINE) |
                 (between == 0 ? 0u : (uint32_t)ATOLL_FLAG_EXTENDED),
        .lost = atomic_exchange_explicit(&call->logs_lost, 0, memory_order_relaxed),
    };
    atoll__count_add(ATOLL__COUNT_EVENTS, 1);
    atoll__queue_push(&client->queue, node);
    wake_if_armed(client);
}

/* Takes the event out of its node, and what the node held. */
static atoll_event_t take_event(atoll__client_t *client, atoll__node_t *node) {
    atoll_event_t event = node->event;
    atoll__call_t *call = node->call;
    if (call == NULL) {
        uint32_t index = (uint32_t)(node - client->logs);
        atoll__stack_push(&client->logs_free, client->log_links, index);
        return event;
    }
    if (event.kind == ATOLL_KIND_BODY) call->out_reaped++;
    if (event.kind == ATOLL_KIND_CREDIT)
        /* SYNC POINT: credit-merge, the reaper's end. From here on the node may be pushed again. */
        event.length = atomic_exchange_explicit(&call->credit_pending, 0, memory_order_acq_rel);
    atoll__call_release(call);
    return event;
}

uint32_t atoll__event_reap(atoll__client_t *client) {
    uint8_t *to = client->area + ATOLL_SLOT_BYTES;
    uint32_t number = atomic_load_explicit(&client->number, memory_order_relaxed);
    uint32_t count = 0;
    while (count < ATOLL_EVENTS_MAX) {
        atoll__node_t *node = atoll__queue_pop(&client->queue);
        if (node == NULL) {
            ATOLL__WINDOW();
            /* SYNC POINT: arm-wake. Sequentially consistent, before the second look; paired with
             * wake-if-armed. */
            atomic_store_explicit(&client->armed, 1, ATOLL__SYNC(arm_wake, seq_cst));
            node = atoll__queue_pop(&client->queue);
            if (node == NULL) break;
            /* Not asleep after all. If a producer was faster, one wake is for nothing. Relaxed: it
             * hands nothing over, and it happens before the next arming, so that no load behind that
             * arming, in the order of all that are sequentially consistent, can return it. */
            atomic_store_explicit(&client->armed, 0, memory_order_relaxed);
        }
        atoll_event_t event = take_event(client, node);
        if (event.slot != 0) {
            /* Read by the caller once it has all of them, by when another processor's writing has
             * arrived here: a batch of frames is read in two thirds of the time (bench frame). */
            __builtin_prefetch(atoll__slot_bytes(event.slot), 0, 3);
            (void)atoll__slot_move(
                number, event.slot, ATOLL__HOLD_LIBRARY, ATOLL__HOLD_CLIENT);
        }
        memcpy(to + (size_t)count * ATOLL_EVENT_BYTES, &event, sizeof event);
        count++;
    }
    return count;
}

void atoll__event_drain(atoll__client_t *client) {
    uint32_t number = atomic_load_explicit(&client->number, memory_order_relaxed);
    for (;;) {
        atoll__node_t *node = atoll__queue_pop(&client->queue);
        if (node == NULL) return;
        atoll_event_t event = take_event(client, node);
        if (event.slot != 0)
            (void)atoll__slot_free(number, event.slot, ATOLL__HOLD_LIBRARY);
    }
}
