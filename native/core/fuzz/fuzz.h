/* What must be true of any input: by libFuzzer, and by the tests for inputs that were kept.
 *
 * Owns: the names of the properties. Must not know where inputs come from. Each ends by test_fail
 * (harness.h) where something is not true. */
#ifndef ATOLL_FUZZ_H
#define ATOLL_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* The bytes are a frame, or what somebody passes off as one. */
void fuzz_frame(const uint8_t *data, size_t size);
/* The bytes are a program of calls of the exported functions. The library is closed before and
 * afterwards. */
void fuzz_api(const uint8_t *data, size_t size);

#endif
