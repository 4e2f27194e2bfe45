/* How long one CRC-32C takes: Atoll's, or ISA-L's when the third argument is "isa-l".
 *
 * Owns: the sizes and how they are measured; bench/peers/native/src/bin/crc32c.rs does the same.
 * Arguments: the case, and how many bytes to go through for each size. The address of each buffer
 * depends on the checksum before it, so that calls cannot overlap: the value is the whole time of
 * one call, not what is left of it behind others. "small-N" gives nanoseconds, "large-N" GiB/s,
 * "small" and "large" the geometric mean over their sizes. "header" is the way of a frame: its
 * header's checksum with the field of the checksum as zero. */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crc32c.h"

#define CAPACITY ((size_t)1 << 20)
#define HEADER_BYTES 32u

static const size_t small_sizes[] = {32, 64, 128, 256, 0};
static const size_t large_sizes[] = {4096, 16384, 65536, 262144, 1048576, 0};

static unsigned int (*isal)(unsigned char *, int, unsigned int);
static const uint8_t *bytes;
static size_t budget;
/* Zero, which the compiler does not know. */
static volatile size_t mask_source;

static double now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Nanoseconds of CALL, which uses crc, mask and length; a quarter more before, to warm up. */
#define DEFINE_MEASURE(name, CALL)                                        \
    static double name(size_t length) {                                   \
        const size_t mask = mask_source, calls = budget / length + 1;     \
        uint32_t crc = 0;                                                 \
        for (size_t i = 0; i < calls / 4 + 1; i++) crc = CALL;            \
        double begin = now_ns();                                          \
        for (size_t i = 0; i < calls; i++) crc = CALL;                    \
        double each = (now_ns() - begin) / (double)calls;                 \
        __asm__ volatile("" ::"r"(crc));                                  \
        return each;                                                      \
    }

DEFINE_MEASURE(atoll_ns, atoll__crc32c(0, bytes + (crc & mask), length))
DEFINE_MEASURE(header_ns, atoll__crc32c_header((const void *)(bytes + (crc & mask))))
DEFINE_MEASURE(isal_ns, ~isal((unsigned char *)(uintptr_t)bytes + (crc & mask), (int)length, ~0u))

static double nanoseconds(size_t length) {
    return isal != NULL ? isal_ns(length) : atoll_ns(length);
}

static double gibibytes(size_t length) {
    return (double)length * 1e9 / nanoseconds(length) / (double)(1 << 30);
}

static double mean(double (*figure)(size_t), const size_t *sizes) {
    double logarithms = 0;
    size_t count = 0;
    for (; sizes[count] != 0; count++) logarithms += log(figure(sizes[count]));
    return exp(logarithms / (double)count);
}

/* The value of a case; negative: there is none of that name. */
static double value_of(const char *name) {
    if (strcmp(name, "header") == 0) return header_ns(HEADER_BYTES);
    if (strcmp(name, "small") == 0) return mean(nanoseconds, small_sizes);
    if (strcmp(name, "large") == 0) return mean(gibibytes, large_sizes);
    size_t length = 0;
    if (sscanf(name, "small-%zu", &length) == 1 && length <= CAPACITY) return nanoseconds(length);
    if (sscanf(name, "large-%zu", &length) == 1 && length <= CAPACITY) return gibibytes(length);
    return -1;
}

int main(int count, char **arguments) {
    if (count < 3) return 2;
    if (count > 3 && strcmp(arguments[3], "isa-l") == 0) {
        void *library = dlopen("libisal.so.2", RTLD_NOW | RTLD_LOCAL);
        if (library == NULL) return 3;
        *(void **)&isal = dlsym(library, "crc32_iscsi");
    }
    uint8_t *memory = aligned_alloc(4096, CAPACITY);
    if (memory == NULL) return 1;
    for (size_t i = 0; i < CAPACITY; i++) memory[i] = (uint8_t)((i * 2654435761u) >> 13);
    bytes = memory;
    budget = strtoull(arguments[2], NULL, 10);
    double value = value_of(arguments[1]);
    free(memory);
    if (value < 0) return 2;
    printf("{\"case\":\"%s\",\"value\":%.4f}\n", arguments[1], value);
    return 0;
}
