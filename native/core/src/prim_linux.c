/* The only door to the operating system; its part for memory is prim_linux_map.c.
 *
 * Owns: every other system call. Must not know clients, calls or frames. */
#include "prim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static long membarrier(int command) {
    return syscall(SYS_membarrier, command, 0, 0);
}

bool atoll__prim_barrier_register(void) {
    /* A kernel before 4.14 does not know the command, and a filter may refuse it: both fail here. */
    return membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
}

bool atoll__prim_barrier(void) {
    /* Fails only for want of memory, once it is registered. */
    return membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0;
}

uint64_t atoll__prim_now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t atoll__prim_wall_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void atoll__prim_pause(void) {
    const struct timespec pause = {.tv_nsec = 1000000};
    (void)nanosleep(&pause, NULL);
}

#ifdef ATOLL__INTERLEAVE
void atoll__prim_dawdle(void) {
    uint64_t now = atoll__prim_now_ns();
    uint64_t choice = (now * 0x9E3779B97F4A7C15u) >> 60;
    if (choice == 0) (void)sched_yield();
    while (choice < 3 && atoll__prim_now_ns() - now < 4000) {
    }
}
#endif

int atoll__prim_random(uint8_t *bytes, size_t length) {
    while (length > 0) {
        ssize_t got = getrandom(bytes, length, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return -1;
        bytes += got;
        length -= (size_t)got;
    }
    return 0;
}

int atoll__prim_folder_make(const char *base, char *path, size_t capacity) {
    int length = snprintf(path, capacity, "%s/atoll-XXXXXX", base);
    if (length < 0 || (size_t)length >= capacity) {
        errno = ENAMETOOLONG;
        return -1;
    }
    /* mkdtemp makes it with mode 0700, whatever the umask. */
    return mkdtemp(path) == NULL ? -1 : 0;
}

const char *atoll__prim_folder_base(size_t length_max) {
    const char *names[] = {"XDG_RUNTIME_DIR", "TMPDIR"};
    for (size_t i = 0; i < 2; i++) {
        const char *value = getenv(names[i]);
        if (value == NULL || value[0] != '/' || strlen(value) > length_max) continue;
        if (access(value, W_OK | X_OK) == 0) return value;
    }
    return "/tmp";
}

void atoll__prim_folder_remove(const char *path) {
    (void)rmdir(path);
}

void atoll__prim_file_remove(const char *path) {
    (void)unlink(path);
}

int atoll__prim_file_exposed(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) return -1;
    if (!S_ISREG(status.st_mode)) {
        errno = EINVAL;
        return -1;
    }
    bool own = status.st_uid == 0 || status.st_uid == geteuid();
    return !own || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

int atoll__prim_listen(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0) return -1;
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 4) != 0) {
        int error = errno;
        (void)close(listener);
        errno = error;
        return -1;
    }
    return listener;
}

int atoll__prim_accept(int listener, int *connection) {
    for (;;) {
        int socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (socket < 0) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
        }
        struct ucred peer;
        socklen_t length = sizeof peer;
        if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
            peer.uid == geteuid() && peer.pid == getpid()) {
            *connection = socket;
            return 1;
        }
        (void)close(socket);
    }
}

int atoll__prim_read(int socket, uint8_t *bytes, size_t length) {
    for (;;) {
        ssize_t got = recv(socket, bytes, length, MSG_DONTWAIT);
        if (got > 0) return (int)got;
        if (got == 0) return -1;
        if (errno == EINTR) continue;
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    }
}

/* The runs are laid out as iovec, so no second list is needed. */
_Static_assert(sizeof(atoll_bytes_t) == sizeof(struct iovec), "iovec");
_Static_assert(offsetof(atoll_bytes_t, bytes) == offsetof(struct iovec, iov_base), "iovec");
_Static_assert(offsetof(atoll_bytes_t, length) == offsetof(struct iovec, iov_len), "iovec");

