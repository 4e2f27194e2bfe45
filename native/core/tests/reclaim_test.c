/* Fences, hazard pointers, epochs, read-copy-update cells, shared buffers: torture, stalled readers,
 * threads that end. Every test runs three times: with the cheap fence, with ATOLL_FENCES=full, and
 * where the kernel refuses membarrier. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "buffer.h"
#include "epoch.h"
#include "harness.h"
#include "hazard.h"
#include "rcu.h"

/* ---- the three ways to run ---- */

/* Refuses membarrier to this process, as a container's filter may. */
__attribute__((constructor)) static void refuse_membarrier(void) {
    if (getenv("ATOLL_TEST_REFUSE") == NULL) return;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        abort();
}

/* Runs this file's tests in a process of its own and passes their failure on. */
static void run_again(const char *environment) {
    char self[512] = {0};
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    char command[1400];
    (void)snprintf(
        command, sizeof command, "env %s ATOLL_TEST_FULL=1 '%s' '%s' reclaim:", environment, self,
        test_folder());
    FILE *pipe = popen(command, "r");
    CHECK(pipe != NULL);
    char line[256];
    int passed = 0;
    int failed = -1;
    while (fgets(line, sizeof line, pipe) != NULL) {
        if (strncmp(line, "ok ", 3) != 0) printf("# %s", line);
        (void)sscanf(line, "%d passed, %d failed", &passed, &failed);
    }
    CHECK_EQUAL(pclose(pipe), 0);
    CHECK_EQUAL(failed, 0);
    CHECK(passed >= 10);
}

TEST(fences_full, "fences: with ATOLL_FENCES=full everything holds with full fences") {
    run_again("ATOLL_FENCES=full");
}

TEST(fences_refused, "fences: where membarrier is refused everything holds with full fences") {
    run_again("ATOLL_TEST_REFUSE=1");
}

TEST(fences_chosen, "reclaim: the fences are those that this process can have") {
    atoll__fence_open();
    bool can = atoll__prim_barrier_register() && getenv("ATOLL_FENCES") == NULL;
    CHECK_EQUAL(atoll__fence_asymmetric(), can);
    if (getenv("ATOLL_TEST_FULL") != NULL) CHECK(!atoll__fence_asymmetric());
    CHECK(atoll__fence_heavy());
}

/* ---- a litmus test of the fences ---- */

static struct {
    _Alignas(128) _Atomic uint32_t round;
    _Alignas(128) _Atomic uint32_t light;
    _Alignas(128) _Atomic uint32_t heavy;
    _Alignas(128) _Atomic uint32_t done;
    uint32_t seen; /* by the light side; read after done */
} litmus;

#define LITMUS_ROUNDS 20000u

static void spin_until(_Atomic uint32_t *word, uint32_t value) {
    for (uint32_t i = 0; atomic_load_explicit(word, memory_order_acquire) != value; i++)
        if (i % 4096 == 4095) (void)sched_yield();
}

static void *litmus_light(void *unused) {
    (void)unused;
    for (uint32_t round = 1; round <= LITMUS_ROUNDS; round++) {
        spin_until(&litmus.round, round);
        atomic_store_explicit(&litmus.light, round, memory_order_relaxed);
        atoll__fence_light();
        litmus.seen = atomic_load_explicit(&litmus.heavy, memory_order_relaxed);
        atomic_store_explicit(&litmus.done, round, memory_order_release);
    }
    return NULL;
}

TEST(fences_litmus, "reclaim: a light and a heavy fence never look past each other") {
    atoll__fence_open();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, litmus_light, NULL) == 0);
    for (uint32_t round = 1; round <= LITMUS_ROUNDS; round++) {
        atomic_store_explicit(&litmus.round, round, memory_order_release);
        for (volatile uint32_t delay = round % 512; delay > 0; delay--) {
        }
        atomic_store_explicit(&litmus.heavy, round, memory_order_relaxed);
        CHECK(atoll__fence_heavy());
        uint32_t seen = atomic_load_explicit(&litmus.light, memory_order_relaxed);
        spin_until(&litmus.done, round);
        CHECK(seen == round || litmus.seen == round);
    }
    CHECK(pthread_join(thread, NULL) == 0);
}

/* ---- objects that show when they are read after their release ---- */

#define ALIVE 0xA11FEu
#define POISON 0xDDDDDDDDu

