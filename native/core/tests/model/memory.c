/* What each access to memory means: the C11 model, operationally, with vector clocks.
 *
 * Owns: places, their stores, clocks, races. Must not know who runs next.
 *
 * A place keeps all that was stored into it, in order. A load returns any store that is not older
 * than one which the thread knows of: by an access of its own, or by one that happened before. */
#include "memory.h"

#include <stdio.h>
#include <string.h>

#include "checker.h"

#define PLACES_MAX 256u
#define STORES_MAX 48u
#define ACCESSES_MAX 160u
#define TRACE_MAX 512u
/* A stale value is returned to the same thread no more often: stores become visible in time. */
#define STALE_MAX 2u

typedef struct vector {
    uint32_t at[MODEL_THREADS];
} vector_t;

typedef struct store {
    uint64_t value;
    vector_t released; /* what an acquiring reader learns */
} store_t;

/* An atomic access: who knows of it knows of that store. */
typedef struct seen {
    uint32_t thread;
    uint32_t epoch;
    uint32_t store;
    bool ordered; /* sequentially consistent */
    bool writes;
} seen_t;

/* An address that was accessed, atomically or not; by granules of four bytes where not. */
typedef struct place {
    uintptr_t address;
    uint32_t stores_count;
    uint32_t seen_count;
    store_t stores[STORES_MAX];
    seen_t seen[ACCESSES_MAX];
    vector_t read;    /* plain accesses, by epoch */
    vector_t written;
} place_t;

typedef struct line {
    uint32_t thread;
    const char *what;
    uintptr_t address;
    uint64_t value;
    int order;
} line_t;

static place_t places[PLACES_MAX];
static uint32_t places_count;
static uint16_t table[4 * PLACES_MAX]; /* index plus one */
static vector_t clocks[MODEL_THREADS];
static uint32_t last_step[MODEL_THREADS]; /* epoch of a thread's last atomic access */
/* What fences have brought to light, for all and for each thread: it is known to be there, but what
 * was done before it is not handed over. */
static vector_t fenced;
static vector_t lit[MODEL_THREADS];
static line_t trace[TRACE_MAX];
static uint32_t trace_count;

static void vector_join(vector_t *to, const vector_t *from) {
    for (uint32_t i = 0; i < MODEL_THREADS; i++)
        if (from->at[i] > to->at[i]) to->at[i] = from->at[i];
}

/* The place of an address, made when it is new. */
static place_t *place_of(uintptr_t address) {
    uint32_t hash = (uint32_t)((address >> 2) * 2654435761u) % (4 * PLACES_MAX);
    while (table[hash] != 0) {
        if (places[table[hash] - 1].address == address) return &places[table[hash] - 1];
        hash = (hash + 1) % (4 * PLACES_MAX);
    }
    if (places_count == PLACES_MAX) model_full("the model has too many places");
    place_t *place = &places[places_count++];
    table[hash] = (uint16_t)places_count;
    place->address = address;
    place->stores_count = 0;
    place->seen_count = 0;
    memset(&place->read, 0, sizeof place->read);
    memset(&place->written, 0, sizeof place->written);
    return place;
}

void memory_reset(void) {
    memset(table, 0, sizeof table);
    memset(clocks, 0, sizeof clocks);
    memset(last_step, 0, sizeof last_step);
    memset(&fenced, 0, sizeof fenced);
    memset(lit, 0, sizeof lit);
    places_count = 0;
    trace_count = 0;
    clocks[0].at[0] = 1;
}

void memory_fork(void) {
    for (uint32_t i = 1; i < MODEL_THREADS; i++) {
        clocks[i] = clocks[0];
        clocks[i].at[i] = 1;
    }
    clocks[0].at[0]++;
}

void memory_join(void) {
    for (uint32_t i = 1; i < MODEL_THREADS; i++) vector_join(&clocks[0], &clocks[i]);
}

bool memory_depends(const access_t *a, const access_t *b) {
    /* A barrier depends on whatever any thread does. */
    if (a->address == NULL || b->address == NULL) return true;
    return a->address == b->address && (a->writes || b->writes);
}

static void trace_add(const char *what, uintptr_t address, uint64_t value, int order) {
    if (trace_count == TRACE_MAX) return;
    trace[trace_count++] = (line_t){checker_thread(), what, address, value, order};
}

