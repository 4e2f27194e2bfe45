/* Clients and their slots, as a program of the API's fuzzer uses them.
 *
 * Owns: what the library must say of a slot. Must not know frames. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "operations.h"

/* More than any slot holds: such a length must be refused before a byte is looked at. */
#define COPY_BYTES_MAX (16u << 20)

/* ---- clients ---- */

void run_client_open(void) {
    member_t *member = &world.members[take8(&world.input) % CLIENTS];
    if (member->open) return;
    if (member->socket >= 0) (void)close(member->socket);
    member->socket = -1;
    atoll_status_t status = atoll_client_open(&member->info);
    CHECK(status == ATOLL_OK || status == ATOLL_NO_MEMORY);
    member->open = status == ATOLL_OK;
    if (!member->open) return;
    keep(&world.clients, member->info.client);
    /* It goes with its thread. */
    if (world.elsewhere) forget(member);
}

void run_client_connect(void) {
    member_t *member = &world.members[take8(&world.input) % CLIENTS];
    uint8_t choice = take8(&world.input);
    if (!member->open || (member->socket >= 0 && (choice & 8u) == 0)) return;
    if (member->socket >= 0) {
        /* What was attached by it is dead from here on, though not at once. The warden learns of it
         * by the system; the thread sanitizer, which knows no such order, by this last visit. */
        (void)atoll_slot_bytes(member->info.client, 0);
        (void)close(member->socket);
        member->socket = -1;
        forget(member);
        return;
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, member->info.path, member->info.path_length);
    member->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(member->socket >= 0);
    if (connect(member->socket, (struct sockaddr *)&address, sizeof address) != 0) return;
    uint8_t nonce[ATOLL_NONCE_BYTES];
    memcpy(nonce, member->info.nonce, sizeof nonce);
    if ((choice & 1u) != 0) nonce[choice / 16u] ^= 1;
    size_t length = (choice & 2u) != 0 ? choice / 16u : sizeof nonce;
    (void)send(member->socket, nonce, length, MSG_NOSIGNAL);
}

void run_client_attach(void) {
    (void)atoll_client_attach(number_of(&world.clients));
}

void run_client_close(void) {
    uint32_t client = number_of(&world.clients);
    member_t *member = member_of(client);
    bool lived = lives(client);
    atoll_status_t status = atoll_client_close(client);
    if (lived) CHECK_EQUAL(status, ATOLL_OK);
    if (lived) forget(member);
}

/* ---- slots ---- */

void run_slot_take(void) {
    static const uint32_t sizes[] = {
        0,     1,     32,    64,     65,      256,     1024,     4096,
        16384, 65536, 65537, 200000, 3000000, 8 << 20, 16 << 20, UINT32_MAX};
    uint32_t client = number_of(&world.clients);
    uint8_t choice = take8(&world.input);
    uint32_t bytes = choice < 0xF0 ? sizes[choice % 16] : take32(&world.input);
    uint32_t slot = atoll_slot_take(client, bytes);
    if (slot == 0) return;
    if (lives(client)) CHECK(atoll_slot_bytes(client, slot) >= bytes);
    gain(client, slot);
}

void run_slot_give(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t slot = number_of(&world.slots);
    bool had = held_find(client, slot) != NULL;
    atoll_status_t status = atoll_slot_give(client, slot);
    if (!lives(client)) return;
    if (had) CHECK_EQUAL(status, ATOLL_OK);
    if (world.held_all) CHECK_EQUAL(status == ATOLL_OK, had);
    lose(client, slot);
}

void run_slot_bytes(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t slot = number_of(&world.slots);
    const holding_t *holding = held_find(client, slot);
    uint32_t bytes = atoll_slot_bytes(client, slot);
    if (!lives(client)) return;
    if (holding != NULL) CHECK_EQUAL(bytes, holding->bytes);
    if (world.held_all) CHECK_EQUAL(bytes != 0, holding != NULL);
}

void run_copy_in(void) {
    static uint8_t from[COPY_BYTES_MAX];
    uint32_t client = number_of(&world.clients);
    uint32_t slot = number_of(&world.slots);
    uint8_t choice = take8(&world.input);
    uint32_t length = choice < 0xF0 ? choice : take32(&world.input);
    atoll_status_t status = atoll_copy_in(client, slot, from, length);
    if (length > COPY_BYTES_MAX) CHECK(status != ATOLL_OK);
    if (length > 0) CHECK_EQUAL(atoll_copy_in(client, slot, NULL, length), ATOLL_INVALID_ARGUMENT);
}

void run_copy_out(void) {
    uint32_t client = number_of(&world.clients);
    uint32_t slot = number_of(&world.slots);
    uint32_t offset = take8(&world.input);
    uint32_t length = take8(&world.input);
    if (offset >= 0xF0) offset = take32(&world.input);
    if (length >= 0xF0) length = take32(&world.input);
    bool sane = length <= COPY_BYTES_MAX;
    uint8_t *to = malloc(sane ? length + 1 : 1);
    CHECK(to != NULL);
    to[sane ? length : 0] = 0xA5;
    atoll_status_t status = atoll_copy_out(client, slot, offset, to, length);
    CHECK(sane || status != ATOLL_OK);
    CHECK_EQUAL(to[sane ? length : 0], 0xA5);
    free(to);
}
