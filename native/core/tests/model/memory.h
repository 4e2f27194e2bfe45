/* Weak memory, as checker.c drives it and hooks.c uses it.
 *
 * Owns: the names between the three. */
#ifndef ATOLL_MODEL_MEMORY_H
#define ATOLL_MODEL_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* What a thread is about to do. */
typedef struct access {
    const void *address;
    bool writes;
} access_t;

/* Two steps whose order matters. */
bool memory_depends(const access_t *a, const access_t *b);
void memory_reset(void);
void memory_fork(void);
void memory_join(void);
/* Accesses, by hooks.c. */
void memory_plain(const void *start, uint64_t bytes, bool writes);
uint64_t memory_load(const volatile void *at, uint32_t bytes, int order);
void memory_store(volatile void *at, uint32_t bytes, uint64_t value, int order);
/* What lay there before. */
uint64_t memory_modify(
    volatile void *at, uint32_t bytes, uint64_t operand, int order,
    uint64_t (*next)(uint64_t, uint64_t));
bool memory_exchange(
    volatile void *at, uint32_t bytes, void *expected, uint64_t value, int order, int otherwise);
/* Prints what the last execution did. */
void memory_trace(void);

/* checker.c: lets other threads run before this access. */
void checker_step(access_t access);
/* checker.c: one of so many ways. */
uint32_t checker_choose(uint32_t options);
uint32_t checker_thread(void);
/* checker.c: whether this exploration goes without that end. */
bool checker_without(const char *end);
bool checker_on_stack(const void *address);

#endif
