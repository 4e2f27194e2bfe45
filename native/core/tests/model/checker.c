/* The checker: exploration and reports. Memory is in memory.c.
 *
 * Owns: fibres, choices and their order. Must not know what an operation does. */
#include "checker.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "memory.h"

#define CHOICES_MAX 2048
#define STEPS_MAX 400
#define STACK_BYTES 65536
#define ENDS_MAX 64
/* Some twenty seconds: a model that has more is made smaller, or given fewer preemptions. */
#define EXECUTIONS_MAX 3000000u

typedef enum outcome { GOES_ON, ENDED, FINE, REDUNDANT, FAILED, TOO_MANY } outcome_t;

/* A place where the exploration can go more than one way. */
typedef struct choice {
    bool of_thread; /* else: of the value that a load returns */
    uint32_t taken;
    uint32_t options;  /* values: how many; threads: a mask of those that may run */
    uint32_t sleeping; /* threads: what they do next was tried before, in another order */
    uint32_t done;     /* threads: tried from here */
} choice_t;

typedef struct fibre {
    ucontext_t start;
    jmp_buf at;
    bool started;
    bool ended;
    access_t next;
} fibre_t;

static model_t *first;
static model_t *last;

static struct {
    const model_t *model;
    const char *weakened; /* end whose order is relaxed in this exploration */
    choice_t choices[CHOICES_MAX];
    uint32_t count; /* choices on the way */
    uint32_t at;    /* choices replayed */
    fibre_t fibres[MODEL_THREADS];
    uint32_t running;
    uint32_t sleeping;
    int preemptions;
    uint32_t steps;
    uint64_t executions;
    jmp_buf back;
    char reason[160];
} run;

static _Alignas(64) char stacks[MODEL_THREADS][STACK_BYTES];

static struct {
    const char *end;
    bool bites;
} ends[ENDS_MAX];

void model_register(model_t *model) {
    if (last != NULL)
        last->next = model;
    else
        first = model;
    last = model;
}

bool checker_on_stack(const void *address) {
    const char *at = address;
    return at >= stacks[0] && at < stacks[MODEL_THREADS - 1] + STACK_BYTES;
}

_Noreturn void model_fail(const char *text) {
    (void)snprintf(run.reason, sizeof run.reason, "%s", text);
    longjmp(run.back, FAILED);
}

_Noreturn void model_full(const char *text) {
    (void)snprintf(run.reason, sizeof run.reason, "%s", text);
    longjmp(run.back, TOO_MANY);
}

static choice_t *choice_next(void) {
    if (run.at == CHOICES_MAX) model_full("the model has too many choices");
    return &run.choices[run.at++];
}

uint32_t checker_choose(uint32_t options) {
    if (options == 1) return 0;
    choice_t *choice = choice_next();
    if (run.at > run.count) {
        *choice = (choice_t){.options = options};
        run.count = run.at;
    }
    return choice->taken;
}

static uint32_t lowest(uint32_t mask) {
    return (uint32_t)__builtin_ctz(mask);
}

/* Threads that have a step to do. */
static uint32_t alive(void) {
    uint32_t mask = 0;
    for (uint32_t i = 1; i < MODEL_THREADS; i++)
        if (run.fibres[i].started && !run.fibres[i].ended) mask |= 1u << i;
    return mask;
}

/* The first to be tried: who ran last, so that the first execution has no preemption. */
static uint32_t preferred(uint32_t mask) {
    return (mask & 1u << run.running) != 0 ? run.running : lowest(mask);
}

static uint32_t pick_thread(void) {
    uint32_t mask = alive();
    bool bounded = run.model->preemptions != MODEL_ALL;
    if (bounded && run.preemptions == 0 && (mask & 1u << run.running) != 0)
        mask = 1u << run.running;
    uint32_t awake = bounded ? mask : mask & ~run.sleeping;
    if (awake == 0) longjmp(run.back, REDUNDANT);
    choice_t *choice = choice_next();
    if (run.at > run.count) {
        *choice = (choice_t){
            .of_thread = true,
            .options = awake,
            .sleeping = run.sleeping,
            .taken = preferred(awake),
        };
        run.count = run.at;
    }
    uint32_t taken = choice->taken;
    if (taken != run.running && (mask & 1u << run.running) != 0) run.preemptions--;
    /* What slept goes on sleeping while it does not depend on the step that is taken now. */
    run.sleeping = choice->sleeping | choice->done;
    for (uint32_t i = 1; i < MODEL_THREADS; i++)
        if (i == taken || memory_depends(&run.fibres[i].next, &run.fibres[taken].next))
            run.sleeping &= ~(1u << i);
    return taken;
}

static _Noreturn void switch_to(uint32_t thread) {
    run.running = thread;
    if (run.model->enter != NULL) run.model->enter(thread);
    fibre_t *fibre = &run.fibres[thread];
    if (fibre->started) longjmp(fibre->at, 1);
    fibre->started = true;
    (void)setcontext(&fibre->start);
    abort();
}

/* Starts what has not started; then one thread takes a step. */
static _Noreturn void schedule(void) {
    for (uint32_t i = 1; i < MODEL_THREADS; i++)
        if (run.model->bodies[i - 1] != NULL && !run.fibres[i].started) switch_to(i);
    if (alive() == 0) longjmp(run.back, ENDED);
    /* The first step is nobody's preemption. */
    if (run.at == 0) run.running = 0;
    switch_to(pick_thread());
}