void memory_trace(void) {
    static const char *const orders[] = {
        "relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst"};
    for (uint32_t i = 0; i < trace_count; i++)
        printf(
            "#   thread %u: %s %llx %s -> %llu\n", trace[i].thread, trace[i].what,
            (unsigned long long)trace[i].address,
            trace[i].order < 0 ? "" : orders[trace[i].order],
            (unsigned long long)trace[i].value);
}

/* ---- plain accesses ---- */

static void race(const char *what) {
    static char text[80];
    (void)snprintf(text, sizeof text, "data race: %s", what);
    model_fail(text);
}

/* Whether an epoch of each thread is known to this one. */
static bool knows(const vector_t *epochs) {
    const vector_t *now = &clocks[checker_thread()];
    for (uint32_t i = 0; i < MODEL_THREADS; i++)
        if (epochs->at[i] > now->at[i]) return false;
    return true;
}

static void plain(uintptr_t address, bool writes) {
    place_t *place = place_of(address);
    const vector_t *now = &clocks[checker_thread()];
    if (!knows(&place->written)) race(writes ? "two writes" : "a read and a write");
    if (writes && !knows(&place->read)) race("a write and a read");
    for (uint32_t i = 0; i < place->seen_count; i++) {
        const seen_t *seen = &place->seen[i];
        if ((writes || seen->writes) && seen->epoch > now->at[seen->thread])
            race("a plain and an atomic access");
    }
    vector_t *mine = writes ? &place->written : &place->read;
    mine->at[checker_thread()] = now->at[checker_thread()];
    /* An atomic that is written plainly begins anew. */
    if (writes) {
        place->stores_count = 0;
        place->seen_count = 0;
    }
}

void memory_plain(const void *start, uint64_t bytes, bool writes) {
    if (checker_on_stack(start)) return;
    uintptr_t at = (uintptr_t)start & ~(uintptr_t)3;
    for (; at < (uintptr_t)start + bytes; at += 4) plain(at, writes);
}

/* Called by ATOLL__MODEL_USE. */
void model_use(const volatile void *address, bool writes);
void model_use(const volatile void *address, bool writes) {
    plain((uintptr_t)address | 1, writes);
}

/* ---- atomic accesses ---- */

static bool acquires(int order) {
    return order == __ATOMIC_ACQUIRE || order == __ATOMIC_CONSUME || order == __ATOMIC_ACQ_REL ||
           order == __ATOMIC_SEQ_CST;
}