typedef struct object {
    atoll__retired_t retired;
    uint32_t state; /* plain: a read that races with the release is a finding of the checkers */
    uint32_t values[2];
} object_t;

static _Atomic uint32_t objects_made;
static _Atomic uint32_t objects_released;

static object_t *object_new(uint32_t value) {
    object_t *object = malloc(sizeof *object);
    CHECK(object != NULL);
    object->state = ALIVE;
    object->values[0] = object->values[1] = value;
    atomic_fetch_add(&objects_made, 1);
    return object;
}

static void object_release(atoll__retired_t *retired) {
    object_t *object = (object_t *)retired;
    CHECK_EQUAL(object->state, ALIVE);
    object->state = POISON;
    object->values[0] = 1;
    object->values[1] = 2;
    atomic_fetch_add(&objects_released, 1);
    free(object);
}

static void object_check(const object_t *object) {
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_EQUAL(object->state, ALIVE);
        CHECK_EQUAL(object->values[0], object->values[1]);
        ATOLL__WINDOW();
    }
}

static void objects_begin(void) {
    atomic_store(&objects_made, 0);
    atomic_store(&objects_released, 0);
    CHECK_EQUAL(atoll__hazard_waiting(), 0);
    CHECK_EQUAL(atoll__epoch_waiting(), 0);
}

static void objects_end(void) {
    atoll__epoch_drain();
    atoll__hazard_scan();
    CHECK_EQUAL(atomic_load(&objects_released), atomic_load(&objects_made));
    CHECK_EQUAL(atoll__hazard_waiting(), 0);
    CHECK_EQUAL(atoll__epoch_waiting(), 0);
}

static void run_thread(void *(*body)(void *), void *argument) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, body, argument) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* ---- torture: readers of two places that writers never leave alone ---- */

#define PLACES 2u
#define READERS 2u
#define SWAPS 20000u

static _Atomic(atoll__retired_t *) places[PLACES];
static atoll__rcu_t cells[PLACES];
static pthread_mutex_t cells_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint32_t over;
static _Atomic uint64_t reads;

static void *hazard_reader(void *unused) {
    (void)unused;
    atoll__hazard_t *hazards[PLACES] = {atoll__hazard_take(), atoll__hazard_take()};
    CHECK(hazards[0] != NULL && hazards[1] != NULL && hazards[0] != hazards[1]);
    while (atomic_load(&over) == 0) {
        const object_t *seen[PLACES];
        for (uint32_t i = 0; i < PLACES; i++)
            seen[i] = (const object_t *)atoll__hazard_protect(hazards[i], &places[i]);
        for (uint32_t i = 0; i < PLACES; i++) object_check(seen[i]);
        atomic_fetch_add_explicit(&reads, 1, memory_order_relaxed);
    }
    for (uint32_t i = 0; i < PLACES; i++) {
        atoll__hazard_reset(hazards[i]);
        atoll__hazard_give(hazards[i]);
    }
    return NULL;
}

static void *hazard_writer(void *unused) {
    (void)unused;
    for (uint32_t i = 0; i < SWAPS; i++) {
        object_t *next = object_new(i);
        atoll__retired_t *before = atomic_exchange_explicit(
            &places[i % PLACES], &next->retired, memory_order_acq_rel);
        ATOLL__WINDOW();
        atoll__hazard_retire(before, object_release);
        /* Soon, so that a reader who is between its load and its look finds the object gone. */
        if (i % 4 == 0) atoll__hazard_scan();
        /* Batch and records of each of three threads. */
        CHECK(atoll__hazard_waiting() < 3 * (ATOLL__HAZARD_BATCH + 2 * 512));
    }
    return NULL;
}

