/**
 * Put in front of a load generator's epoll_wait (LD_PRELOAD): it polls and never sleeps.
 *
 * A generator on a processor of its own sleeps between the answers of a server that is slower than
 * itself, so each answer has to wake it. Under a hypervisor the interrupt for that leaves the guest
 * and costs the server's core 10 to 20 us: a cost of the machine, charged to slow servers only, and
 * as large as the rest of the kernel's part of a request.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <time.h>

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout_ms) {
    static int (*wait)(int, struct epoll_event *, int, int);
    if (wait == NULL) {
        *(void **)&wait = dlsym(RTLD_NEXT, "epoll_wait");
    }
    int64_t end = timeout_ms < 0 ? INT64_MAX : now_ns() + (int64_t)timeout_ms * 1000000;
    while (true) {
        int count = wait(epoll, events, most, 0);
        if (count != 0 || now_ns() >= end) {
            return count;
        }
    }
}
