/* Plugins: which are loaded, by number and by id, and the targets of their exports by name.
 *
 * Owns: the names. Must not know what a plugin is made of, nor how a target is called.
 *
 * A mirror of what engines have loaded, so that a door can turn names into targets without asking
 * JavaScript. Plugins and the buckets of the index by id are versions in read-copy-update cells; a
 * lookup is pinned and writes nothing. A removal must not fail for want of memory: it strikes the
 * plugin out of its bucket, and the next addition leaves the gap out of the copy. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "rcu.h"

#define PLUGINS_MAX 4096u
#define BUCKETS 256u

/* Sorted by bare name, then by name. */
typedef struct export {
    const uint8_t *name; /* INTERFACE#NAME, or NAME for a function of the world itself */
    uint32_t length;
    uint32_t bare; /* where NAME begins */
    uint32_t target;
} export_t;

typedef struct plugin {
    atoll__retired_t retired;
    uint32_t number;
    uint32_t generation;
    uint32_t engine;
    uint32_t group;
    uint32_t id_length;
    uint32_t exports_length;
    const uint8_t *id;
    export_t exports[]; /* the bytes of the id and of the names lie behind them */
} plugin_t;

/* Plugins whose ids share a hash, the latest first. */
typedef struct bucket {
    atoll__retired_t retired;
    uint32_t length;
    _Atomic(plugin_t *) plugins[]; /* NULL: struck out */
} bucket_t;

_Static_assert(PLUGINS_MAX <= 65536, "a plugin number is life << 16 | index");

static atoll__rcu_t cells[PLUGINS_MAX];
static atoll__rcu_t buckets[BUCKETS];
static pthread_mutex_t plugins_lock = PTHREAD_MUTEX_INITIALIZER;
static uint16_t lives[PLUGINS_MAX];     /* lock */
static uint16_t next_free[PLUGINS_MAX]; /* index plus one; lock */
static uint32_t free_first;             /* index plus one; lock */
static uint32_t cells_used;             /* lock */
static uint32_t generations;            /* lock */
static _Atomic uint32_t plugins_count;

static void release(atoll__retired_t *retired) {
    free(retired);
}

/* FNV-1a. */
static uint32_t bucket_of(const uint8_t *id, uint32_t length) {
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < length; i++) hash = (hash ^ id[i]) * 16777619u;
    return (hash ^ hash >> 16) % BUCKETS;
}

/* ---- names ---- */

static int bytes_compare(const uint8_t *a, uint32_t a_length, const uint8_t *b, uint32_t b_length) {
    uint32_t both = a_length < b_length ? a_length : b_length;
    int order = both == 0 ? 0 : memcmp(a, b, both);
    if (order != 0) return order;
    return a_length < b_length ? -1 : a_length > b_length ? 1 : 0;
}

static int bare_compare(const void *left, const void *right) {
    const export_t *a = left;
    const export_t *b = right;
    return bytes_compare(
        a->name + a->bare, a->length - a->bare, b->name + b->bare, b->length - b->bare);
}

static int export_compare(const void *left, const void *right) {
    const export_t *a = left;
    const export_t *b = right;
    int order = bare_compare(a, b);
    return order != 0 ? order : bytes_compare(a->name, a->length, b->name, b->length);
}

static export_t export_of(const uint8_t *name, uint32_t length, uint32_t target) {
    const uint8_t *mark = memchr(name, '#', length);
    uint32_t bare = mark == NULL ? 0 : (uint32_t)(mark - name) + 1;
    return (export_t){.name = name, .length = length, .bare = bare, .target = target};
}

