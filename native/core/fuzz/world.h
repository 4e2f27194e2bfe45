/* What a program of the API's fuzzer has seen so far: its input, and a shadow of what the library has
 * handed out.
 *
 * Owns: who must have what, and the choice of arguments. Must not know the program's language. */
#ifndef ATOLL_FUZZ_WORLD_H
#define ATOLL_FUZZ_WORLD_H

#include "harness.h"

#define CLIENTS 4u
#define POOL 16u
#define HELD_MAX 256u

typedef struct input {
    const uint8_t *at;
    size_t left;
} input_t;

/* Numbers of one sort that the library gave, the last ones; zero at first. */
typedef struct pool {
    uint32_t numbers[POOL];
    uint32_t count;
} pool_t;

typedef struct member {
    atoll_client_info_t info;
    int socket;
    bool open; /* it was neither closed nor hung up: its slots are known exactly */
} member_t;

typedef struct holding {
    uint32_t client;
    uint32_t slot;
    uint32_t bytes;
} holding_t;

typedef struct world {
    input_t input;
    uint8_t *base;
    uint32_t engine;
    uint32_t opens;
    bool elsewhere; /* on a thread that ends at once */
    member_t members[CLIENTS];
    pool_t clients, slots, tickets, blobs, groups, targets, plugins;
    holding_t held[HELD_MAX];
    uint32_t held_count;
    bool held_all; /* there was always room in held */
} world_t;

extern world_t world;

/* ---- the input: zeroes once it is over ---- */

uint8_t take8(input_t *input);
uint32_t take16(input_t *input);
uint32_t take32(input_t *input);
/* Up to `most` bytes of the input; how many there were. */
uint32_t take_bytes(input_t *input, uint8_t *to, uint32_t most);

/* ---- numbers that the library gave ---- */

void keep(pool_t *pool, uint32_t number);
/* A number as an argument: of the pool, or hardly ever any other. */
uint32_t number_of(pool_t *pool);

/* ---- what the library must say ---- */

/* The client of that number, closed or not; NULL when its place has another one. */
member_t *member_of(uint32_t client);
/* Whether a client is there for certain: nothing that it has goes away by itself. One that hung up
 * lives on until the warden has noticed. */
bool lives(uint32_t client);
/* What a client had is its own no more. */
void forget(member_t *member);
holding_t *held_find(uint32_t client, uint32_t slot);
/* The library gave the slot to the client: all of it lies in the arena, and nobody else has it. */
void gain(uint32_t client, uint32_t slot);
/* The same for what an event brings: the slot of a frame, and those of its parts. */
void gain_event(uint32_t client, const atoll_event_t *event);
void lose(uint32_t client, uint32_t slot);

#endif