/* Takes transferred bytes off the front of the runs; how many runs are empty now. */
static uint32_t advance(atoll_bytes_t *parts, uint32_t count, uint64_t done) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t here = done < parts[i].length ? done : parts[i].length;
        parts[i].bytes += here;
        parts[i].length -= here;
        done -= here;
        if (parts[i].length > 0) return i;
    }
    return count;
}

/* sendmsg and recvmsg are writev and readv with flags. */
static int64_t transfer(int socket, atoll_bytes_t *parts, uint32_t count, bool out) {
    int64_t done = 0;
    for (uint32_t used = advance(parts, count, 0); used < count;) {
        parts += used;
        count -= used;
        struct msghdr message = {
            .msg_iov = (struct iovec *)(void *)parts,
            .msg_iovlen = count < IOV_MAX ? count : IOV_MAX,
        };
        int flags = MSG_DONTWAIT | (out ? MSG_NOSIGNAL : 0);
        ssize_t now = out ? sendmsg(socket, &message, flags) : recvmsg(socket, &message, flags);
        if (now < 0 && errno == EINTR) now = 0;
        else if (now < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
        else if (now <= 0) return done > 0 ? done : -1;
        done += now;
        used = advance(parts, count, (uint64_t)now);
    }
    return done;
}

int64_t atoll__prim_writev(int socket, atoll_bytes_t *parts, uint32_t count) {
    return transfer(socket, parts, count, true);
}

int64_t atoll__prim_readv(int socket, atoll_bytes_t *parts, uint32_t count) {
    return transfer(socket, parts, count, false);
}

void atoll__prim_wake(int socket) {
    const uint8_t byte = 1;
    while (send(socket, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EINTR) {
    }
}

void atoll__prim_close(int descriptor) {
    if (descriptor >= 0) (void)close(descriptor);
}

int atoll__prim_signal_make(void) {
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void atoll__prim_signal_poke(int descriptor) {
    const uint64_t one = 1;
    while (write(descriptor, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

void atoll__prim_signal_clear(int descriptor) {
    uint64_t count;
    while (read(descriptor, &count, sizeof count) < 0 && errno == EINTR) {
    }
}

void atoll__prim_wait(const int *descriptors, bool *hung_up, uint32_t count, int timeout_ms) {
    struct pollfd set[512];
    if (count > sizeof set / sizeof set[0]) count = (uint32_t)(sizeof set / sizeof set[0]);
    for (uint32_t i = 0; i < count; i++) {
        /* A client writes nothing after its nonce; what it may write all the same must not keep
         * this thread awake, so sockets are watched for their end only. */
        short events = i == 0 ? POLLIN : POLLRDHUP;
        set[i] = (struct pollfd){.fd = descriptors[i], .events = events};
        hung_up[i] = false;
    }
    int ready = poll(set, count, timeout_ms);
    for (uint32_t i = 0; ready > 0 && i < count; i++) hung_up[i] = set[i].revents != 0;
}

typedef struct thread_start {
    void (*body)(void);
    char name[16];
} thread_start_t;

static void *thread_main(void *argument) {
    thread_start_t start = *(thread_start_t *)argument;
    free(argument);
    (void)pthread_setname_np(pthread_self(), start.name);
    start.body();
    return NULL;
}

int atoll__prim_thread_start(uintptr_t *thread, const char *name, void (*body)(void)) {
    thread_start_t *start = calloc(1, sizeof *start);
    if (start == NULL) return -1;
    start->body = body;
    (void)snprintf(start->name, sizeof start->name, "%s", name);
    sigset_t all;
    sigset_t old;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_t id;
    int error = pthread_create(&id, NULL, thread_main, start);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error != 0) {
        free(start);
        errno = error;
        return -1;
    }
    *thread = (uintptr_t)id;
    return 0;
}

void atoll__prim_thread_join(uintptr_t thread) {
    (void)pthread_join((pthread_t)thread, NULL);
}

void *atoll__prim_library_open(const char *path, const char **text) {
    /* An engine holds threads and signal handlers: it is never unloaded. */
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == NULL) *text = dlerror();
    return library;
}

void *atoll__prim_library_symbol(void *library, const char *name) {
    return dlsym(library, name);
}
