/* Bodies: chunks of a request on their way to the engine, chunks of a response on their way back.
 *
 * Owns: the window of each direction. Must not know what HTTP is. Chunks that arrive while a call
 * waits in its group are kept and handed over, in order, once the engine has the call. */
#include "internal.h"

void atoll__stream_reset(atoll__call_t *call) {
    _Atomic uint32_t *zero[] = {
        &call->in_window,  &call->in_delivering, &call->credit_pending, &call->out_window,
        &call->out_number, &call->out_head_sent, &call->out_starved,
    };
    for (size_t i = 0; i < sizeof zero / sizeof zero[0]; i++)
        atomic_store_explicit(zero[i], 0, memory_order_relaxed);
    for (size_t i = 0; i < ATOLL__CHUNKS_HELD_MAX; i++)
        atomic_store_explicit(&call->in_held[i], 0, memory_order_relaxed);
    call->in_over = (call->frame_flags & ATOLL_FLAG_END) != 0;
    call->out_reaped = 0;
    call->out_acked = 0;
}

/* ---- chunks on their way to the engine ---- */

static bool pending_room(atoll__call_t *call) {
    uint32_t room =
        atoll__ring_room(&call->in_ring, &call->in_sender, ATOLL_STREAM_WINDOW, 1);
    assert(room != ATOLL__RING_CORRUPT);
    return room > 0;
}

/* There is room. */
static void pending_push(atoll__call_t *call, const atoll__chunk_t *chunk) {
    /* SYNC POINT: ring-pushed, chunk by chunk. */
    (void)atoll__ring_push(
        &call->in_ring, &call->in_sender, call->in_pending, ATOLL_STREAM_WINDOW, sizeof *chunk,
        chunk, 1);
}

static bool pending_ready(atoll__call_t *call) {
    uint32_t ready =
        atoll__ring_ready(&call->in_ring, &call->in_deliverer, ATOLL_STREAM_WINDOW, 1);
    assert(ready != ATOLL__RING_CORRUPT);
    return ready > 0;
}

static bool pending_pop(atoll__call_t *call, atoll__chunk_t *chunk) {
    return atoll__ring_pop(
               &call->in_ring, &call->in_deliverer, call->in_pending, ATOLL_STREAM_WINDOW,
               sizeof *chunk, chunk, 1) == 1;
}

/* What the engine never took or never gave back, when nobody refers to the call any more. */
void atoll__stream_release(atoll__call_t *call) {
    atoll__chunk_t chunk;
    /* Both sides are at rest: most calls have sent nothing, and the ring's lines stay untouched. */
    while (call->in_sender.own != call->in_deliverer.own && pending_pop(call, &chunk))
        (void)atoll__slot_free(call->client_number, chunk.slot, ATOLL__HOLD_LIBRARY);
    for (size_t i = 0; i < ATOLL__CHUNKS_HELD_MAX; i++) {
        uint32_t slot = atomic_load_explicit(&call->in_held[i], memory_order_relaxed);
        if (slot != 0) (void)atoll__slot_free(call->client_number, slot, ATOLL__HOLD_LIBRARY);
    }
}

/* ---- request ---- */

/* The engine took chunks: the client may send as many more. One event stands for all credit that
 * was not reaped yet. */
static void credit_client(atoll__call_t *call, uint32_t chunks) {
    uint32_t window = atomic_load(&call->in_window);
    uint32_t given;
    do {
        given = chunks < window ? chunks : window;
        if (given == 0) return;
    } while (!atomic_compare_exchange_weak(&call->in_window, &window, window - given));
    /* SYNC POINT: credit-merge. The node is this thread's once the event before it was reaped. */
    if (atomic_fetch_add_explicit(&call->credit_pending, given, memory_order_acq_rel) != 0) return;
    call->credit_node.call = call;
    call->credit_node.event = (atoll_event_t){.kind = ATOLL_KIND_CREDIT, .ticket = call->ticket};
    atoll__event_push(call->client, &call->credit_node);
}

static bool chunk_drop(atoll__call_t *call, uint32_t slot) {
    for (size_t i = 0; i < ATOLL__CHUNKS_HELD_MAX; i++) {
        uint32_t expected = slot;
        /* SYNC POINT: chunk-held, the end that empties the place. */
        if (atomic_compare_exchange_strong_explicit(
                &call->in_held[i], &expected, 0, memory_order_seq_cst, memory_order_relaxed))
            return atoll__slot_free(call->client_number, slot, ATOLL__HOLD_LIBRARY);
    }
    return false;
}

