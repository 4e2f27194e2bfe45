/* The names of synchronisation points.
 *
 * Owns: how a memory order is written where structures without locks are. Must not know them.
 *
 * An order that another thread's order pairs with is written ATOLL__SYNC(name, order), with the same
 * name at both ends: the name says what is handed over. The model tests (tests/model) weaken one
 * such end at a time and expect to see the structure break: a name without a need does not pass. */
#ifndef ATOLL_SYNC_H
#define ATOLL_SYNC_H

#include <stdatomic.h>
#include <stdbool.h>

#include "prim.h"

#ifdef ATOLL__MODEL
memory_order model_order(const char *end, memory_order order);
void model_use(const volatile void *address, bool writes);
void model_fence(const char *end);
#define ATOLL__SYNC(name, order) model_order(#name " " #order, memory_order_##order)
#define ATOLL__FENCE(name) model_fence(#name " fence")
#define ATOLL__MODEL_USE(address, writes) model_use(address, writes)
#else
#define ATOLL__SYNC(name, order) memory_order_##order
/* A fence, sequentially consistent. The builtin of this name, because the compiler refuses the C11 one
 * under the thread sanitizer, which cannot use a fence for its own reasoning; the processor needs
 * it. */
#define ATOLL__FENCE(name) __sync_synchronize()
/* Tells the model that this memory is used as if by plain accesses: it must never be read and
 * written at once, although each access by itself is atomic. */
#define ATOLL__MODEL_USE(address, writes) ((void)0)
#endif

/* A place where another thread may come in between. The checking builds (make test-asan and
 * test-tsan) dawdle there, so that windows of a few nanoseconds are met. */
#ifdef ATOLL__INTERLEAVE
#define ATOLL__WINDOW() atoll__prim_dawdle()
#else
#define ATOLL__WINDOW() ((void)0)
#endif

/* Leaves the core to others for a moment: some tens of cycles. */
static inline void atoll__relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    /* The hint `yield` does nothing on most cores; a barrier for instructions takes its time. */
    __asm__ volatile("isb");
#endif
}

/* What two threads write at once lies in lines of its own. */
#define ATOLL__LINE_BYTES 64

#endif
