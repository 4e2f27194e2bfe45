/* Engines: libraries that run calls.
 *
 * Owns: loading, attaching, closing; the table of host functions. Must not know what engines do. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static atoll__engine_t engines[ATOLL__ENGINES_MAX];
static uint32_t engines_used; /* library's lock */

static atoll_status_t host_target_add(
    uint32_t engine, uint32_t handle, uint32_t group, uint32_t *target) {
    if (target == NULL || engine == 0 || engine > ATOLL__ENGINES_MAX)
        return ATOLL_INVALID_ARGUMENT;
    return atoll__target_add(engine, handle, group, target);
}

static atoll_status_t host_plugin_add(
    uint32_t engine, uint32_t group, const uint8_t *id, uint32_t id_length,
    const atoll_export_t *exports, uint32_t exports_length, uint32_t *plugin) {
    bool missing = (id == NULL && id_length > 0) || (exports == NULL && exports_length > 0);
    if (missing || plugin == NULL || engine == 0 || engine > ATOLL__ENGINES_MAX)
        return ATOLL_INVALID_ARGUMENT;
    return atoll__plugin_add(engine, group, id, id_length, exports, exports_length, plugin);
}

static atoll_status_t host_group_add(const atoll_group_limits_t *limits, uint32_t *group) {
    if (limits == NULL || group == NULL) return ATOLL_INVALID_ARGUMENT;
    return atoll__group_add(limits, group);
}

static atoll_status_t host_group_set(uint32_t group, const atoll_group_limits_t *limits) {
    if (limits == NULL) return ATOLL_INVALID_ARGUMENT;
    return atoll__group_set(group, limits);
}

static atoll_status_t host_blob_take(
    void *handle, uint32_t blob, uint8_t **bytes, uint64_t *length) {
    if (bytes == NULL || length == NULL) return ATOLL_INVALID_ARGUMENT;
    atoll__call_t *call = atoll__call_acquire((uint32_t)(uintptr_t)handle);
    if (call == NULL) return ATOLL_NOT_FOUND;
    atoll_status_t status = atoll__blob_take(call->client_number, blob, bytes, length);
    atoll__call_release(call);
    return status;
}

const atoll_host_t atoll__host = {
    .abi_version = ATOLL_ABI_VERSION,
    .group_add = host_group_add,
    .group_set = host_group_set,
    .group_remove = atoll__group_remove,
    .target_add = host_target_add,
    .target_remove = atoll__target_remove,
    .plugin_add = host_plugin_add,
    .plugin_remove = atoll__plugin_remove,
    .blob_take = host_blob_take,
    .blob_free = atoll__blob_free,
    .call_migrate = atoll__host_migrate,
    .call_payload = atoll__host_payload,
    .call_event = atoll__host_event,
    .call_reply = atoll__host_reply,
    .chunk_free = atoll__host_chunk_free,
};

atoll__engine_t *atoll__engine_at(uint32_t number) {
    if (number == 0 || number > ATOLL__ENGINES_MAX) return NULL;
    atoll__engine_t *engine = &engines[number - 1];
    /* SYNC POINT: engine-publish, the reader's end. */
    return atomic_load_explicit(&engine->attached, memory_order_acquire) != 0 ? engine : NULL;
}

static bool table_complete(const atoll_engine_t *table) {
    return table->call_start != NULL && table->call_cancel != NULL && table->call_chunk != NULL &&
           table->call_credit != NULL && table->state_free != NULL && table->close != NULL;
}