/* Hands the next chunk to the engine; false when there is none or it cannot be taken now. */
static bool deliver_one(atoll__call_t *call) {
    if (!pending_ready(call)) return false;
    if (atoll__call_state(call) != ATOLL__RUNNING) return false;
    size_t place = 0;
    /* Relaxed: only this thread fills a place. */
    while (place < ATOLL__CHUNKS_HELD_MAX &&
           atomic_load_explicit(&call->in_held[place], memory_order_relaxed) != 0)
        place++;
    if (place == ATOLL__CHUNKS_HELD_MAX || !atoll__call_use(call)) return false;
    atoll__chunk_t chunk;
    if (!pending_pop(call, &chunk)) assert(false);
    /* SYNC POINT: chunk-held; who empties the place frees the slot. */
    atomic_store_explicit(&call->in_held[place], chunk.slot, memory_order_seq_cst);
    atoll_status_t status = ATOLL_UNSUPPORTED;
    if (call->engine_state != NULL)
        status = call->engine->table.call_chunk(
            call->engine->context, call->engine_state, chunk.slot,
            atoll__slot_bytes(chunk.slot) + chunk.offset, chunk.length, chunk.flags);
    atoll__call_unuse(call);
    if (status != ATOLL_OK) {
        /* The guest does not want its body: the client goes on as if it had been read. */
        (void)chunk_drop(call, chunk.slot);
        if (atoll__call_state(call) == ATOLL__RUNNING) credit_client(call, 1);
    }
    return true;
}

/* One thread at a time delivers; whoever comes meanwhile, even from inside call_chunk, only says
 * that there is more to do. The caller holds a reference. */
void atoll__stream_deliver(atoll__call_t *call) {
    /* SYNC POINT: stream-deliver; paired with itself. One deliverer after the other has in_deliverer,
     * and sees what all comers changed. */
    uint32_t seen = atomic_fetch_add_explicit(&call->in_delivering, 1, memory_order_seq_cst) + 1;
    if (seen != 1) return;
    do {
        /* SYNC POINT: stream-deliver, the comers' announcements. */
        seen = atomic_load_explicit(&call->in_delivering, memory_order_seq_cst);
        while (deliver_one(call)) {
        }
        /* SYNC POINT: stream-deliver, its end. */
    } while (
        atomic_fetch_sub_explicit(&call->in_delivering, seen, memory_order_seq_cst) != seen);
}

static atoll_status_t chunk_read(uint32_t slot, atoll__chunk_t *chunk) {
    /* No extension means anything in a chunk: they are stepped over, not looked at. */
    atoll__message_t message;
    const uint8_t *bytes = atoll__slot_bytes(slot);
    atoll_fault_t fault =
        atoll__frame_read(bytes, atoll__slot_capacity(slot), ATOLL_LEVEL_HEADER, &message);
    if (fault != ATOLL_FAULT_NONE) return atoll__frame_refuse(fault, &message.frame);
    atoll_frame_t frame = message.frame;
    if (frame.kind != ATOLL_KIND_BODY)
        return atoll__fail(ATOLL_INVALID_FRAME, "Cannot send: the frame is not a BODY");
    if (frame.payload_length > ATOLL_CHUNK_BYTES_MAX)
        return atoll__fail(ATOLL_INVALID_FRAME, "Cannot send: the chunk is too large");
    *chunk = (atoll__chunk_t){
        .slot = slot,
        .offset = (uint32_t)(message.payload - bytes),
        .length = frame.payload_length,
        .flags = frame.flags,
    };
    return ATOLL_OK;
}

