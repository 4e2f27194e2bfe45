/* Fences of two prices, and the runs of the reclaim tests where readers pay.
 *
 * Tests whose names begin with "reclaim:" run three times: with the cheap fence, with
 * ATOLL_FENCES=full, and where the kernel refuses membarrier. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fence.h"
#include "harness.h"

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

/* Runs the reclaim tests in a process of their own and passes their failure on. */
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
