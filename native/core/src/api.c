/* The exported functions: arguments are checked here and asserted further inside.
 *
 * Owns: what a caller may pass. Must not know how anything is done. */
#include <string.h>

#include "epoch.h"
#include "hazard.h"
#include "internal.h"

/* Most bytes of what a caller passes by address, so that a length that cannot be right is refused
 * before anything is read. */
#define CONFIG_BYTES_MAX (1u << 20)
#define BLOB_BYTES_MAX (1u << 30)

/* Whether nothing can be read or written there as that type. */
#define UNFIT(pointer) \
    ((pointer) == NULL || (uintptr_t)(pointer) % _Alignof(__typeof__(*(pointer))) != 0)

/* Whether no such run of bytes can be read. */
static bool bytes_unfit(const uint8_t *bytes, uint32_t length, uint32_t most) {
    return (bytes == NULL && length > 0) || length > most;
}

uint32_t atoll_abi_version(void) {
    return ATOLL_ABI_VERSION;
}

atoll_status_t atoll_open(
    const uint8_t *config, uint32_t config_length, atoll_arena_info_t *info) {
    if (UNFIT(info) || bytes_unfit(config, config_length, CONFIG_BYTES_MAX))
        return atoll__fail(
            ATOLL_INVALID_ARGUMENT, "Cannot open: a pointer is null or misaligned, or the "
                                    "configuration is too long");
    return atoll__library_open(config, config_length, info);
}

atoll_status_t atoll_close(void) {
    return atoll__library_close();
}

uint32_t atoll_error_text(uint8_t *text, uint32_t text_capacity) {
    return text == NULL ? 0 : atoll__error_text(text, text_capacity);
}

atoll_status_t atoll_engine_load(
    const uint8_t *path, uint32_t path_length, const uint8_t *config, uint32_t config_length,
    uint32_t *engine) {
    if (path == NULL || UNFIT(engine) || bytes_unfit(config, config_length, CONFIG_BYTES_MAX))
        return atoll__fail(
            ATOLL_INVALID_ARGUMENT, "Cannot load engine: a pointer is null or misaligned, or the "
                                    "configuration is too long");
    if (path_length == 0 || path_length > 4095 || path[0] != '/' ||
        memchr(path, 0, path_length) != NULL)
        return atoll__fail(
            ATOLL_INVALID_ARGUMENT, "Cannot load engine: the path is not absolute");
    return atoll__engine_load(path, path_length, config, config_length, engine);
}

atoll_status_t atoll_blob_put(
    uint32_t client, const uint8_t *bytes, uint32_t bytes_length, uint32_t *blob) {
    if (UNFIT(blob) || bytes_unfit(bytes, bytes_length, BLOB_BYTES_MAX))
        return atoll__fail(
            ATOLL_INVALID_ARGUMENT,
            "Cannot keep blob: a pointer is null or misaligned, or it has more than 1 GiB");
    atoll__client_t *entered;
    atoll_status_t status = atoll__client_enter(client, &entered);
    if (status != ATOLL_OK) return status;
    status = atoll__blob_put(client, bytes, bytes_length, blob);
    atoll__client_leave(entered);
    return status;
}

atoll_status_t atoll_blob_drop(uint32_t client, uint32_t blob) {
    atoll__client_t *entered;
    atoll_status_t status = atoll__client_enter(client, &entered);
    if (status != ATOLL_OK) return status;
    status = atoll__blob_drop(client, blob);
    if (status != ATOLL_OK)
        (void)atoll__fail(status, "Cannot drop blob: no such blob");
    atoll__client_leave(entered);
    return status;
}

atoll_status_t atoll_plugin_find(
    uint32_t client, const uint8_t *id, uint32_t id_length, atoll_plugin_info_t *info) {
    if (UNFIT(info) || bytes_unfit(id, id_length, ATOLL__NAME_BYTES_MAX))
        return atoll__fail(
            ATOLL_INVALID_ARGUMENT,
            "Cannot find plugin: a pointer is null or misaligned, or the id is too long");
    atoll__client_t *entered;
    atoll_status_t status = atoll__client_enter(client, &entered);
    if (status != ATOLL_OK) return status;
    status = atoll__plugin_find(id, id_length, info);
    atoll__client_leave(entered);
    return status;
}

