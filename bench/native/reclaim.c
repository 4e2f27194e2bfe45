/* What a protected read costs in Atoll's core: hazard pointer, epoch, count.
 *
 * Arguments: case and operations; prints nanoseconds an operation. Where readers pay a full fence
 * that is said on standard error, so that the figure is not taken for the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "epoch.h"
#include "hazard.h"

typedef struct object {
    atoll__retired_t retired;
    uint64_t value;
} object_t;

static uint64_t sum;

static void hazard(uint64_t operations) {
    static object_t object = {.value = 1};
    static _Atomic(atoll__retired_t *) place = &object.retired;
    atoll__hazard_t *record = atoll__hazard_take();
    if (record == NULL) abort();
    for (uint64_t i = 0; i < operations; i++) {
        const object_t *seen = (const object_t *)atoll__hazard_protect(record, &place);
        sum += seen->value;
        atoll__hazard_reset(record);
    }
    atoll__hazard_give(record);
}

static void epoch(uint64_t operations) {
    for (uint64_t i = 0; i < operations; i++) {
        atoll__pin_t pin = atoll__epoch_pin();
        if (pin.reader == NULL) abort();
        atoll__epoch_unpin(pin);
    }
}

static void refcount(uint64_t operations) {
    atoll__buffer_t *buffer = atoll__buffer_new(64);
    if (buffer == NULL) abort();
    for (uint64_t i = 0; i < operations; i++) {
        atoll__buffer_acquire(buffer);
        /* The pair as it is, not what is left of it where the compiler sees both. */
        __asm__ volatile("" : : "r"(buffer) : "memory");
        atoll__buffer_release(buffer);
    }
    atoll__buffer_release(buffer);
}

int main(int count, char **arguments) {
    static const struct {
        const char *name;
        void (*body)(uint64_t operations);
    } cases[] = {{"hazard", hazard}, {"epoch", epoch}, {"refcount", refcount}};
    if (count < 3) return 2;
    uint64_t operations = strtoull(arguments[2], NULL, 10);
    atoll__fence_open();
    if (!atoll__fence_asymmetric()) fprintf(stderr, "reclaim: measured with full fences\n");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(arguments[1], cases[i].name) != 0) continue;
        cases[i].body(operations / 4 + 1);
        uint64_t begin = atoll__prim_now_ns();
        cases[i].body(operations);
        double took = (double)(atoll__prim_now_ns() - begin) / (double)operations;
        printf("{\"case\":\"%s\",\"value\":%.4f}\n", cases[i].name, took);
        return 0;
    }
    return 2;
}
