/* A model checker for structures without locks.
 *
 * Owns: what a model is. Must not know the structures.
 *
 * A model is a few threads with a few steps each. The checker runs them as fibres of one thread,
 * again and again, until every order of their atomic operations was tried and every value that
 * weak memory lets a load return (after Relacy by Dmitry Vyukov, and CDSChecker: Norris, Demsky,
 * OOPSLA 2013). The structures are compiled as they are: gcc's instrumentation for the thread
 * sanitizer turns each access to memory into a call, and hooks.c answers these calls instead of
 * the sanitizer.
 *
 * What is covered: all interleavings of atomic operations, one of each equivalence class (sleep
 * sets: Godefroid, LNCS 1032, 1996), or those with at most so many preemptions (CHESS: Musuvathi,
 * Qadeer, PLDI 2007); stale reads as far as coherence, happens-before and the order of sequentially
 * consistent operations allow; release sequences by read-modify-writes only, as since C++20; data
 * races of plain accesses. What is not: a load cannot return what is stored later in time (load
 * buffering), stores to one place cannot be ordered other than in time, a fence makes stores be seen
 * and hands nothing over (a race between plain accesses that only fences keep apart is reported), a
 * weak exchange does not fail for nothing, and a thread reads the same stale value of a place at most
 * twice. Where a structure depends on the first, it says so by
 * ATOLL__MODEL_USE. */
#ifndef ATOLL_MODEL_CHECKER_H
#define ATOLL_MODEL_CHECKER_H

#include <stdbool.h>
#include <stdint.h>

#define MODEL_THREADS 5 /* 0: who sets up and checks */

typedef struct model {
    const char *name;
    void (*setup)(void); /* starts from the same state each time */
    void (*bodies[MODEL_THREADS - 1])(void);
    void (*check)(void); /* after all bodies have ended */
    /* Preemptions at most, or MODEL_ALL. */
    int preemptions;
    /* Ends of synchronisation points, "name order": with any of them weakened by a step, acquire and
     * release to relaxed, seq_cst to both of them, a fence to none, the model must fail. NULL behind
     * the last. */
    const char *bites[10];
    /* A mistake that this model contains, and that must be found; NULL: it is right. */
    const char *mistake;
    /* What is the thread's own, put in its place whenever it goes on; NULL: nothing. Must not be
     * compiled for the model. */
    void (*enter)(uint32_t thread);
    struct model *next;
} model_t;

#define MODEL_ALL (-1)

void model_register(model_t *model);

/* MODEL(id, "name", .setup = …, …); */
#define MODEL(id, text, ...)                                              \
    static model_t id##_model = {.name = text, __VA_ARGS__};              \
    __attribute__((constructor)) static void id##_register(void) {        \
        model_register(&id##_model);                                      \
    }

/* This execution shows that the structure is wrong. */
_Noreturn void model_fail(const char *text);
/* This execution does not fit into the checker: it shows nothing, the model has to be smaller. */
_Noreturn void model_full(const char *text);
#define MODEL_CHECK(condition)                                            \
    do {                                                                  \
        if (!(condition)) model_fail(#condition);                         \
    } while (0)

/* Where a thread is: what happened before what can be told from two of these. */
typedef struct model_moment {
    uint32_t thread;
    uint32_t clock[MODEL_THREADS];
} model_moment_t;

/* The system's barrier: a fence on each thread at once. */
void model_barrier(const char *end);

model_moment_t model_now(void);
/* Whether the end of one operation happens before the beginning of a later one. */
bool model_before(const model_moment_t *end, const model_moment_t *begin);

#endif