atoll_status_t atoll_target_find(
    uint32_t client, uint32_t plugin, const uint8_t *name, uint32_t name_length,
    uint32_t *target) {
    if (UNFIT(target) || name == NULL || name_length > ATOLL__NAME_BYTES_MAX)
        return atoll__fail(
            ATOLL_INVALID_ARGUMENT,
            "Cannot find target: a pointer is null or misaligned, or the name is too long");
    atoll__client_t *entered;
    atoll_status_t status = atoll__client_enter(client, &entered);
    if (status != ATOLL_OK) return status;
    status = atoll__target_find(plugin, name, name_length, target);
    atoll__client_leave(entered);
    return status;
}

atoll_status_t atoll_client_open(atoll_client_info_t *info) {
    if (UNFIT(info))
        return atoll__fail(
            ATOLL_INVALID_ARGUMENT, "Cannot open client: a pointer is null or misaligned");
    atoll_status_t status = ATOLL_CLOSED;
    atoll__library_lock();
    if (atoll__library_running())
        status = atoll__client_new(atoll__library_folder(), info);
    else
        (void)atoll__fail(status, "Cannot open client: the library is not open");
    atoll__library_unlock();
    return status;
}

atoll_status_t atoll_client_attach(uint32_t client) {
    atoll__client_t *entered;
    atoll_status_t status = atoll__client_enter(client, &entered);
    if (status != ATOLL_OK) return status;
    status = atoll__client_attach(entered);
    atoll__client_leave(entered);
    return status;
}

atoll_status_t atoll_client_close(uint32_t client) {
    atoll__client_t *entered;
    atoll_status_t status = atoll__client_enter(client, &entered);
    if (status != ATOLL_OK) return status;
    (void)atoll__client_kill(entered);
    atoll__client_leave(entered);
    /* The warden takes it apart, at once if nothing is in flight. */
    atoll__warden_poke();
    return ATOLL_OK;
}

uint32_t atoll_slot_take(uint32_t client, uint32_t bytes) {
    atoll__client_t *entered;
    if (atoll__client_enter(client, &entered) != ATOLL_OK) return 0;
    uint32_t slot = 0;
    if (bytes <= atoll__arena_payload_max() + ATOLL_FRAME_BYTES)
        slot = atoll__slot_take(client, bytes, ATOLL__HOLD_CLIENT);
    if (slot == 0) (void)atoll__fail(ATOLL_NO_MEMORY, "Cannot take slot: none of that size left");
    atoll__client_leave(entered);
    return slot;
}

atoll_status_t atoll_slot_give(uint32_t client, uint32_t slot) {
    atoll__client_t *entered;
    atoll_status_t status = atoll__client_enter(client, &entered);
    if (status != ATOLL_OK) return status;
    if (!atoll__slot_free(client, slot, ATOLL__HOLD_CLIENT))
        status = atoll__fail(ATOLL_INVALID_FRAME, "Cannot give slot: not one of this client");
    atoll__client_leave(entered);
    return status;
}

uint32_t atoll_slot_bytes(uint32_t client, uint32_t slot) {
    atoll__client_t *entered;
    if (atoll__client_enter(client, &entered) != ATOLL_OK) return 0;
    uint32_t bytes = atoll__slot_is(client, slot, ATOLL__HOLD_CLIENT) ? atoll__slot_capacity(slot)
                                                                     : 0;
    atoll__client_leave(entered);
    return bytes;
}

atoll_status_t atoll_submit(uint32_t client, uint32_t slot) {
    atoll__client_t *entered;
    atoll_status_t status = atoll__client_enter(client, &entered);
    if (status != ATOLL_OK) return status;
    status = atoll__call_submit(entered, slot);
    atoll__client_leave(entered);
    return status;
}

uint32_t atoll_reap(uint32_t client) {
    atoll__client_t *entered;
    atoll_status_t status = atoll__client_enter(client, &entered);
    /* Not 0: that would say that the wake is armed. */
    if (status == ATOLL_INVALID_ARGUMENT) return ATOLL_REAP_BUSY;
    if (status != ATOLL_OK) return 0;
    uint32_t count = atoll__event_reap(entered);
    atoll__client_leave(entered);
    return count;
}

atoll_status_t atoll_cancel(uint32_t client, uint32_t ticket) {
    atoll__client_t *entered;
    atoll_status_t status = atoll__client_enter(client, &entered);
    if (status != ATOLL_OK) return status;
    atoll__call_t *call = atoll__call_acquire(ticket);
    if (call != NULL && call->client_number == client)
        atoll__call_cancel(call);
    else
        status = atoll__fail(ATOLL_NOT_FOUND, "Cannot cancel: no such ticket, or a stale one");
    if (call != NULL) atoll__call_release(call);
    atoll__client_leave(entered);
    return status;
}