static bool releases(int order) {
    return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

static uint64_t memory_get(const void *address, uint32_t bytes) {
    uint64_t value = 0;
    memcpy(&value, address, bytes);
    return value;
}

/* Before an atomic access: others run; then its place, with what lay there first as a store. */
static place_t *begin(const volatile void *at, uint32_t bytes, bool writes) {
    const void *address = (const void *)(uintptr_t)at;
    checker_step((access_t){.address = address, .writes = writes});
    last_step[checker_thread()] = ++clocks[checker_thread()].at[checker_thread()];
    place_t *place = place_of((uintptr_t)address);
    if (!knows(&place->written)) race("an atomic access and a plain write");
    if (writes && !knows(&place->read)) race("an atomic write and a plain read");
    if (place->stores_count == 0) {
        memset(&place->stores[0], 0, sizeof place->stores[0]);
        place->stores[0].value = memory_get(address, bytes);
        place->stores_count = 1;
    }
    return place;
}

static void note(place_t *place, uint32_t store, int order, bool writes) {
    if (place->seen_count == ACCESSES_MAX) model_full("the model has too many accesses");
    uint32_t thread = checker_thread();
    place->seen[place->seen_count++] = (seen_t){
        .thread = thread,
        .epoch = clocks[thread].at[thread],
        .store = store,
        .ordered = order == __ATOMIC_SEQ_CST,
        .writes = writes,
    };
}

/* The oldest store that this thread may still read. */
static uint32_t oldest(const place_t *place, int order) {
    vector_t now = clocks[checker_thread()];
    vector_join(&now, &lit[checker_thread()]);
    uint32_t store = 0;
    uint32_t times = 0;
    for (uint32_t i = 0; i < place->seen_count; i++) {
        const seen_t *seen = &place->seen[i];
        bool known = seen->epoch <= now.at[seen->thread] ||
                     (seen->ordered && order == __ATOMIC_SEQ_CST);
        if (known && seen->store > store) {
            store = seen->store;
            times = 0;
        }
        if (seen->thread == checker_thread() && seen->store == store) times++;
    }
    bool stale = store + 1 < place->stores_count;
    return stale && times >= STALE_MAX ? store + 1 : store;
}

static void learn(const place_t *place, uint32_t store, int order) {
    if (acquires(order))
        vector_join(&clocks[checker_thread()], &place->stores[store].released);
}

uint64_t memory_load(const volatile void *at, uint32_t bytes, int order) {
    place_t *place = begin(at, bytes, false);
    uint32_t newest = place->stores_count - 1;
    uint32_t store = newest - checker_choose(newest - oldest(place, order) + 1);
    note(place, store, order, false);
    learn(place, store, order);
    trace_add("load", place->address, place->stores[store].value, order);
    return place->stores[store].value;
}

static void put(
    place_t *place, volatile void *at, uint32_t bytes, uint64_t value, int order, bool modifies) {
    if (place->stores_count == STORES_MAX) model_full("the model has too many stores");
    store_t *store = &place->stores[place->stores_count];
    memset(store, 0, sizeof *store);
    store->value = bytes == 8 ? value : value & ((1ull << 8 * bytes) - 1);
    /* A release sequence goes on through read-modify-writes. */
    if (modifies) store->released = place->stores[place->stores_count - 1].released;
    if (releases(order)) vector_join(&store->released, &clocks[checker_thread()]);
    note(place, place->stores_count, order, true);
    place->stores_count++;
    memcpy((void *)(uintptr_t)at, &value, bytes);
    /* What comes next is not part of what was released. */
    clocks[checker_thread()].at[checker_thread()]++;
}

void memory_store(volatile void *at, uint32_t bytes, uint64_t value, int order) {
    place_t *place = begin(at, bytes, true);
    put(place, at, bytes, value, order, false);
    trace_add("store", place->address, value, order);
}

/* A read-modify-write reads the newest store. */
uint64_t memory_modify(
    volatile void *at, uint32_t bytes, uint64_t operand, int order,
    uint64_t (*next)(uint64_t, uint64_t)) {
    place_t *place = begin(at, bytes, true);
    uint32_t newest = place->stores_count - 1;
    uint64_t before = place->stores[newest].value;
    learn(place, newest, order);
    put(place, at, bytes, next(before, operand), order, true);
    trace_add("modify", place->address, before, order);
    return before;
}

/* Succeeds on the newest store only; may fail on an older one that differs. */
bool memory_exchange(
    volatile void *at, uint32_t bytes, void *expected, uint64_t value, int order, int otherwise) {
    place_t *place = begin(at, bytes, true);
    uint64_t wanted = memory_get(expected, bytes);
    uint32_t newest = place->stores_count - 1;
    uint32_t options[STORES_MAX] = {newest};
    uint32_t count = 1;
    for (uint32_t i = oldest(place, otherwise); i < newest; i++)
        if (place->stores[i].value != wanted) options[count++] = i;
    uint32_t found = options[checker_choose(count)];
    uint64_t before = place->stores[found].value;
    bool same = found == newest && before == wanted;
    memory_plain(expected, bytes, !same);
    learn(place, found, same ? order : otherwise);
    if (same)
        put(place, at, bytes, value, order, true);
    else
        note(place, found, otherwise, false);
    if (!same) memcpy(expected, &before, bytes);
    trace_add(same ? "exchange" : "exchange fails", place->address, before, order);
    return same;
}

/* ---- fences ---- */

/* A place of their own: fences come in one order. */
static const char fences;

static void fence(uint32_t thread) {
    vector_join(&fenced, &clocks[thread]);
    lit[thread] = fenced;
}

/* Called by ATOLL__FENCE. */
void model_fence(const char *end);
void model_fence(const char *end) {
    if (checker_without(end)) return;
    checker_step((access_t){.address = &fences, .writes = true});
    fence(checker_thread());
    trace_add("fence", 0, 0, -1);
}

/* Every thread's fence before any thread's look: first what all of them did is gathered. */
void model_barrier(const char *end) {
    if (checker_without(end)) return;
    checker_step((access_t){.address = NULL, .writes = true});
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < MODEL_THREADS; i++) fence(i);
    trace_add("barrier", 0, 0, -1);
}

model_moment_t model_now(void) {
    model_moment_t moment = {.thread = checker_thread()};
    memcpy(moment.clock, clocks[moment.thread].at, sizeof moment.clock);
    moment.clock[moment.thread] = last_step[moment.thread];
    return moment;
}

bool model_before(const model_moment_t *end, const model_moment_t *begin) {
    return end->clock[end->thread] <= begin->clock[end->thread];
}
