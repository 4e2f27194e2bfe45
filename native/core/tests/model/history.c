/* See history.h. */
#include "history.h"

#include <string.h>

#define OPERATIONS_MAX 12u

typedef struct operation {
    event_kind_t kind;
    uint64_t value;
    model_moment_t begin;
    model_moment_t end;
} operation_t;

static operation_t operations[OPERATIONS_MAX];
static uint32_t count;

void history_clear(void) {
    count = 0;
}

void history_add(event_kind_t kind, uint64_t value, const model_moment_t *begin) {
    if (count == OPERATIONS_MAX) model_full("the history is too long");
    operations[count++] = (operation_t){kind, value, *begin, model_now()};
}

/* Operations of one thread are added in its order. */
static bool comes_before(uint32_t a, uint32_t b) {
    const operation_t *left = &operations[a];
    const operation_t *right = &operations[b];
    if (left->begin.thread == right->begin.thread) return a < b;
    return model_before(&left->end, &right->begin);
}

static bool is_next(uint32_t rest, uint32_t which) {
    for (uint32_t i = 0; i < count; i++)
        if (i != which && (rest & 1u << i) != 0 && comes_before(i, which)) return false;
    return true;
}

/* The queue holds values[from .. to); rest: operations to come. */
static bool explains(uint32_t rest, uint64_t *values, uint32_t from, uint32_t to, uint32_t most) {
    if (rest == 0) return true;
    for (uint32_t i = 0; i < count; i++) {
        if ((rest & 1u << i) == 0 || !is_next(rest, i)) continue;
        const operation_t *operation = &operations[i];
        uint32_t held = to - from;
        bool fits = false;
        switch (operation->kind) {
        case PUSHED:
            fits = held < most;
            values[to] = operation->value;
            break;
        case FULL:
            fits = held == most;
            break;
        case POPPED:
            fits = held > 0 && values[from] == operation->value;
            break;
        case EMPTY:
            fits = held == 0;
            break;
        }
        if (fits && explains(
                        rest & ~(1u << i), values, from + (operation->kind == POPPED),
                        to + (operation->kind == PUSHED), most))
            return true;
    }
    return false;
}

void history_check(uint32_t capacity) {
    uint64_t values[OPERATIONS_MAX];
    if (!explains((1u << count) - 1u, values, 0, 0, capacity))
        model_fail("no order of the operations explains their answers");
}
