/* What a program of the API's fuzzer can do, an exported function or two each.
 *
 * Owns: the names. Must not know in which order they are run. Each takes its arguments from the
 * program's input. */
#ifndef ATOLL_FUZZ_OPERATIONS_H
#define ATOLL_FUZZ_OPERATIONS_H

#include "world.h"

/* ---- slots.c: clients and their slots ---- */

void run_client_open(void);
void run_client_connect(void);
void run_client_attach(void);
void run_client_close(void);
void run_slot_take(void);
void run_slot_give(void);
void run_slot_bytes(void);
void run_copy_in(void);
void run_copy_out(void);

/* ---- calls.c: frames, and what becomes of them ---- */

void run_frame_put(void);
void run_frame_change(void);
void run_submit(void);
void run_call(void);
void run_chunk(void);
void run_reap(void);
void run_drain(void);
void run_cancel(void);
void run_stream_send(void);
void run_stream_credit(void);
/* Submits a slot and checks who has what afterwards. */
void submit_slot(uint32_t client, uint32_t slot);
/* The event that submit left in the client's area. */
const atoll_event_t *area_of(uint32_t client);

/* ---- orders.c: the engine's side, blobs, names ---- */

void run_engine_order(void);
void run_blob_put(void);
void run_blob_drop(void);
void run_plugin_find(void);
void run_target_find(void);
/* The number a CONTROL request was answered with; false: it was not, or by an error. */
bool control(uint32_t client, const char *text, uint32_t *answer);

#endif
