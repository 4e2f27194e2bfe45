/* Memory of shared buffers.
 *
 * Owns: where it comes from. Must not know who holds it. */
#include "buffer.h"

#include <stdlib.h>

atoll__buffer_t *atoll__buffer_new(uint64_t length) {
    if (length > SIZE_MAX - sizeof(atoll__buffer_t)) return NULL;
    atoll__buffer_t *buffer = malloc(sizeof *buffer + length);
    if (buffer == NULL) return NULL;
    atomic_store_explicit(&buffer->holders, 1, memory_order_relaxed);
    buffer->length = length;
    return buffer;
}

void atoll__buffer_free(atoll__buffer_t *buffer) {
    free(buffer);
}