atoll_status_t atoll_stream_send(uint32_t client, uint32_t ticket, uint32_t slot) {
    atoll__client_t *entered;
    atoll_status_t status = atoll__client_enter(client, &entered);
    if (status != ATOLL_OK) return status;
    status = atoll__stream_send(entered, ticket, slot);
    atoll__client_leave(entered);
    return status;
}

atoll_status_t atoll_stream_credit(uint32_t client, uint32_t ticket, uint32_t chunks) {
    atoll__client_t *entered;
    atoll_status_t status = atoll__client_enter(client, &entered);
    if (status != ATOLL_OK) return status;
    status = atoll__stream_credit(entered, ticket, chunks);
    atoll__client_leave(entered);
    return status;
}

atoll_status_t atoll_copy_in(
    uint32_t client, uint32_t slot, const uint8_t *bytes, uint32_t bytes_length) {
    if (bytes == NULL && bytes_length > 0)
        return atoll__fail(ATOLL_INVALID_ARGUMENT, "Cannot copy: a pointer is null");
    atoll__client_t *entered;
    atoll_status_t status = atoll__client_enter(client, &entered);
    if (status != ATOLL_OK) return status;
    if (!atoll__slot_is(client, slot, ATOLL__HOLD_CLIENT))
        status = atoll__fail(ATOLL_INVALID_FRAME, "Cannot copy: not a slot of this client");
    else if (bytes_length > atoll__slot_capacity(slot))
        status = atoll__fail(ATOLL_INVALID_ARGUMENT, "Cannot copy: longer than the slot");
    else if (bytes_length > 0)
        memcpy(atoll__slot_bytes(slot), bytes, bytes_length);
    atoll__client_leave(entered);
    return status;
}

atoll_status_t atoll_copy_out(
    uint32_t client, uint32_t slot, uint32_t offset, uint8_t *bytes, uint32_t bytes_length) {
    if (bytes == NULL && bytes_length > 0)
        return atoll__fail(ATOLL_INVALID_ARGUMENT, "Cannot copy: a pointer is null");
    atoll__client_t *entered;
    atoll_status_t status = atoll__client_enter(client, &entered);
    if (status != ATOLL_OK) return status;
    bool own = atoll__slot_is(client, slot, ATOLL__HOLD_CLIENT) || slot == entered->area_slot;
    if (!own)
        status = atoll__fail(ATOLL_INVALID_FRAME, "Cannot copy: not a slot of this client");
    else if ((uint64_t)offset + bytes_length > atoll__slot_capacity(slot))
        status = atoll__fail(ATOLL_INVALID_ARGUMENT, "Cannot copy: beyond the end of the slot");
    else if (bytes_length > 0)
        memcpy(bytes, atoll__slot_bytes(slot) + offset, bytes_length);
    atoll__client_leave(entered);
    return status;
}

atoll_status_t atoll_stats(atoll_stats_t *stats) {
    if (UNFIT(stats))
        return atoll__fail(ATOLL_INVALID_ARGUMENT, "Cannot count: a pointer is null or misaligned");
    if (!atoll__library_running())
        return atoll__fail(ATOLL_CLOSED, "Cannot count: the library is not open");
    memset(stats, 0, sizeof *stats);
    atoll__clients_stats(stats);
    atoll__arena_stats(stats);
    stats->calls_inline = atoll__count_sum(ATOLL__COUNT_INLINE);
    stats->calls_migrated = atoll__count_sum(ATOLL__COUNT_MIGRATED);
    stats->calls_queued = atoll__count_sum(ATOLL__COUNT_QUEUED);
    stats->calls_refused = atoll__count_sum(ATOLL__COUNT_REFUSED);
    stats->targets = atoll__router_count();
    stats->plugins = atoll__plugins_count();
    stats->retired = atoll__epoch_waiting() + atoll__hazard_waiting();
    stats->readers_behind = atoll__epoch_behind();
    stats->fences_asymmetric = atoll__fence_asymmetric() ? 1 : 0;
    stats->wakes = atoll__count_sum(ATOLL__COUNT_WAKES);
    stats->events = atoll__count_sum(ATOLL__COUNT_EVENTS);
    stats->logs_lost = atoll__count_sum(ATOLL__COUNT_LOGS_LOST);
    return ATOLL_OK;
}