/* Index of the first export that is not before the wanted one in that order. */
static uint32_t lower_bound(
    const plugin_t *plugin, const export_t *wanted, int (*compare)(const void *, const void *)) {
    uint32_t low = 0;
    uint32_t high = plugin->exports_length;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare(&plugin->exports[middle], wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static atoll_status_t export_find(
    const plugin_t *plugin, const uint8_t *name, uint32_t length, uint32_t *target) {
    export_t wanted = export_of(name, length, 0);
    uint32_t end = plugin->exports_length;
    uint32_t at = lower_bound(plugin, &wanted, export_compare);
    if (at < end && export_compare(&plugin->exports[at], &wanted) == 0) {
        *target = plugin->exports[at].target;
        return ATOLL_OK;
    }
    at = wanted.bare != 0 ? end : lower_bound(plugin, &wanted, bare_compare);
    if (at == end || bare_compare(&plugin->exports[at], &wanted) != 0)
        return atoll__fail(ATOLL_NOT_FOUND, "Cannot find target: the plugin has no such export");
    if (at + 1 < end && bare_compare(&plugin->exports[at + 1], &wanted) == 0)
        return atoll__fail(
            ATOLL_NOT_FOUND,
            "Cannot find target: several interfaces export it; name one as INTERFACE#NAME");
    *target = plugin->exports[at].target;
    return ATOLL_OK;
}

/* ---- additions and removals ---- */

static atoll_status_t names_check(
    uint32_t id_length, const atoll_export_t *exports, uint32_t exports_length, size_t *bytes) {
    if (id_length > ATOLL__NAME_BYTES_MAX || exports_length > ATOLL__TARGETS_MAX)
        return ATOLL_INVALID_ARGUMENT;
    *bytes = id_length;
    for (uint32_t i = 0; i < exports_length; i++) {
        if (exports[i].name == NULL || exports[i].name_length > ATOLL__NAME_BYTES_MAX)
            return ATOLL_INVALID_ARGUMENT;
        *bytes += exports[i].name_length;
    }
    return ATOLL_OK;
}

/* The plugin with copies of all names, not numbered yet. NULL: out of memory. */
static plugin_t *plugin_new(
    const uint8_t *id, uint32_t id_length, const atoll_export_t *exports, uint32_t exports_length,
    size_t bytes) {
    plugin_t *plugin = malloc(sizeof *plugin + exports_length * sizeof(export_t) + bytes);
    if (plugin == NULL) return NULL;
    uint8_t *text = (uint8_t *)&plugin->exports[exports_length];
    plugin->id = text;
    plugin->id_length = id_length;
    plugin->exports_length = exports_length;
    if (id_length > 0) memcpy(text, id, id_length);
    text += id_length;
    for (uint32_t i = 0; i < exports_length; i++) {
        uint32_t length = exports[i].name_length;
        memcpy(text, exports[i].name, length);
        plugin->exports[i] = export_of(text, length, exports[i].target);
        text += length;
    }
    if (exports_length > 0)
        qsort(plugin->exports, exports_length, sizeof(export_t), export_compare);
    return plugin;
}

/* The bucket with the plugin at its front and without gaps; NULL: out of memory. Needs the lock. */
static bucket_t *bucket_with(const bucket_t *own, plugin_t *plugin) {
    uint32_t length = own == NULL ? 0 : own->length;
    bucket_t *copy = malloc(sizeof *copy + (length + 1) * sizeof copy->plugins[0]);
    if (copy == NULL) return NULL;
    copy->length = 0;
    atomic_init(&copy->plugins[copy->length++], plugin);
    for (uint32_t i = 0; i < length; i++) {
        plugin_t *other = atomic_load_explicit(&own->plugins[i], memory_order_relaxed);
        if (other != NULL) atomic_init(&copy->plugins[copy->length++], other);
    }
    return copy;
}

/* Needs the lock. */
static atoll_status_t plugin_enter(plugin_t *plugin) {
    uint32_t index = free_first != 0 ? free_first - 1 : cells_used;
    if (index == PLUGINS_MAX) return ATOLL_NO_MEMORY;
    atoll__rcu_t *cell = &buckets[bucket_of(plugin->id, plugin->id_length)];
    bucket_t *bucket = bucket_with(atoll__rcu_own(cell), plugin);
    if (bucket == NULL) return ATOLL_NO_MEMORY;
    if (free_first != 0)
        free_first = next_free[index];
    else
        cells_used++;
    lives[index] = (uint16_t)(lives[index] % 0xFFFFu + 1u);
    plugin->number = (uint32_t)lives[index] << 16 | index;
    plugin->generation = ++generations;
    atoll__rcu_publish(&cells[index], &plugin->retired, release);
    atoll__rcu_publish(cell, &bucket->retired, release);
    atomic_fetch_add(&plugins_count, 1);
    return ATOLL_OK;
}

atoll_status_t atoll__plugin_add(
    uint32_t engine, uint32_t group, const uint8_t *id, uint32_t id_length,
    const atoll_export_t *exports, uint32_t exports_length, uint32_t *number) {
    size_t bytes;
    atoll_status_t status = names_check(id_length, exports, exports_length, &bytes);
    if (status != ATOLL_OK) return status;
    plugin_t *plugin = plugin_new(id, id_length, exports, exports_length, bytes);
    if (plugin == NULL) return ATOLL_NO_MEMORY;
    plugin->engine = engine;
    plugin->group = group;
    (void)pthread_mutex_lock(&plugins_lock);
    status = plugin_enter(plugin);
    if (status == ATOLL_OK) *number = plugin->number;
    (void)pthread_mutex_unlock(&plugins_lock);
    if (status != ATOLL_OK) free(plugin);
    atoll__warden_tick();
    return status;
}

/* Needs the lock. */
static void plugin_leave(plugin_t *plugin) {
    bucket_t *bucket = atoll__rcu_own(&buckets[bucket_of(plugin->id, plugin->id_length)]);
    for (uint32_t i = 0; i < bucket->length; i++)
        if (atomic_load_explicit(&bucket->plugins[i], memory_order_relaxed) == plugin)
            atomic_store_explicit(&bucket->plugins[i], NULL, memory_order_relaxed);
    uint32_t index = plugin->number & 0xFFFFu;
    next_free[index] = (uint16_t)free_first;
    free_first = index + 1;
    atomic_fetch_sub(&plugins_count, 1);
    /* Last: from here on the plugin is only its readers'. */
    atoll__rcu_publish(&cells[index], NULL, release);
}

atoll_status_t atoll__plugin_remove(uint32_t number) {
    uint32_t index = number & 0xFFFFu;
    if (index >= PLUGINS_MAX) return ATOLL_NOT_FOUND;
    (void)pthread_mutex_lock(&plugins_lock);
    plugin_t *plugin = atoll__rcu_own(&cells[index]);
    bool known = plugin != NULL && plugin->number == number;
    if (known) plugin_leave(plugin);
    (void)pthread_mutex_unlock(&plugins_lock);
    atoll__warden_tick();
    return known ? ATOLL_OK : ATOLL_NOT_FOUND;
}

void atoll__plugins_clear(void) {
    (void)pthread_mutex_lock(&plugins_lock);
    for (uint32_t i = 0; i < cells_used; i++) {
        plugin_t *plugin = atoll__rcu_own(&cells[i]);
        if (plugin != NULL) plugin_leave(plugin);
    }
    for (uint32_t i = 0; i < BUCKETS; i++) atoll__rcu_publish(&buckets[i], NULL, release);
    (void)pthread_mutex_unlock(&plugins_lock);
}

uint32_t atoll__plugins_count(void) {
    return atomic_load(&plugins_count);
}

/* ---- lookups ---- */

static const plugin_t *by_id(const uint8_t *id, uint32_t length) {
    const bucket_t *bucket = atoll__rcu_read(&buckets[bucket_of(id, length)]);
    for (uint32_t i = 0; bucket != NULL && i < bucket->length; i++) {
        /* Relaxed: whoever reads the bucket (rcu-read) sees what its plugins hold. */
        const plugin_t *plugin = atomic_load_explicit(&bucket->plugins[i], memory_order_relaxed);
        if (plugin != NULL && bytes_compare(plugin->id, plugin->id_length, id, length) == 0)
            return plugin;
    }
    return NULL;
}

atoll_status_t atoll__plugin_find(
    const uint8_t *id, uint32_t id_length, atoll_plugin_info_t *info) {
    atoll__pin_t pin = atoll__epoch_pin();
    if (pin.reader == NULL)
        return atoll__fail(ATOLL_NO_MEMORY, "Cannot find plugin: out of memory");
    const plugin_t *plugin = by_id(id, id_length);
    ATOLL__WINDOW();
    atoll_plugin_info_t found = {0};
    if (plugin != NULL)
        found = (atoll_plugin_info_t){
            .plugin = plugin->number,
            .generation = plugin->generation,
            .engine = plugin->engine,
            .group = plugin->group,
            .exports = plugin->exports_length,
        };
    atoll__epoch_unpin(pin);
    if (plugin == NULL)
        return atoll__fail(ATOLL_NOT_FOUND, "Cannot find plugin: none of that id is loaded");
    /* Its limits are the group's own: gone when the plugin went meanwhile. */
    atoll__limits_t limits;
    if (!atoll__group_limits(found.group, &limits))
        return atoll__fail(ATOLL_NOT_FOUND, "Cannot find plugin: it is being unloaded");
    found.concurrency_max = limits.concurrency_max;
    found.queue_max = limits.queue_max;
    found.budget_default_us = limits.budget_us == UINT32_MAX ? 0 : limits.budget_us;
    *info = found;
    return ATOLL_OK;
}

atoll_status_t atoll__target_find(
    uint32_t number, const uint8_t *name, uint32_t name_length, uint32_t *target) {
    atoll__pin_t pin = atoll__epoch_pin();
    if (pin.reader == NULL)
        return atoll__fail(ATOLL_NO_MEMORY, "Cannot find target: out of memory");
    uint32_t index = number & 0xFFFFu;
    const plugin_t *plugin = index < PLUGINS_MAX ? atoll__rcu_read(&cells[index]) : NULL;
    ATOLL__WINDOW();
    atoll_status_t status;
    if (plugin == NULL || plugin->number != number)
        status = atoll__fail(
            ATOLL_NOT_FOUND, "Cannot find target: no such plugin, or a stale one");
    else
        status = export_find(plugin, name, name_length, target);
    atoll__epoch_unpin(pin);
    return status;
}
