/* Whether what threads saw of a bounded queue could have been seen one after the other.
 *
 * Owns: histories and their linearizations. Must not know the queue. */
#ifndef ATOLL_MODEL_HISTORY_H
#define ATOLL_MODEL_HISTORY_H

#include "checker.h"

typedef enum event_kind { PUSHED, FULL, POPPED, EMPTY } event_kind_t;

void history_clear(void);
/* At the end of an operation that began at that moment. */
void history_add(event_kind_t kind, uint64_t value, const model_moment_t *begin);
/* Fails the execution when no order of all operations explains their answers: an order that keeps
 * each thread's, and what happened before what (Herlihy, Wing, TOPLAS 1990; real time is
 * happens-before here, for there is no other between threads). */
void history_check(uint32_t capacity);

#endif
