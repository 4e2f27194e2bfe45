/* The message of a thread's last failed function.
 *
 * Owns: how messages are kept and cut. Must not know what failed. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

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
