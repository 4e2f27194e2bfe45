/* Targets: numbers that JavaScript puts into frames, and where they lead.
 *
 * Owns: the table and its generations. Must not know what a handle stands for. */
#include "internal.h"

/* Written under the lock, read without: a reader takes the generation before and after. */
typedef struct target {
    _Atomic uint32_t generation; /* odd while it leads somewhere */
    _Atomic uint32_t engine;
    _Atomic uint32_t handle;
    _Atomic uint32_t group;
    uint32_t next_free; /* index plus one; lock */
} target_t;

_Static_assert(ATOLL__TARGETS_MAX == 65536, "a target number is generation << 16 | index");

static target_t *targets;
static uint32_t targets_used; /* highest index ever used, plus one; lock */
static uint32_t free_first;   /* index plus one; lock */
static _Atomic uint32_t targets_count;
static pthread_mutex_t router_lock = PTHREAD_MUTEX_INITIALIZER;

atoll_status_t atoll__router_open(void) {
    if (targets != NULL) return ATOLL_OK;
    targets = atoll__prim_reserve(ATOLL__TARGETS_MAX * sizeof *targets);
    if (targets == NULL) return atoll__fail(ATOLL_NO_MEMORY, "Cannot open: no address space");
    targets_used = 1; /* target 0 leads nowhere */
    return ATOLL_OK;
}

static uint32_t number_of(uint32_t index, uint32_t generation) {
    return (generation & 0xFFFFu) << 16 | index;
}

atoll_status_t atoll__target_add(
    uint32_t engine, uint32_t handle, uint32_t group, uint32_t *number) {
    (void)pthread_mutex_lock(&router_lock);
    uint32_t index = 0;
    if (free_first != 0) {
        index = free_first - 1;
        free_first = targets[index].next_free;
    } else if (targets_used < ATOLL__TARGETS_MAX) {
        index = targets_used++;
    }
    if (index != 0) {
        target_t *target = &targets[index];
        atomic_store_explicit(&target->engine, engine, memory_order_release);
        atomic_store_explicit(&target->handle, handle, memory_order_release);
        atomic_store_explicit(&target->group, group, memory_order_release);
        /* SYNC POINT: target-publish; paired with target-find. */
        uint32_t generation =
            atomic_fetch_add_explicit(&target->generation, 1, memory_order_acq_rel) + 1;
        *number = number_of(index, generation);
        atomic_fetch_add(&targets_count, 1);
    }
    (void)pthread_mutex_unlock(&router_lock);
    return index == 0 ? ATOLL_NO_MEMORY : ATOLL_OK;
}

/* Needs the lock. */
static void target_drop(uint32_t index) {
    target_t *target = &targets[index];
    /* Before the fields change again: a reader that took them meanwhile sees another generation. */
    atomic_fetch_add_explicit(&target->generation, 1, memory_order_acq_rel);
    target->next_free = free_first;
    free_first = index + 1;
    atomic_fetch_sub(&targets_count, 1);
}

atoll_status_t atoll__target_remove(uint32_t number) {
    atoll_status_t status = ATOLL_NOT_FOUND;
    uint32_t index = number & 0xFFFFu;
    (void)pthread_mutex_lock(&router_lock);
    if (index != 0 && index < targets_used) {
        uint32_t generation = atomic_load(&targets[index].generation);
        if ((generation & 1u) != 0 && number_of(index, generation) == number) {
            target_drop(index);
            status = ATOLL_OK;
        }
    }
    (void)pthread_mutex_unlock(&router_lock);
    return status;
}

bool atoll__router_find(uint32_t number, atoll__route_t *route) {
    uint32_t index = number & 0xFFFFu;
    target_t *target = &targets[index];
    /* SYNC POINT: target-find, the reader's end of target-publish. */
    uint32_t before = atomic_load_explicit(&target->generation, memory_order_acquire);
    if ((before & 1u) == 0 || number_of(index, before) != number) return false;
    /* Acquire loads keep the second look behind them; a field of a later life was stored after
     * the generation had changed, so that whoever reads it sees that change too. */
    route->engine = atomic_load_explicit(&target->engine, memory_order_acquire);
    ATOLL__WINDOW();
    route->handle = atomic_load_explicit(&target->handle, memory_order_acquire);
    route->group = atomic_load_explicit(&target->group, memory_order_acquire);
    return atomic_load_explicit(&target->generation, memory_order_relaxed) == before;
}

void atoll__router_clear(void) {
    (void)pthread_mutex_lock(&router_lock);
    for (uint32_t index = 1; index < targets_used; index++)
        if ((atomic_load(&targets[index].generation) & 1u) != 0) target_drop(index);
    (void)pthread_mutex_unlock(&router_lock);
}

uint32_t atoll__router_count(void) {
    return atomic_load(&targets_count);
}
