/* Events on their way to a client, with event.c itself: none is lost, and none waits without a wake
 * being on its way. */
#include <string.h>

#include "../../src/event.c"
#include "checker.h"

static atoll__client_t client;
static atoll__call_t calls[2];
static uint8_t area[ATOLL_SLOT_BYTES + 4 * ATOLL_EVENT_BYTES];
static _Atomic uint32_t woken;
static uint32_t reaped;

/* ---- what event.c calls ---- */

void atoll__client_wake(atoll__client_t *sleeper) {
    (void)sleeper;
    atomic_store_explicit(&woken, 1, memory_order_release);
}
void atoll__call_retain(atoll__call_t *call) {
    (void)call;
}
void atoll__call_release(atoll__call_t *call) {
    (void)call;
}
_Thread_local atoll__thread_t *atoll__thread_state;
void atoll__count_add_first(atoll__count_t count, uint64_t more) {
    (void)count;
    (void)more;
}
uint32_t atoll__slot_take(uint32_t number, uint32_t bytes, atoll__hold_t hold) {
    (void)number;
    (void)bytes;
    (void)hold;
    return 0;
}
bool atoll__slot_move(uint32_t number, uint32_t slot, atoll__hold_t from, atoll__hold_t to) {
    (void)number;
    (void)slot;
    (void)from;
    (void)to;
    return true;
}
bool atoll__slot_free(uint32_t number, uint32_t slot, atoll__hold_t from) {
    return atoll__slot_move(number, slot, from, ATOLL__HOLD_FREE);
}
uint8_t *atoll__slot_bytes(uint32_t slot) {
    (void)slot;
    return NULL;
}
void atoll__frame_write(
    uint8_t *to, const atoll_frame_t *frame, const uint8_t *extensions, const uint8_t *payload) {
    (void)to;
    (void)frame;
    (void)extensions;
    (void)payload;
}

/* ---- the model ---- */

static void setup(void) {
    memset((void *)&client.armed, 0, sizeof client.armed);
    client.area = area;
    atoll__queue_init(&client.queue);
    /* Nothing was there at the last look. */
    atomic_store(&client.armed, 1);
    atomic_store(&woken, 0);
    reaped = 0;
}

static void push(uint32_t which) {
    atoll__node_t *node = &calls[which].reply_node;
    node->call = &calls[which];
    node->event = (atoll_event_t){.kind = ATOLL_KIND_REPLY, .ticket = which};
    atoll__event_push(&client, node);
}

static void push_first(void) {
    push(0);
}

static void push_second(void) {
    push(1);
}

static void push_both(void) {
    push(0);
    push(1);
}

static void reap_once(void) {
    reaped += atoll__event_reap(&client);
}

/* An event loop: it reaps when it was woken, and once without need. */
static void reap(void) {
    reap_once();
    if (atomic_exchange_explicit(&woken, 0, memory_order_acquire) != 0) reap_once();
}

static void check(void) {
    if (atomic_load(&woken) != 0) reap_once();
    MODEL_CHECK(reaped == 2);
}

MODEL(
    event_one, "event: one thread pushes two events, a client reaps and sleeps", .setup = setup,
    .bodies = {push_both, reap}, .check = check, .preemptions = MODEL_ALL,
    .bites = {"event_link seq_cst", "arm_wake seq_cst"})

MODEL(
    event_two, "event: two threads push, a client reaps and sleeps", .setup = setup,
    .bodies = {push_first, push_second, reap}, .check = check, .preemptions = 2,
    .bites = {"event_link seq_cst", "arm_wake seq_cst"})
