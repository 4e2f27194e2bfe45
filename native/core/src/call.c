/* Calls: tickets, states, references.
 *
 * Owns: the ticket pool and the state machine of a call. Must not know frames, engines' threads or
 * clients' sockets.
 *
 * INLINE -> ENDED                            replied inside atoll_submit
 * INLINE -> RUNNING -> DONE                  migrated
 * INLINE -> QUEUED -> STARTING -> RUNNING -> DONE, and QUEUED or STARTING -> DONE
 * Whoever moves a call to ENDED or DONE answers it; the move is one exchange, checked against the
 * ticket's generation, so that a call is answered once and a stale ticket moves nothing. */
#include <string.h>

#include "internal.h"

#define STATE_SHIFT 24
#define REFERENCES 0xFFFFFFu

#define UNFINISHED                                                                      \
    (1u << ATOLL__INLINE | 1u << ATOLL__QUEUED | 1u << ATOLL__STARTING | 1u << ATOLL__RUNNING)

static struct {
    atoll__call_t *calls;
    _Atomic uint32_t *links;
    uint32_t max;
    uint32_t index_bits;
    uint32_t generation_mask;
    _Atomic uint32_t used; /* highest index ever taken, plus one */
    atoll__stack_t free;
} pool;

atoll_status_t atoll__calls_open(uint32_t calls_max) {
    if (pool.calls != NULL) return ATOLL_OK;
    while ((1u << pool.index_bits) < calls_max) pool.index_bits++;
    pool.generation_mask = (1u << (32 - pool.index_bits)) - 1u;
    pool.links = atoll__prim_reserve(calls_max * sizeof *pool.links);
    atoll__call_t *calls = atoll__prim_reserve(calls_max * sizeof *calls);
    if (pool.links == NULL || calls == NULL)
        return atoll__fail(ATOLL_NO_MEMORY, "Cannot open: no address space");
    pool.calls = calls;
    pool.max = calls_max;
    return ATOLL_OK;
}

uint32_t atoll__calls_max(void) {
    return pool.max;
}

static uint64_t word_make(uint32_t generation, atoll__state_t state, uint32_t references) {
    return (uint64_t)generation << 32 | (uint64_t)state << STATE_SHIFT | references;
}

static atoll__state_t state_of(uint64_t word) {
    return (atoll__state_t)((word >> STATE_SHIFT) & 0xFFu);
}

static uint32_t generation_of(uint32_t ticket) {
    return ticket >> pool.index_bits;
}

atoll__call_t *atoll__call_of(uint32_t ticket) {
    uint32_t index = ticket & ((1u << pool.index_bits) - 1u);
    /* SYNC POINT: call-fresh, the reader's end. Stronger than it need be: who has a ticket that
     * counts has it from the one who made it. */
    return index < atomic_load_explicit(&pool.used, memory_order_acquire) ? &pool.calls[index]
                                                                           : NULL;
}

/* An index that was never used, or ATOLL__STACK_EMPTY. */
static uint32_t call_fresh(void) {
    uint32_t used = atomic_load_explicit(&pool.used, memory_order_relaxed);
    do {
        if (used >= pool.max) return ATOLL__STACK_EMPTY;
        /* SYNC POINT: call-fresh. Before the call can become visible, for whoever looks at all of
         * them; paired with calls-look. */
    } while (!atomic_compare_exchange_weak_explicit(
        &pool.used, &used, used + 1, memory_order_seq_cst, memory_order_relaxed));
    return used;
}

atoll__call_t *atoll__call_new(void) {
    uint32_t index = atoll__stack_pop(&pool.free, pool.links);
    if (index == ATOLL__STACK_EMPTY) index = call_fresh();
    if (index == ATOLL__STACK_EMPTY) return NULL;
    atoll__call_t *call = &pool.calls[index];
    uint64_t word = atomic_load_explicit(&call->word, memory_order_relaxed);
    uint32_t generation = (uint32_t)(word >> 32);
    if (generation == 0) generation = 1;
    call->ticket = generation << pool.index_bits | index;
    call->counted = false;
    call->permitted = false;
    call->engine_state = NULL;
    atomic_store_explicit(&call->uses, 1, memory_order_relaxed);
    atomic_store_explicit(&call->cancel_wanted, 0, memory_order_relaxed);
    atomic_store_explicit(&call->cancel_sent, 0, memory_order_relaxed);
    atomic_store_explicit(&call->logs_lost, 0, memory_order_relaxed);
    return call;
}

void atoll__call_publish(atoll__call_t *call) {
    /* SYNC POINT: call-publish; paired with call-acquire. */
    atomic_store_explicit(
        &call->word, word_make(generation_of(call->ticket), ATOLL__INLINE, 1),
        memory_order_release);
}

