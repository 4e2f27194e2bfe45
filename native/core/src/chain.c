/* Payloads in several pieces: taken over, put together, written.
 *
 * Owns: which slots belong to such a payload. Must not know calls or engines. The list lies in
 * private memory, so that nothing that is written into the arena afterwards can change it. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static atoll__chain_t *chain_new(uint32_t client, uint32_t parts, uint32_t slots) {
    size_t bytes = sizeof(atoll__chain_t) + parts * sizeof(atoll_bytes_t) + slots * sizeof(uint32_t);
    atoll__chain_t *chain = calloc(1, bytes);
    if (chain == NULL) return NULL;
    chain->client = client;
    chain->slots = (uint32_t *)(chain->parts + parts);
    return chain;
}

static void chain_add(atoll__chain_t *chain, const uint8_t *bytes, uint32_t length) {
    chain->parts[chain->count++] = (atoll_bytes_t){.bytes = bytes, .length = length};
    chain->bytes += length;
}

/* The slot a descriptor names goes to the library; its place and length are checked afterwards,
 * while nobody can change the slot's size. */
static bool part_take(atoll__chain_t *chain, const atoll_part_t *part) {
    if (part->segment != 0) return false;
    if (!atoll__slot_move(chain->client, part->slot, ATOLL__HOLD_CLIENT, ATOLL__HOLD_LIBRARY))
        return false;
    chain->slots[chain->slots_count++] = part->slot;
    uint32_t capacity = atoll__slot_capacity(part->slot);
    if (part->length == 0 || part->offset > capacity || part->length > capacity - part->offset)
        return false;
    chain_add(chain, atoll__slot_bytes(part->slot) + part->offset, part->length);
    return true;
}

atoll_status_t atoll__chain_take(
    uint32_t client, const atoll__message_t *message, atoll__chain_t **taken) {
    uint32_t count = message->parts_count;
    uint32_t own = message->frame.payload_length;
    atoll__chain_t *chain = chain_new(client, count + 1, count);
    if (chain == NULL) return atoll__fail(ATOLL_NO_MEMORY, "Cannot submit: no memory");
    if (own > 0) chain_add(chain, message->payload, own);
    for (uint32_t i = 0; i < count; i++) {
        atoll_part_t part;
        memcpy(&part, message->parts + i * sizeof part, sizeof part);
        if (part_take(chain, &part)) continue;
        atoll__chain_return(chain);
        return atoll__failf(
            ATOLL_INVALID_FRAME, "Cannot submit: part %u is not in a slot of this client", i);
    }
    /* A client that goes on writing its frame could have changed a length since it was read. */
    if (chain->bytes != (uint64_t)own + message->parts_bytes) {
        atoll__chain_return(chain);
        return atoll__frame_refuse(ATOLL_FAULT_PARTS, &message->frame);
    }
    *taken = chain;
    return ATOLL_OK;
}

static void chain_drop(atoll__chain_t *chain) {
    free(atomic_load_explicit(&chain->whole, memory_order_relaxed));
    free(chain);
}

void atoll__chain_return(atoll__chain_t *chain) {
    for (uint32_t i = 0; i < chain->slots_count; i++)
        if (!atoll__slot_move(
                chain->client, chain->slots[i], ATOLL__HOLD_LIBRARY, ATOLL__HOLD_CLIENT))
            assert(false);
    chain_drop(chain);
}

void atoll__chain_free(atoll__chain_t *chain) {
    for (uint32_t i = 0; i < chain->slots_count; i++)
        (void)atoll__slot_free(chain->client, chain->slots[i], ATOLL__HOLD_LIBRARY);
    chain_drop(chain);
}