static atoll_status_t chunk_send(atoll__call_t *call, uint32_t slot) {
    atoll__state_t state = atoll__call_state(call);
    if (state == ATOLL__DONE)
        return atoll__fail(ATOLL_NOT_FOUND, "Cannot send: the call has ended");
    if (call->request.kind != ATOLL_KIND_HTTP)
        return atoll__fail(ATOLL_INVALID_ARGUMENT, "Cannot send: the call takes no body");
    if (call->in_over)
        return atoll__fail(ATOLL_INVALID_ARGUMENT, "Cannot send: the body is complete");
    if (atomic_load(&call->in_window) >= ATOLL_STREAM_WINDOW || !pending_room(call))
        return ATOLL_WOULD_BLOCK;
    uint32_t client = call->client_number;
    if (!atoll__slot_move(client, slot, ATOLL__HOLD_CLIENT, ATOLL__HOLD_LIBRARY))
        return atoll__fail(ATOLL_INVALID_FRAME, "Cannot send: not a slot of this client");
    atoll__chunk_t chunk = {0};
    atoll_status_t status = chunk_read(slot, &chunk);
    if (status != ATOLL_OK) {
        (void)atoll__slot_move(client, slot, ATOLL__HOLD_LIBRARY, ATOLL__HOLD_CLIENT);
        return status;
    }
    call->in_over = (chunk.flags & ATOLL_FLAG_END) != 0;
    atomic_fetch_add(&call->in_window, 1);
    ATOLL__WINDOW();
    pending_push(call, &chunk);
    atoll__stream_deliver(call);
    return ATOLL_OK;
}

/* The client's call of that ticket, with a reference; NULL when there is none. */
static atoll__call_t *own_call(atoll__client_t *client, uint32_t ticket) {
    atoll__call_t *call = atoll__call_acquire(ticket);
    if (call == NULL) return NULL;
    if (call->client_number == atomic_load_explicit(&client->number, memory_order_relaxed))
        return call;
    atoll__call_release(call);
    return NULL;
}

atoll_status_t atoll__stream_send(atoll__client_t *client, uint32_t ticket, uint32_t slot) {
    atoll__call_t *call = own_call(client, ticket);
    if (call == NULL) return atoll__fail(ATOLL_NOT_FOUND, "Cannot send: no such ticket");
    atoll_status_t status = chunk_send(call, slot);
    atoll__call_release(call);
    return status;
}

void atoll__host_chunk_free(void *handle, uint32_t chunk) {
    /* After the reply the core frees what is left: a late chunk_free finds nothing. */
    atoll__call_t *call = atoll__call_acquire((uint32_t)(uintptr_t)handle);
    if (call == NULL) return;
    if (call->request.kind == ATOLL_KIND_HTTP && chunk != 0 && chunk_drop(call, chunk))
        atoll__stream_deliver(call);
    atoll__call_release(call);
}

/* ---- response ---- */

static void credit_engine(atoll__call_t *call, uint32_t chunks) {
    if (atoll__call_state(call) != ATOLL__RUNNING || !atoll__call_use(call)) return;
    if (call->engine_state != NULL)
        call->engine->table.call_credit(call->engine->context, call->engine_state, chunks);
    atoll__call_unuse(call);
}

atoll_status_t atoll__stream_credit(atoll__client_t *client, uint32_t ticket, uint32_t chunks) {
    atoll__call_t *call = own_call(client, ticket);
    if (call == NULL) return atoll__fail(ATOLL_NOT_FOUND, "Cannot give credit: no such ticket");
    atoll_status_t status = ATOLL_OK;
    if (call->request.kind != ATOLL_KIND_HTTP) {
        status = atoll__fail(ATOLL_INVALID_ARGUMENT, "Cannot give credit: the call has no body");
    } else {
        /* No more than was reaped: a chunk's event must have left the queue before it is reused. */
        uint32_t most = call->out_reaped - call->out_acked;
        if (chunks > most) chunks = most;
        call->out_acked += chunks;
        if (chunks > 0) {
            /* SYNC POINT: window-given. The events' nodes were read; paired with window-taken. */
            atomic_fetch_sub_explicit(&call->out_window, chunks, memory_order_seq_cst);
            credit_engine(call, chunks);
        }
    }
    atoll__call_release(call);
    return status;
}

/* Takes a place in the window of the response. */
static bool window_take(atoll__call_t *call) {
    uint32_t window = atomic_load_explicit(&call->out_window, memory_order_relaxed);
    do {
        if (window >= ATOLL_STREAM_WINDOW) return false;
        /* SYNC POINT: window-taken. A node may be written again; paired with window-given. */
    } while (!atomic_compare_exchange_weak_explicit(
        &call->out_window, &window, window + 1, memory_order_seq_cst, memory_order_relaxed));
    return true;
}

