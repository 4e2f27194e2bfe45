/* Which pair of fences is in force.
 *
 * Owns: the choice and the reclaimer's side. Must not know who reclaims what. */
#include "fence.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "prim.h"

_Atomic unsigned atoll__fence_paid = 1;

static pthread_once_t fence_once = PTHREAD_ONCE_INIT;

static void fence_choose(void) {
    const char *wanted = getenv("ATOLL_FENCES");
    if (wanted != NULL && strcmp(wanted, "full") == 0) return;
    if (!atoll__prim_barrier_register()) return;
    /* Relaxed: pthread_once hands it to whoever uses a fence. */
    atomic_store_explicit(&atoll__fence_paid, 0, memory_order_relaxed);
}

void atoll__fence_open(void) {
    (void)pthread_once(&fence_once, fence_choose);
}

bool atoll__fence_asymmetric(void) {
    return atomic_load_explicit(&atoll__fence_paid, memory_order_relaxed) == 0;
}

bool atoll__fence_heavy(void) {
    /* SYNC POINT: fence-heavy, where readers pay; else the barrier is the fence of both sides. */
    ATOLL__FENCE(fence_heavy);
    return !atoll__fence_asymmetric() || atoll__prim_barrier();
}
