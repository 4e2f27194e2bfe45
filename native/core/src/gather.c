/* Small frames side by side, large ones from where they lie: one system call for a batch.
 *
 * Owns: what is copied and what is pointed to. Must not know sockets. */
#include <string.h>

#include "internal.h"

static bool copy_add(
    atoll__gather_t *gather, const uint8_t *bytes, uint32_t length, uint32_t padding) {
    uint32_t all = length + padding;
    if (all > ATOLL__GATHER_BYTES - gather->used) return false;
    uint8_t *to = gather->buffer + gather->used;
    atoll_bytes_t *last = gather->count == 0 ? NULL : &gather->parts[gather->count - 1];
    if (last != NULL && last->bytes + last->length == to) {
        last->length += all;
    } else {
        if (gather->count == ATOLL__GATHER_PARTS) return false;
        gather->parts[gather->count++] = (atoll_bytes_t){.bytes = to, .length = all};
    }
    if (length > 0) memcpy(to, bytes, length);
    memset(to + length, 0, padding);
    gather->used += all;
    return true;
}

bool atoll__gather_add(atoll__gather_t *gather, const uint8_t *bytes, uint32_t length) {
    uint32_t padding = (8u - length % 8u) % 8u;
    if (length <= ATOLL__GATHER_SMALL) return copy_add(gather, bytes, length, padding);
    /* Room for both or for neither. */
    if (gather->count + 2u > ATOLL__GATHER_PARTS || padding > ATOLL__GATHER_BYTES - gather->used)
        return false;
    gather->parts[gather->count++] = (atoll_bytes_t){.bytes = bytes, .length = length};
    return padding == 0 || copy_add(gather, NULL, 0, padding);
}