const uint8_t *atoll__chain_whole(atoll__chain_t *chain) {
    /* SYNC POINT: chain-whole, the reader's end. */
    uint8_t *whole = atomic_load_explicit(&chain->whole, memory_order_acquire);
    if (whole != NULL) return whole;
    uint8_t *mine = malloc((size_t)chain->bytes);
    if (mine == NULL) return NULL;
    uint8_t *to = mine;
    for (uint32_t i = 0; i < chain->count; i++) {
        memcpy(to, chain->parts[i].bytes, chain->parts[i].length);
        to += chain->parts[i].length;
    }
    /* SYNC POINT: chain-whole releases the copy; who comes second takes the first one's. */
    if (atomic_compare_exchange_strong_explicit(
            &chain->whole, &whole, mine, memory_order_acq_rel, memory_order_acquire))
        return mine;
    free(mine);
    return whole;
}

/* ---- writing ---- */

static uint32_t parts_of(uint32_t length) {
    return length / ATOLL__UNIT_BYTES + (length % ATOLL__UNIT_BYTES != 0);
}

/* Fills slots of one unit each and describes them behind `extension`; how many there are. */
static uint32_t parts_write(
    uint32_t client, uint8_t *extension, const uint8_t *bytes, uint32_t length, uint32_t *slots) {
    uint32_t count = 0;
    for (uint32_t done = 0; done < length; count++) {
        uint32_t slot = atoll__slot_take(client, ATOLL__UNIT_BYTES, ATOLL__HOLD_LIBRARY);
        if (slot == 0) break;
        slots[count] = slot;
        uint32_t left = length - done;
        atoll_part_t part = {
            .slot = slot,
            .length = left < ATOLL__UNIT_BYTES ? left : ATOLL__UNIT_BYTES,
        };
        memcpy(atoll__slot_bytes(slot), bytes + done, part.length);
        memcpy(extension + sizeof(atoll_payload_t) + count * sizeof part, &part, sizeof part);
        done += part.length;
    }
    return count;
}

uint32_t atoll__chain_write(
    uint32_t client, uint32_t slot, const atoll_frame_t *frame, const uint8_t *bytes,
    uint32_t length) {
    uint32_t count = parts_of(length);
    uint32_t between = atoll__payload_extension_bytes(count);
    if (length == 0 || count > ATOLL_PARTS_MAX) return 0;
    uint8_t extension[sizeof(atoll_payload_t) + ATOLL_PARTS_MAX * sizeof(atoll_part_t)];
    uint32_t slots[ATOLL_PARTS_MAX];
    uint32_t own = slot;
    if (atoll__slot_capacity(slot) < ATOLL_FRAME_BYTES + between)
        own = atoll__slot_take(client, ATOLL_FRAME_BYTES + between, ATOLL__HOLD_LIBRARY);
    if (own == 0) return 0;
    /* The bytes may lie in `slot`: they are copied away before the frame is written. */
    uint32_t written = parts_write(client, extension, bytes, length, slots);
    if (written < count) {
        for (uint32_t i = 0; i < written; i++)
            (void)atoll__slot_free(client, slots[i], ATOLL__HOLD_LIBRARY);
        if (own != slot) (void)atoll__slot_free(client, own, ATOLL__HOLD_LIBRARY);
        return 0;
    }
    atoll_payload_t head = {
        .tag = ATOLL_EXTENSION_PAYLOAD | ATOLL_EXTENSION_CRITICAL,
        .length = (uint16_t)(between - sizeof(atoll_extension_head_t)),
        .bytes = length,
    };
    memcpy(extension, &head, sizeof head);
    atoll_frame_t header = *frame;
    header.extension_words = (uint16_t)(between / 8u);
    header.payload_length = 0;
    atoll__frame_write(atoll__slot_bytes(own), &header, extension, NULL);
    /* The client's from here on: nobody writes them any more. Before, a client that guessed their
     * numbers could have given them back under this thread. */
    for (uint32_t i = 0; i < count; i++)
        (void)atoll__slot_move(client, slots[i], ATOLL__HOLD_LIBRARY, ATOLL__HOLD_CLIENT);
    return own;
}