uint32_t checker_thread(void) {
    return run.running;
}

void checker_step(access_t access) {
    if (run.running == 0) return;
    if (++run.steps > STEPS_MAX) model_fail("no end: a loop waits for nothing");
    fibre_t *fibre = &run.fibres[run.running];
    fibre->next = access;
    if (setjmp(fibre->at) == 0) schedule();
}

static void fibre_main(void) {
    run.model->bodies[run.running - 1]();
    run.fibres[run.running].ended = true;
    schedule();
}

/* One execution along the choices on the way. */
static outcome_t execute(void) {
    run.at = 0;
    run.running = 0;
    run.sleeping = 0;
    run.steps = 0;
    run.preemptions = run.model->preemptions;
    run.executions++;
    memory_reset();
    for (uint32_t i = 1; i < MODEL_THREADS; i++) {
        fibre_t *fibre = &run.fibres[i];
        fibre->started = false;
        fibre->ended = false;
    }
    switch (setjmp(run.back)) {
    case GOES_ON:
        if (run.model->enter != NULL) run.model->enter(0);
        run.model->setup();
        memory_fork();
        schedule();
    case ENDED:
        run.running = 0;
        if (run.model->enter != NULL) run.model->enter(0);
        memory_join();
        run.model->check();
        return FINE;
    case REDUNDANT:
        return REDUNDANT;
    case TOO_MANY:
        return TOO_MANY;
    default:
        return FAILED;
    }
}

/* Moves to the next way; false when there is none. */
static bool advance(void) {
    while (run.count > 0) {
        choice_t *choice = &run.choices[run.count - 1];
        if (!choice->of_thread) {
            if (++choice->taken < choice->options) return true;
        } else {
            choice->done |= 1u << choice->taken;
            uint32_t rest = choice->options & ~choice->done;
            if (rest != 0) {
                choice->taken = lowest(rest);
                return true;
            }
        }
        run.count--;
    }
    return false;
}

static outcome_t explore(const model_t *model, const char *weakened) {
    run.model = model;
    run.weakened = weakened;
    run.count = 0;
    run.executions = 0;
    /* Made once: an execution starts a fibre from the same context each time. */
    for (uint32_t i = 1; i < MODEL_THREADS; i++) {
        (void)getcontext(&run.fibres[i].start);
        run.fibres[i].start.uc_stack.ss_sp = stacks[i];
        run.fibres[i].start.uc_stack.ss_size = STACK_BYTES;
        makecontext(&run.fibres[i].start, fibre_main, 0);
    }
    do {
        outcome_t outcome = execute();
        if (outcome == FAILED || outcome == TOO_MANY) return outcome;
        if (run.executions == EXECUTIONS_MAX) {
            (void)snprintf(run.reason, sizeof run.reason, "too many executions");
            return TOO_MANY;
        }
    } while (advance());
    return FINE;
}

bool checker_without(const char *end) {
    uint32_t i = 0;
    while (i < ENDS_MAX && ends[i].end != NULL && strcmp(ends[i].end, end) != 0) i++;
    if (i == ENDS_MAX) abort();
    ends[i].end = end;
    return run.weakened != NULL && strcmp(run.weakened, end) == 0;
}

/* Called by ATOLL__SYNC. */
memory_order model_order(const char *end, memory_order order);
memory_order model_order(const char *end, memory_order order) {
    if (!checker_without(end)) return order;
    return order == memory_order_seq_cst ? memory_order_acq_rel : memory_order_relaxed;
}

static void bites_note(const char *end) {
    for (uint32_t i = 0; i < ENDS_MAX && ends[i].end != NULL; i++)
        if (strcmp(ends[i].end, end) == 0) ends[i].bites = true;
}

/* The model as it is; false: it is not right, or contains a mistake that was not found. */
static bool run_plain(const model_t *model) {
    outcome_t outcome = explore(model, NULL);
    bool fine = outcome == (model->mistake == NULL ? FINE : FAILED);
    if (!fine && outcome != FINE) {
        printf("# %s\n", run.reason);
        memory_trace();
    }
    printf("%s %s", fine ? "ok" : "not ok", model->name);
    if (model->mistake != NULL)
        printf(": with %s it breaks: %s", model->mistake, fine ? run.reason : "it does not");
    printf(" (%llu executions)\n", (unsigned long long)run.executions);
    return fine;
}

int main(int count, char **arguments) {
    const char *filter = count > 1 ? arguments[1] : "";
    int passed = 0;
    int failed = 0;
    for (const model_t *model = first; model != NULL; model = model->next) {
        if (strstr(model->name, filter) == NULL) continue;
        bool fine = run_plain(model);
        *(fine ? &passed : &failed) += 1;
        for (const char *const *end = model->bites; *end != NULL; end++) {
            outcome_t outcome = explore(model, *end);
            bool caught = outcome == FAILED;
            printf(
                "%s %s: without \"%s\" it breaks: %s (execution %llu)\n",
                caught ? "ok" : "not ok", model->name, *end,
                outcome == FINE ? "it does not" : run.reason,
                (unsigned long long)run.executions);
            *(caught ? &passed : &failed) += 1;
            if (caught) bites_note(*end);
        }
    }
    /* Each order that is named must be needed. */
    for (uint32_t i = 0; i < ENDS_MAX && ends[i].end != NULL && filter[0] == '\0'; i++) {
        if (ends[i].bites) continue;
        printf("not ok no model breaks without \"%s\"\n", ends[i].end);
        failed++;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