static atoll_status_t out_push(
    atoll__call_t *call, uint32_t kind, uint32_t flags, const uint8_t *bytes, uint32_t length) {
    uint32_t slot = atoll__slot_take(
        call->client_number, ATOLL_FRAME_BYTES + length, ATOLL__HOLD_LIBRARY);
    if (slot == 0) {
        /* The warden makes the engine try again. */
        if (atomic_exchange(&call->out_starved, 1) == 0)
            atoll__mailbox_post(ATOLL__MAIL_STARVED, call->ticket);
        return ATOLL_WOULD_BLOCK;
    }
    atoll_frame_t frame = {
        .kind = (uint8_t)kind,
        .flags = (uint16_t)(flags & (ATOLL_FLAG_END | ATOLL_FLAG_ENCODING)),
        .request_id = call->request.request_id,
        .payload_length = length,
    };
    atoll__frame_write(atoll__slot_bytes(slot), &frame, NULL, bytes);
    atoll__node_t *node = &call->head_node;
    if (kind == ATOLL_KIND_BODY)
        node = &call->body_nodes[atomic_fetch_add(&call->out_number, 1) % ATOLL_STREAM_WINDOW];
    node->call = call;
    node->event = (atoll_event_t){
        .kind = kind,
        .ticket = call->ticket,
        .slot = slot,
        .length = length,
        .flags = frame.flags,
    };
    atoll__event_push(call->client, node);
    return ATOLL_OK;
}

static atoll_status_t out_event(
    atoll__call_t *call, uint32_t kind, uint32_t flags, const uint8_t *bytes, uint32_t length) {
    if (call->request.kind != ATOLL_KIND_HTTP) return ATOLL_INVALID_ARGUMENT;
    if (atoll__call_state(call) != ATOLL__RUNNING) return ATOLL_INVALID_ARGUMENT;
    if (kind == ATOLL_KIND_HEAD) {
        if (length > atoll__arena_payload_max()) return ATOLL_INVALID_ARGUMENT;
        if (atomic_exchange(&call->out_head_sent, 1) != 0) return ATOLL_INVALID_ARGUMENT;
        atoll_status_t status = out_push(call, kind, flags, bytes, length);
        if (status != ATOLL_OK) atomic_store(&call->out_head_sent, 0);
        return status;
    }
    if (length > ATOLL_CHUNK_BYTES_MAX) return ATOLL_INVALID_ARGUMENT;
    if (atomic_load(&call->out_head_sent) == 0) return ATOLL_INVALID_ARGUMENT;
    if (!window_take(call)) return ATOLL_WOULD_BLOCK;
    atoll_status_t status = out_push(call, kind, flags, bytes, length);
    if (status != ATOLL_OK) atomic_fetch_sub(&call->out_window, 1);
    return status;
}

atoll_status_t atoll__host_event(
    void *handle, uint32_t kind, uint32_t flags, const uint8_t *bytes, uint32_t length) {
    atoll__call_t *call = atoll__call_acquire((uint32_t)(uintptr_t)handle);
    if (call == NULL) return ATOLL_NOT_FOUND;
    uint32_t state = 1u << atoll__call_state(call);
    atoll_status_t status = ATOLL_OK;
    if ((state & (1u << ATOLL__INLINE | 1u << ATOLL__STARTING | 1u << ATOLL__RUNNING)) == 0) {
        status = ATOLL_NOT_FOUND;
    } else if (atomic_load(&call->client->state) != ATOLL__CLIENT_OPEN) {
        status = ATOLL_CANCELLED;
    } else if (kind == ATOLL_KIND_LOG && length <= ATOLL_CHUNK_BYTES_MAX) {
        atoll__event_log(call, flags, bytes, length);
    } else if (kind == ATOLL_KIND_CREDIT) {
        if (call->request.kind == ATOLL_KIND_HTTP) credit_client(call, length);
    } else if (kind == ATOLL_KIND_HEAD || kind == ATOLL_KIND_BODY) {
        status = out_event(call, kind, flags, bytes, length);
    } else {
        status = ATOLL_INVALID_ARGUMENT;
    }
    atoll__call_release(call);
    return status;
}

static void retry(atoll__call_t *call) {
    if (call->request.kind != ATOLL_KIND_HTTP) return;
    if (atomic_exchange(&call->out_starved, 0) != 0) credit_engine(call, 1);
}

void atoll__stream_retry(uint32_t ticket) {
    atoll__call_t *call = atoll__call_acquire(ticket);
    if (call == NULL) return;
    retry(call);
    atoll__call_release(call);
}

void atoll__streams_retry(void) {
    atoll__calls_each(0, retry);
}