/* Nobody refers to the call any more. */
static void call_recycle(atoll__call_t *call) {
    atoll__client_t *client = call->client;
    bool counted = call->counted;
    if (call->request.kind == ATOLL_KIND_HTTP) atoll__stream_release(call);
    if (call->chain != NULL) atoll__chain_free(call->chain);
    call->chain = NULL;
    uint32_t generation = (generation_of(call->ticket) + 1u) & pool.generation_mask;
    if (generation == 0) generation = 1;
    /* SYNC POINT: call-recycle; paired with call-acquire. Stronger than it need be: who sees this
     * word gives up, and the next owner comes by the stack. */
    atomic_store_explicit(
        &call->word, word_make(generation, ATOLL__FREE, 0), memory_order_release);
    atoll__stack_push(&pool.free, pool.links, (uint32_t)(call - pool.calls));
    ATOLL__WINDOW();
    /* SYNC POINT: call-gone. Last: at zero the client may be taken apart; paired with client-idle. */
    if (counted) atomic_fetch_sub_explicit(&client->calls, 1, memory_order_release);
}

atoll__call_t *atoll__call_acquire(uint32_t ticket) {
    atoll__call_t *call = atoll__call_of(ticket);
    if (call == NULL) return NULL;
    /* SYNC POINT: call-acquire; paired with call-publish, call-move, call-recycle. */
    uint64_t word = atomic_load_explicit(&call->word, memory_order_acquire);
    do {
        if (word >> 32 != generation_of(ticket) || (word & REFERENCES) == 0) return NULL;
        /* SYNC POINT: call-acquire, of the word that it adds to or tries next: others may have moved
         * the call since the load. */
    } while (!atomic_compare_exchange_weak_explicit(
        &call->word, &word, word + 1, memory_order_acquire, memory_order_acquire));
    return call;
}

void atoll__call_retain(atoll__call_t *call) {
    atomic_fetch_add_explicit(&call->word, 1, memory_order_relaxed);
}

void atoll__call_release(atoll__call_t *call) {
    /* SYNC POINT: call-release; paired with itself: the last one acquires what all others did. */
    uint64_t word = atomic_fetch_sub_explicit(&call->word, 1, memory_order_acq_rel);
    assert((word & REFERENCES) != 0);
    if ((word & REFERENCES) == 1) call_recycle(call);
}

atoll__state_t atoll__call_state(const atoll__call_t *call) {
    /* SYNC POINT: call-look; paired with call-move. Sequentially consistent, behind what the looker
     * stored before, cancel_wanted above all. */
    return state_of(atomic_load_explicit(&call->word, memory_order_seq_cst));
}

atoll__state_t atoll__call_move(
    atoll__call_t *call, uint32_t ticket, uint32_t mask, atoll__state_t to) {
    /* SYNC POINT: call-move, the end that reads. */
    uint64_t word = atomic_load_explicit(&call->word, memory_order_acquire);
    uint64_t next;
    do {
        bool same = word >> 32 == generation_of(ticket) && (word & REFERENCES) != 0;
        if (!same || (mask & 1u << state_of(word)) == 0) return ATOLL__FREE;
        ATOLL__WINDOW();
        next = word_make((uint32_t)(word >> 32), to, (uint32_t)word & REFERENCES);
        /* SYNC POINT: call-move releases what this side wrote, acquires what the other wrote; paired
         * with itself, call-acquire, call-look, calls-look. */
    } while (!atomic_compare_exchange_weak_explicit(
        &call->word, &word, next, memory_order_seq_cst, memory_order_acquire));
    return state_of(word);
}

bool atoll__call_use(atoll__call_t *call) {
    uint32_t uses = atomic_load_explicit(&call->uses, memory_order_relaxed);
    do {
        if (uses == 0) return false;
        /* SYNC POINT: call-use; paired with call-unuse. */
    } while (!atomic_compare_exchange_weak_explicit(
        &call->uses, &uses, uses + 1, memory_order_acquire, memory_order_relaxed));
    return true;
}

void atoll__call_unuse(atoll__call_t *call) {
    /* SYNC POINT: call-unuse releases what this user did with engine_state, for the last one, who
     * frees it; paired with itself, call-use. */
    if (atomic_fetch_sub_explicit(&call->uses, 1, memory_order_acq_rel) != 1) return;
    if (call->engine_state != NULL)
        call->engine->table.state_free(call->engine->context, call->engine_state);
    call->engine_state = NULL;
    atoll__call_release(call);
}

/* From here on the call may outlive the function that made it. */
void atoll__call_count(atoll__call_t *call) {
    if (call->counted) return;
    call->counted = true;
    atomic_fetch_add_explicit(&call->client->calls, 1, memory_order_relaxed);
}

void atoll__calls_each(uint32_t client, void (*act)(atoll__call_t *call)) {
    /* SYNC POINT: calls-look. Sequentially consistent, as each look below, behind the client's
     * death: a call that is missed here becomes visible later, and its starter finds the client dead
     * (client-gone); paired with call-fresh, call-move. */
    uint32_t used = atomic_load_explicit(&pool.used, memory_order_seq_cst);
    for (uint32_t i = 0; i < used; i++) {
        /* SYNC POINT: calls-look, for one call. */
        uint64_t word = atomic_load_explicit(&pool.calls[i].word, memory_order_seq_cst);
        if ((UNFINISHED & 1u << state_of(word)) == 0) continue;
        uint32_t generation = (uint32_t)(word >> 32);
        atoll__call_t *call = atoll__call_acquire(generation << pool.index_bits | i);
        if (call == NULL) continue;
        if (client == 0 || call->client_number == client) act(call);
        atoll__call_release(call);
    }
}