static atoll_status_t engine_attach(
    atoll__engine_t *engine, const uint8_t *config, uint32_t config_length) {
    int exposed = atoll__prim_file_exposed(engine->path);
    if (exposed < 0)
        return atoll__failf(
            ATOLL_IO, "Cannot load engine \"%s\": %s", engine->path, strerror(errno));
    if (exposed > 0)
        return atoll__failf(
            ATOLL_DENIED, "Cannot load engine \"%s\": other users may write the file",
            engine->path);
    const char *reason = "unknown";
    void *library = atoll__prim_library_open(engine->path, &reason);
    if (library == NULL) return atoll__failf(ATOLL_IO, "Cannot load engine: %s", reason);
    atoll_engine_attach_fn attach;
    void *symbol = atoll__prim_library_symbol(library, "atoll_engine_attach");
    if (symbol == NULL)
        return atoll__failf(
            ATOLL_UNSUPPORTED, "Cannot load engine \"%s\": it has no atoll_engine_attach",
            engine->path);
    /* C has no conversion from an object pointer to a function pointer; POSIX has. */
    memcpy(&attach, &symbol, sizeof attach);
    uint8_t text[400] = "it gave no reason";
    uint32_t text_length = sizeof text;
    memset(&engine->table, 0, sizeof engine->table);
    engine->context = NULL;
    atoll_status_t status = attach(
        ATOLL_ABI_VERSION, &atoll__host, engine->number, config, config_length, &engine->table,
        &engine->context, text, &text_length);
    if (status != ATOLL_OK) {
        if (text_length > sizeof text) text_length = sizeof text;
        return atoll__failf(
            status, "Cannot load engine \"%s\": %.*s", engine->path, (int)text_length,
            (const char *)text);
    }
    bool same = engine->table.abi_version == ATOLL_ABI_VERSION;
    if (!same)
        status = atoll__failf(
            ATOLL_VERSION, "Cannot load engine \"%s\": its ABI version is %u, expected %u",
            engine->path, engine->table.abi_version, ATOLL_ABI_VERSION);
    else if (!table_complete(&engine->table))
        status = atoll__failf(
            ATOLL_UNSUPPORTED, "Cannot load engine \"%s\": its table has gaps", engine->path);
    if (status == ATOLL_OK) return ATOLL_OK;
    /* It has started, and may have added targets: its threads end where the table can be trusted so
     * far, and its number is not given to another. */
    if (same && engine->table.close != NULL) engine->table.close(engine->context);
    engine->known = true;
    return status;
}

/* The entry of that path, a new one if need be; NULL when there is no room. Needs the lock. */
static atoll__engine_t *engine_of(const uint8_t *path, uint32_t length) {
    for (uint32_t i = 0; i < engines_used; i++) {
        const char *known = engines[i].path;
        if (strlen(known) == length && memcmp(known, path, length) == 0) return &engines[i];
    }
    if (engines_used == ATOLL__ENGINES_MAX) return NULL;
    atoll__engine_t *engine = &engines[engines_used];
    engine->path = calloc(1, (size_t)length + 1);
    if (engine->path == NULL) return NULL;
    memcpy(engine->path, path, length);
    engine->number = ++engines_used;
    return engine;
}

/* Needs the lock. The entry is the last one: it was made for this load. */
static void engine_forget(atoll__engine_t *engine) {
    assert(engine == &engines[engines_used - 1]);
    free(engine->path);
    engine->path = NULL;
    engines_used--;
}

atoll_status_t atoll__engine_load(
    const uint8_t *path, uint32_t path_length, const uint8_t *config, uint32_t config_length,
    uint32_t *number) {
    atoll_status_t status = ATOLL_OK;
    atoll__library_lock();
    atoll__engine_t *engine = NULL;
    if (!atoll__library_running())
        status = atoll__fail(ATOLL_CLOSED, "Cannot load engine: the library is not open");
    else if ((engine = engine_of(path, path_length)) == NULL)
        status = atoll__fail(ATOLL_NO_MEMORY, "Cannot load engine: too many are loaded");
    else if (atomic_load(&engine->attached) == 0)
        status = engine_attach(engine, config, config_length);
    /* Its place is for another: paths that cannot be loaded must not use all of them up. */
    if (status != ATOLL_OK && engine != NULL && !engine->known) engine_forget(engine);
    if (status == ATOLL_OK) {
        engine->known = true;
        *number = engine->number;
        /* SYNC POINT: engine-publish, the writer's end. */
        atomic_store_explicit(&engine->attached, 1, memory_order_release);
    }
    atoll__library_unlock();
    return status;
}

/* Needs the library's lock; no call is submitted any more. */
void atoll__engines_close(void) {
    for (uint32_t i = engines_used; i-- > 0;) {
        atoll__engine_t *engine = &engines[i];
        if (atomic_load(&engine->attached) == 0) continue;
        engine->table.close(engine->context);
        atomic_store(&engine->attached, 0);
    }
}
