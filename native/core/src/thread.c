/* What belongs to a thread that uses the library.
 *
 * Owns: the library's only thread-local pointer, and what happens when a thread ends. Must not know
 * what its parts are for. */
#include <stdlib.h>
#include <string.h>

#include "epoch.h"
#include "hazard.h"
#include "internal.h"

/* One pointer: libraries that are loaded late share a small surplus of static TLS. */
_Thread_local atoll__thread_t *atoll__thread_state;
static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;

/* A worker isolate that is terminated never closes what it opened; its thread's end does. */
static void thread_ended(void *argument) {
    atoll__thread_t *thread = argument;
    atoll__thread_state = NULL;
    /* Not all of its clients have a wake socket that hangs up with it. */
    if (thread->number != 0) atoll__clients_orphan(thread->number);
    if (thread->opens > 0) atoll__library_abandon(thread->opens);
    atoll__epoch_leave(thread->reader);
    atoll__hazard_leave(thread);
    atoll__count_leave(thread);
    atoll__slab_end(&thread->slab);
    free(thread);
}

static void thread_key_make(void) {
    (void)pthread_key_create(&thread_key, thread_ended);
}

atoll__thread_t *atoll__thread_make(void) {
    /* Its caches start at cache lines; aligned_alloc does not clear. */
    atoll__thread_t *thread = aligned_alloc(_Alignof(atoll__thread_t), sizeof *thread);
    if (thread == NULL) return NULL;
    memset(thread, 0, sizeof *thread);
    atoll__count_join(thread);
    (void)pthread_once(&thread_once, thread_key_make);
    (void)pthread_setspecific(thread_key, thread);
    atoll__thread_state = thread;
    return thread;
}
