/* The message of a thread's last failed function, and what else belongs to a thread.
 *
 * Owns: the library's only thread-local pointer. Must not know what failed. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* One pointer: libraries that are loaded late share a small surplus of static TLS. */
static _Thread_local atoll__thread_t *thread_local_state;
static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;

/* A worker isolate that is terminated never closes what it opened; its thread's end does. */
static void thread_ended(void *argument) {
    atoll__thread_t *thread = argument;
    thread_local_state = NULL;
    if (thread->opens > 0) {
        /* Not all of its clients have a wake socket that hangs up with it. */
        atoll__clients_orphan(thread);
        atoll__library_abandon(thread->opens);
    }
    free(thread);
}

static void thread_key_make(void) {
    (void)pthread_key_create(&thread_key, thread_ended);
}

atoll__thread_t *atoll__thread(void) {
    if (thread_local_state == NULL) {
        atoll__thread_t *thread = calloc(1, sizeof *thread);
        if (thread == NULL) return NULL;
        (void)pthread_once(&thread_once, thread_key_make);
        (void)pthread_setspecific(thread_key, thread);
        thread_local_state = thread;
    }
    return thread_local_state;
}

atoll_status_t atoll__fail(atoll_status_t status, const char *fixed) {
    atoll__thread_t *thread = atoll__thread();
    if (thread != NULL) thread->fixed = fixed;
    return status;
}

atoll_status_t atoll__failf(atoll_status_t status, const char *format, ...) {
    atoll__thread_t *thread = atoll__thread();
    if (thread == NULL) return status;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(thread->buffer, sizeof thread->buffer, format, arguments);
    va_end(arguments);
    thread->fixed = NULL;
    return status;
}

uint32_t atoll__error_text(uint8_t *text, uint32_t capacity) {
    atoll__thread_t *thread = atoll__thread();
    if (thread == NULL) return 0;
    const char *message = thread->fixed != NULL ? thread->fixed : thread->buffer;
    uint32_t length = (uint32_t)strlen(message);
    if (length > capacity) length = capacity;
    /* Not in the middle of a character. */
    while (length > 0 && length < strlen(message) && ((uint8_t)message[length] & 0xC0u) == 0x80u)
        length--;
    if (length > 0) memcpy(text, message, length);
    return length;
}
