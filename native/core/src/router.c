/* Targets: numbers that JavaScript puts into frames, and where they lead.
 *
 * Owns: the table and its generations. Must not know what a handle stands for.
 *
 * The table is pages of PAGE routes, each page a read-copy-update cell: adding a target copies its
 * page, however many there are. A removal must not fail for want of memory and copies nothing: it
 * strikes the number out of the current version. A route that a version has shown is never another
 * one in that version. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "rcu.h"

#define PAGE_BITS 8u
#define PAGE (1u << PAGE_BITS)
#define PAGES (ATOLL__TARGETS_MAX >> PAGE_BITS)

typedef struct entry {
    _Atomic uint32_t number; /* 0: leads nowhere; any other only by a copy */
    atoll__route_t route;
} entry_t;

typedef struct page {
    atoll__retired_t retired;
    entry_t entries[PAGE];
} page_t;

/* What outlives the versions; lock. */
typedef struct place {
    uint32_t generation;
    uint32_t next_free; /* index plus one */
} place_t;

_Static_assert(ATOLL__TARGETS_MAX == 65536, "a target number is generation << 16 | index");

static atoll__rcu_t pages[PAGES];
static place_t *places;
static uint32_t places_used; /* highest index ever used, plus one; lock */
static uint32_t free_first;  /* index plus one; lock */
static _Atomic uint32_t targets_count;
static pthread_mutex_t router_lock = PTHREAD_MUTEX_INITIALIZER;

atoll_status_t atoll__router_open(void) {
    if (places != NULL) return ATOLL_OK;
    places = atoll__prim_reserve(ATOLL__TARGETS_MAX * sizeof *places);
    if (places == NULL) return atoll__fail(ATOLL_NO_MEMORY, "Cannot open: no address space");
    places_used = 1; /* target 0 leads nowhere */
    return ATOLL_OK;
}

static void page_release(atoll__retired_t *retired) {
    free(retired);
}

/* A copy of the page's current version to be changed; NULL: out of memory. Needs the lock. */
static page_t *page_copy(uint32_t page) {
    page_t *copy = malloc(sizeof *copy);
    if (copy == NULL) return NULL;
    const page_t *own = atoll__rcu_own(&pages[page]);
    if (own != NULL)
        memcpy(copy, own, sizeof *copy);
    else
        memset(copy, 0, sizeof *copy);
    return copy;
}

/* A free index, 0 when there is none. Needs the lock. */
static uint32_t place_free(void) {
    if (free_first != 0) return free_first - 1;
    return places_used < ATOLL__TARGETS_MAX ? places_used : 0;
}

/* Takes the index that place_free found. Needs the lock. */
static void place_take(uint32_t index) {
    if (free_first != 0)
        free_first = places[index].next_free;
    else
        places_used++;
}

atoll_status_t atoll__target_add(
    uint32_t engine, uint32_t handle, uint32_t group, uint32_t *number) {
    (void)pthread_mutex_lock(&router_lock);
    uint32_t index = place_free();
    page_t *page = index == 0 ? NULL : page_copy(index >> PAGE_BITS);
    if (page != NULL) {
        place_take(index);
        place_t *place = &places[index];
        place->generation = place->generation % 0xFFFFu + 1u;
        *number = place->generation << 16 | index;
        entry_t *entry = &page->entries[index % PAGE];
        entry->route = (atoll__route_t){.engine = engine, .handle = handle, .group = group};
        atomic_store_explicit(&entry->number, *number, memory_order_relaxed);
        atoll__rcu_publish(&pages[index >> PAGE_BITS], &page->retired, page_release);
        atomic_fetch_add(&targets_count, 1);
    }
    (void)pthread_mutex_unlock(&router_lock);
    atoll__warden_tick();
    return page == NULL ? ATOLL_NO_MEMORY : ATOLL_OK;
}

atoll_status_t atoll__target_remove(uint32_t number) {
    uint32_t index = number & 0xFFFFu;
    (void)pthread_mutex_lock(&router_lock);
    page_t *page = atoll__rcu_own(&pages[index >> PAGE_BITS]);
    _Atomic uint32_t *found = page == NULL ? NULL : &page->entries[index % PAGE].number;
    bool known = index != 0 && found != NULL &&
                 atomic_load_explicit(found, memory_order_relaxed) == number;
    if (known) {
        atomic_store_explicit(found, 0, memory_order_relaxed);
        places[index].next_free = free_first;
        free_first = index + 1;
        atomic_fetch_sub(&targets_count, 1);
    }
    (void)pthread_mutex_unlock(&router_lock);
    return known ? ATOLL_OK : ATOLL_NOT_FOUND;
}

bool atoll__router_find(uint32_t number, atoll__route_t *route) {
    uint32_t index = number & 0xFFFFu;
    const page_t *page = atoll__rcu_read(&pages[index >> PAGE_BITS]);
    if (page == NULL || index == 0) return false;
    const entry_t *entry = &page->entries[index % PAGE];
    if (atomic_load_explicit(&entry->number, memory_order_relaxed) != number) return false;
    *route = entry->route;
    return true;
}

void atoll__router_clear(void) {
    (void)pthread_mutex_lock(&router_lock);
    /* The places keep their generations: a number of this life is stale in the next. */
    free_first = 0;
    for (uint32_t index = places_used; index-- > 1;) {
        places[index].next_free = free_first;
        free_first = index + 1;
    }
    for (uint32_t page = 0; page < PAGES; page++)
        atoll__rcu_publish(&pages[page], NULL, page_release);
    atomic_store(&targets_count, 0);
    (void)pthread_mutex_unlock(&router_lock);
}

uint32_t atoll__router_count(void) {
    return atomic_load(&targets_count);
}