/* Two readers and two writers until the writers have done. */
static void torture(void *(*reader)(void *), void *(*writer)(void *)) {
    pthread_t threads[READERS + 2];
    atomic_store(&over, 0);
    atomic_store(&reads, 0);
    for (uint32_t i = 0; i < READERS; i++)
        CHECK(pthread_create(&threads[i], NULL, reader, NULL) == 0);
    while (atomic_load(&reads) == 0) atoll__prim_pause();
    for (uint32_t i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[READERS + i], NULL, writer, NULL) == 0);
    for (uint32_t i = 0; i < 2; i++) CHECK(pthread_join(threads[READERS + i], NULL) == 0);
    atomic_store(&over, 1);
    for (uint32_t i = 0; i < READERS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

TEST(hazard_torture, "reclaim: hazard pointers keep what is read while writers replace it") {
    objects_begin();
    for (uint32_t i = 0; i < PLACES; i++) atomic_store(&places[i], &object_new(0)->retired);
    torture(hazard_reader, hazard_writer);
    for (uint32_t i = 0; i < PLACES; i++)
        atoll__hazard_retire(atomic_exchange(&places[i], NULL), object_release);
    objects_end();
}

static void *epoch_reader(void *unused) {
    (void)unused;
    while (atomic_load(&over) == 0) {
        atoll__pin_t outer = atoll__epoch_pin();
        CHECK(outer.reader != NULL);
        const object_t *first = atoll__rcu_read(&cells[0]);
        object_check(first);
        atoll__pin_t inner = atoll__epoch_pin();
        const object_t *second = atoll__rcu_read(&cells[1]);
        object_check(second);
        atoll__epoch_unpin(inner);
        object_check(second);
        object_check(first);
        atoll__epoch_unpin(outer);
        atomic_fetch_add_explicit(&reads, 1, memory_order_relaxed);
    }
    return NULL;
}

static void *epoch_writer(void *unused) {
    (void)unused;
    for (uint32_t i = 0; i < SWAPS; i++) {
        CHECK(pthread_mutex_lock(&cells_lock) == 0);
        atoll__rcu_t *cell = &cells[i % PLACES];
        const object_t *own = atoll__rcu_own(cell);
        /* Copied and changed: no update of the other writer is lost. */
        object_t *next = object_new(own->values[0] + 1);
        atoll__rcu_publish(cell, &next->retired, object_release);
        CHECK(pthread_mutex_unlock(&cells_lock) == 0);
        CHECK(atoll__epoch_waiting() <= ATOLL__EPOCH_GARBAGE_MAX + 2);
    }
    return NULL;
}

TEST(epoch_torture, "reclaim: epochs keep what is read while writers copy and replace it") {
    objects_begin();
    for (uint32_t i = 0; i < PLACES; i++)
        atoll__rcu_publish(&cells[i], &object_new(0)->retired, object_release);
    torture(epoch_reader, epoch_writer);
    for (uint32_t i = 0; i < PLACES; i++) {
        const object_t *last = atoll__rcu_own(&cells[i]);
        CHECK_EQUAL(last->values[0], SWAPS);
        atoll__rcu_publish(&cells[i], NULL, object_release);
    }
    objects_end();
}

/* ---- hazard pointers, step by step ---- */

TEST(hazard_stalled, "reclaim: a reader that never lets go keeps its one object, and no other") {
    objects_begin();
    atomic_store(&places[0], &object_new(7)->retired);
    atoll__hazard_t *hazard = atoll__hazard_take();
    const object_t *held = (const object_t *)atoll__hazard_protect(hazard, &places[0]);
    for (uint32_t i = 0; i < 10000; i++) {
        object_t *next = object_new(i);
        atoll__hazard_retire(atomic_exchange(&places[0], &next->retired), object_release);
        CHECK(atomic_load(&objects_made) - atomic_load(&objects_released) < 2000);
    }
    atoll__hazard_scan();
    CHECK_EQUAL(atoll__hazard_waiting(), 1);
    object_check(held);
    CHECK_EQUAL(held->values[0], 7);
    /* Protecting another lets go of it. */
    (void)atoll__hazard_protect(hazard, &places[0]);
    atoll__hazard_scan();
    CHECK_EQUAL(atoll__hazard_waiting(), 0);
    atoll__hazard_retire(atomic_exchange(&places[0], NULL), object_release);
    atoll__hazard_scan();
    CHECK_EQUAL(atoll__hazard_waiting(), 1);
    CHECK(atoll__hazard_protect(hazard, &places[0]) == NULL);
    atoll__hazard_give(hazard);
    objects_end();
}

#define MANY 300u

TEST(hazard_many, "reclaim: more protected objects than one round of a scan looks up") {
    objects_begin();
    static _Atomic(atoll__retired_t *) many[MANY];
    static atoll__hazard_t *hazards[MANY];
    for (uint32_t i = 0; i < MANY; i++) {
        hazards[i] = atoll__hazard_take();
        atomic_store(&many[i], &object_new(i)->retired);
        CHECK(atoll__hazard_protect(hazards[i], &many[i]) == atomic_load(&many[i]));
    }
    for (uint32_t i = 0; i < MANY; i++)
        atoll__hazard_retire(atomic_exchange(&many[i], NULL), object_release);
    atoll__hazard_scan();
    CHECK_EQUAL(atoll__hazard_waiting(), MANY);
    for (uint32_t i = 0; i < MANY; i += 3) atoll__hazard_reset(hazards[i]);
    atoll__hazard_scan();
    CHECK_EQUAL(atoll__hazard_waiting(), MANY - MANY / 3);
    for (uint32_t i = 0; i < MANY; i++) {
        atoll__hazard_reset(hazards[i]);
        atoll__hazard_give(hazards[i]);
    }
    objects_end();
}

static void *hazard_retire_ten(void *unused) {
    (void)unused;
    for (uint32_t i = 0; i < 10; i++) {
        object_t *object = object_new(i);
        if (i == 5) atoll__hazard_retire(atomic_exchange(&places[0], NULL), object_release);
        atoll__hazard_retire(&object->retired, object_release);
    }
    return NULL;
}

TEST(hazard_thread_end, "reclaim: what an ended thread retired is released by another") {
    objects_begin();
    atomic_store(&places[0], &object_new(3)->retired);
    atoll__hazard_t *hazard = atoll__hazard_take();
    const object_t *held = (const object_t *)atoll__hazard_protect(hazard, &places[0]);
    run_thread(hazard_retire_ten, NULL);
    CHECK_EQUAL(atoll__hazard_waiting(), 11);
    atoll__hazard_scan();
    CHECK_EQUAL(atoll__hazard_waiting(), 1);
    object_check(held);
    atoll__hazard_reset(hazard);
    atoll__hazard_give(hazard);
    objects_end();
}

static void *hazard_take_one(void *argument) {
    atoll__hazard_t *hazard = atoll__hazard_take();
    atoll__hazard_give(hazard);
    /* The thread's own again, before a new one. */
    CHECK(atoll__hazard_take() == hazard);
    atoll__hazard_give(hazard);
    *(atoll__hazard_t **)argument = hazard;
    return NULL;
}

TEST(hazard_reuse, "reclaim: records of ended threads are used again") {
    atoll__hazard_t *first = NULL;
    atoll__hazard_t *next = NULL;
    run_thread(hazard_take_one, &first);
    for (uint32_t i = 0; i < 20; i++) {
        run_thread(hazard_take_one, &next);
        CHECK(next == first);
    }
}

/* ---- epochs, step by step ---- */

typedef struct holder {
    _Atomic uint32_t pinned;
    _Atomic uint32_t go_on;
    bool nested;
} holder_t;

static void *hold_pin(void *argument) {
    holder_t *holder = argument;
    atoll__pin_t pin = atoll__epoch_pin();
    if (holder->nested) atoll__epoch_unpin(atoll__epoch_pin());
    atomic_store(&holder->pinned, 1);
    while (atomic_load(&holder->go_on) == 0) atoll__prim_pause();
    atoll__epoch_unpin(pin);
    return NULL;
}

static void hold_begin(holder_t *holder, pthread_t *thread) {
    CHECK(pthread_create(thread, NULL, hold_pin, holder) == 0);
    while (atomic_load(&holder->pinned) == 0) atoll__prim_pause();
}

static void hold_end(holder_t *holder, pthread_t thread) {
    atomic_store(&holder->go_on, 1);
    CHECK(pthread_join(thread, NULL) == 0);
}

TEST(epoch_pinned, "reclaim: nothing is released while one who may have it is pinned, also nested") {
    for (uint32_t i = 0; i < 2; i++) {
        objects_begin();
        holder_t holder = {.nested = i == 1};
        pthread_t thread;
        hold_begin(&holder, &thread);
        atoll__epoch_retire(&object_new(1)->retired, object_release);
        for (uint32_t k = 0; k < 10; k++) atoll__epoch_collect();
        CHECK_EQUAL(atomic_load(&objects_released), 0);
        CHECK_EQUAL(atoll__epoch_behind(), 1);
        hold_end(&holder, thread);
        CHECK_EQUAL(atoll__epoch_behind(), 0);
        objects_end();
    }
}

TEST(epoch_two, "reclaim: an object outlives the epoch in which it was retired and the next") {
    objects_begin();
    /* A pin of the epoch before the retirement must not be what keeps it. */
    atoll__epoch_unpin(atoll__epoch_pin());
    atoll__epoch_retire(&object_new(1)->retired, object_release);
    atoll__epoch_collect();
    CHECK_EQUAL(atomic_load(&objects_released), 0);
    /* A reader of the second epoch may have read the clock before the object was unlinked. */
    holder_t holder = {.nested = false};
    pthread_t thread;
    hold_begin(&holder, &thread);
    atoll__epoch_collect();
    CHECK_EQUAL(atomic_load(&objects_released), 1);
    atoll__epoch_retire(&object_new(2)->retired, object_release);
    for (uint32_t k = 0; k < 10; k++) atoll__epoch_collect();
    CHECK_EQUAL(atomic_load(&objects_released), 1);
    hold_end(&holder, thread);
    objects_end();
}

static _Atomic uint32_t retired_so_far;

#define FLOOD (ATOLL__EPOCH_GARBAGE_MAX + 500u)

static void *retire_flood(void *unused) {
    (void)unused;
    for (uint32_t i = 0; i < FLOOD; i++) {
        atoll__epoch_retire(&object_new(i)->retired, object_release);
        atomic_store(&retired_so_far, i + 1);
    }
    return NULL;
}

TEST(epoch_stalled, "reclaim: a stalled reader is counted, and its garbage is bounded") {
    objects_begin();
    holder_t holder = {.nested = false};
    pthread_t thread;
    pthread_t writer;
    hold_begin(&holder, &thread);
    atomic_store(&retired_so_far, 0);
    CHECK(pthread_create(&writer, NULL, retire_flood, NULL) == 0);
    EVENTUALLY(atoll__epoch_waiting() > ATOLL__EPOCH_GARBAGE_MAX);
    for (uint32_t i = 0; i < 20; i++) {
        CHECK_EQUAL(atoll__epoch_waiting(), ATOLL__EPOCH_GARBAGE_MAX + 1);
        CHECK_EQUAL(atomic_load(&retired_so_far), ATOLL__EPOCH_GARBAGE_MAX);
        CHECK_EQUAL(atoll__epoch_behind(), 1);
        CHECK_EQUAL(atomic_load(&objects_released), 0);
        atoll__prim_pause();
    }
    hold_end(&holder, thread);
    CHECK(pthread_join(writer, NULL) == 0);
    CHECK_EQUAL(atomic_load(&retired_so_far), FLOOD);
    objects_end();
}

static void *epoch_retire_five(void *unused) {
    (void)unused;
    atoll__epoch_unpin(atoll__epoch_pin());
    for (uint32_t i = 0; i < 5; i++)
        atoll__epoch_retire(&object_new(i)->retired, object_release);
    return NULL;
}

TEST(epoch_thread_end, "reclaim: what an ended thread retired is released, and its record reused") {
    objects_begin();
    for (uint32_t i = 0; i < 20; i++) run_thread(epoch_retire_five, NULL);
    objects_end();
    CHECK_EQUAL(atomic_load(&objects_released), 100);
}

/* ---- buffers ---- */

static atoll__buffer_t *shared;

static void *buffer_holder(void *unused) {
    (void)unused;
    for (uint32_t i = 0; i < 20000; i++) {
        atoll__buffer_acquire(shared);
        CHECK_EQUAL(shared->bytes[i % 1000], 'b');
        atoll__buffer_release(shared);
    }
    /* What main gave this thread. */
    atoll__buffer_release(shared);
    return NULL;
}

TEST(buffer_shared, "reclaim: a shared buffer stays until its last holder has let go") {
    shared = atoll__buffer_new(1000);
    CHECK(shared != NULL);
    CHECK_EQUAL((uintptr_t)shared->bytes % 16, 0);
    CHECK(atoll__buffer_of(shared->bytes) == shared);
    memset(shared->bytes, 'b', 1000);
    pthread_t threads[2];
    for (uint32_t i = 0; i < 2; i++) {
        atoll__buffer_acquire(shared);
        CHECK(pthread_create(&threads[i], NULL, buffer_holder, NULL) == 0);
    }
    for (uint32_t i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_EQUAL(atomic_load(&shared->holders), 1);
    CHECK_EQUAL(shared->bytes[999], 'b');
    atoll__buffer_release(shared);
    CHECK(atoll__buffer_new(UINT64_MAX) == NULL);
}
