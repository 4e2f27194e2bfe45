/* The door to the operating system, its part for memory.
 *
 * Owns: each mapping, and what the machine could give of what was wanted. Must not know what lies in
 * it. Huge pages, binding, locking and pre-faulting are wishes: where they cannot be had the mapping
 * works all the same, and the result says so. */
#include "prim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define HUGE_BYTES ((size_t)2 << 20)
#define NODES_MAX 1024u
/* From linux/mman.h and linux/mempolicy.h, which are newer than some C libraries' headers. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#define POLICY_PREFERRED 1
#define POLICY_INTERLEAVE 3

static size_t round_up(size_t bytes, size_t to) {
    return (bytes + to - 1) / to * to;
}

static size_t page_size(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* Reads a small file of /sys; false when it is not there. */
static bool read_text(const char *path, char *text, size_t capacity) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    ssize_t got = read(file, text, capacity - 1);
    (void)close(file);
    if (got < 0) return false;
    text[got] = '\0';
    return true;
}

/* ---- files ---- */

/* Whether the file's pages are of the ordinary size. A mapping of huge ones covers whole huge pages
 * however few bytes were asked for, and so more than the room that was reserved for it. */
static bool file_has_plain_pages(int file) {
    struct statfs status;
    if (fstatfs(file, &status) != 0) return false;
    if (status.f_type != HUGETLBFS_MAGIC) return true;
    errno = EINVAL;
    return false;
}

/* Whether nobody can cut the file off any more; false and errno. */
static bool file_keeps_length(int file) {
    /* Files that cannot be sealed, those with a path, fail here. */
    int seals = fcntl(file, F_GET_SEALS);
    if (seals >= 0 && (seals & F_SEAL_SHRINK) != 0) return true;
    errno = EPERM;
    return false;
}

/* The file behind a mapping, as long as it has to be; -1 and errno. */
static int file_open(const atoll__map_options_t *options, size_t bytes) {
    int file = -1;
    if (options->backing == ATOLL__BACKING_SHARED)
        file = memfd_create(options->name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    else if (options->backing == ATOLL__BACKING_FILE)
        file = open(options->name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    else
        file = fcntl(options->descriptor, F_DUPFD_CLOEXEC, 0);
    if (file < 0) return -1;
    struct stat status;
    int result = fstat(file, &status);
    if (result == 0 && !S_ISREG(status.st_mode)) {
        errno = EINVAL;
        result = -1;
    }
    if (result == 0 && !file_has_plain_pages(file)) result = -1;
    /* A peer's file that is too short, now or later, would be a SIGBUS: the length is looked at once
     * it is known to stay. */
    if (result == 0 && options->backing == ATOLL__BACKING_DESCRIPTOR) {
        if (!file_keeps_length(file) || fstat(file, &status) != 0) {
            result = -1;
        } else if ((size_t)status.st_size < bytes) {
            errno = EINVAL;
            result = -1;
        }
    } else if (result == 0 && (size_t)status.st_size < bytes) {
        result = ftruncate(file, (off_t)bytes);
    }
    /* The same for those who get this one's descriptor; and no seal is added that they would not
     * expect, such as one against writing. */
    if (result == 0 && options->backing == ATOLL__BACKING_SHARED)
        result = fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    if (result == 0) return file;
    int error = errno;
    (void)close(file);
    errno = error;
    return -1;
}

/* ---- placing ---- */

/* Memory of the pool of huge pages, which few machines set up. */
static bool place_reserved(const atoll__map_options_t *options, atoll__map_t *map) {
    size_t bytes = round_up(options->bytes, HUGE_BYTES);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT);
    uint8_t *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (base == MAP_FAILED) return false;
    *map = (atoll__map_t){
        .base = base, .bytes = bytes, .descriptor = -1, .pages = ATOLL__PAGES_RESERVED,
        .page_bytes = HUGE_BYTES, .locked_bytes = bytes, .outer = base, .outer_bytes = bytes};
    if (!options->guard) return true;
    /* Beside it, where nothing lies yet: a huge page cannot be cut for a guard. */
    size_t page = page_size();
    int guard = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    void *before = mmap(base - page, page, PROT_NONE, guard, -1, 0);
    if (before == base - page) {
        map->outer -= page;
        map->outer_bytes += page;
    }
    void *behind = mmap(base + bytes, page, PROT_NONE, guard, -1, 0);
    if (behind == base + bytes) map->outer_bytes += page;
    map->guarded = before == base - page && behind == base + bytes;
    return true;
}

/* Reserves room for mapping and guards, then maps into the middle of it. */
static int place(const atoll__map_options_t *options, int file, atoll__map_t *map) {
    size_t page = page_size();
    size_t bytes = round_up(options->bytes, page);
    size_t guard = options->guard ? page : 0;
    size_t slack = options->huge ? HUGE_BYTES : 0;
    size_t room = bytes + 2 * guard + slack;
    if (room < options->bytes) {
        errno = ENOMEM;
        return -1;
    }
    int none = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    uint8_t *outer = mmap(NULL, room, PROT_NONE, none, -1, 0);
    if (outer == MAP_FAILED) return -1;
    uint8_t *base = outer + guard;
    if (options->huge) base = (uint8_t *)round_up((uintptr_t)base, HUGE_BYTES);
    int flags = MAP_FIXED | (file < 0 ? none : MAP_SHARED);
    if (mmap(base, bytes, PROT_READ | PROT_WRITE, flags, file, 0) == MAP_FAILED) {
        int error = errno;
        (void)munmap(outer, room);
        errno = error;
        return -1;
    }
    uint8_t *begin = base - guard;
    uint8_t *end = base + bytes + guard;
    if (begin > outer) (void)munmap(outer, (size_t)(begin - outer));
    if (end < outer + room) (void)munmap(end, (size_t)(outer + room - end));
    *map = (atoll__map_t){
        .base = base, .bytes = bytes, .descriptor = file, .page_bytes = page,
        .guarded = options->guard, .outer = begin, .outer_bytes = (size_t)(end - begin)};
    return 0;
}

/* ---- wishes ---- */

/* The kernel takes the advice also where it is configured to ignore it. */
static void advise_huge(atoll__map_t *map) {
    char text[128];
    const char *path = map->descriptor < 0 ? "/sys/kernel/mm/transparent_hugepage/enabled"
                                           : "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    if (!read_text(path, text, sizeof text)) return;
    if (strstr(text, "[never]") != NULL || strstr(text, "[deny]") != NULL) return;
    if (map->bytes < HUGE_BYTES || madvise(map->base, map->bytes, MADV_HUGEPAGE) != 0) return;
    map->pages = ATOLL__PAGES_ADVISED;
    map->page_bytes = HUGE_BYTES;
}

/* Nodes that are online, from a list such as "0-1,4"; marks each in a mask. */
static uint32_t nodes_online(unsigned long *mask) {
    char text[256];
    const size_t bits = 8 * sizeof *mask;
    uint32_t count = 0;
    if (!read_text("/sys/devices/system/node/online", text, sizeof text)) return 1;
    for (char *at = text; *at >= '0' && *at <= '9';) {
        unsigned long first = strtoul(at, &at, 10);
        unsigned long last = *at == '-' ? strtoul(at + 1, &at, 10) : first;
        for (unsigned long node = first; node <= last && node < NODES_MAX; node++, count++)
            mask[node / bits] |= 1ul << node % bits;
        if (*at == ',') at++;
    }
    return count == 0 ? 1 : count;
}

static void bind_nodes(atoll__map_t *map, atoll__numa_t numa) {
    unsigned long mask[NODES_MAX / (8 * sizeof(unsigned long))] = {0};
    map->numa_nodes = nodes_online(mask);
    if (numa == ATOLL__NUMA_NONE || map->numa_nodes < 2) return;
    int policy = POLICY_INTERLEAVE;
    if (numa == ATOLL__NUMA_LOCAL) {
        unsigned int processor;
        unsigned int node;
        if (getcpu(&processor, &node) != 0 || node >= NODES_MAX) return;
        memset(mask, 0, sizeof mask);
        mask[node / (8 * sizeof *mask)] = 1ul << node % (8 * sizeof *mask);
        policy = POLICY_PREFERRED;
    }
    /* Directly: the C library has no wrapper, and libnuma would be a dependency for one call. */
    map->bound = syscall(SYS_mbind, map->base, map->bytes, policy, mask, NODES_MAX + 1, 0) == 0;
}

static void lock_pages(atoll__map_t *map) {
    if (map->pages == ATOLL__PAGES_RESERVED) return; /* never swapped */
    size_t bytes = map->bytes;
    /* Whoever may exceed the limit is asked for nothing; for all others it is the limit. Pages are
     * locked as they are touched, so that locking does not back what nobody uses. */
    if (mlock2(map->base, bytes, MLOCK_ONFAULT) != 0) {
        struct rlimit limit;
        if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return;
        if (limit.rlim_cur < bytes) bytes = limit.rlim_cur / page_size() * page_size();
        if (bytes == 0 || mlock2(map->base, bytes, MLOCK_ONFAULT) != 0) return;
    }
    map->locked_bytes = bytes;
}

static void prefault(atoll__map_t *map) {
    map->prefaulted = true;
    if (madvise(map->base, map->bytes, MADV_POPULATE_WRITE) == 0) return;
    if (errno != EINVAL) {
        /* Not enough memory: touching it page by page would end the process. */
        map->prefaulted = false;
        return;
    }
    /* Before Linux 5.14. Another process may be writing: what is there must stay. */
    for (size_t at = 0; at < map->bytes; at += page_size())
        (void)__atomic_fetch_or(map->base + at, 0, __ATOMIC_RELAXED);
}

int atoll__prim_map(const atoll__map_options_t *options, atoll__map_t *map) {
    bool anonymous = options->backing == ATOLL__BACKING_ANONYMOUS;
    if (options->bytes == 0) {
        errno = EINVAL;
        return -1;
    }
    if (!(options->huge && anonymous && place_reserved(options, map))) {
        size_t bytes = round_up(options->bytes, page_size());
        int file = anonymous ? -1 : file_open(options, bytes);
        if (!anonymous && file < 0) return -1;
        if (place(options, file, map) != 0) {
            int error = errno;
            if (file >= 0) (void)close(file);
            errno = error;
            return -1;
        }
        if (options->huge) advise_huge(map);
    }
    /* Before the first page is touched: neither moves pages that are there. */
    bind_nodes(map, options->numa);
    if (options->lock) lock_pages(map);
    if (options->prefault) prefault(map);
    return 0;
}

void atoll__prim_unmap(atoll__map_t *map) {
    if (map->outer != NULL) (void)munmap(map->outer, map->outer_bytes);
    if (map->descriptor >= 0) (void)close(map->descriptor);
    *map = (atoll__map_t){.descriptor = -1};
}

void *atoll__prim_reserve(size_t bytes) {
    atoll__map_t map;
    const atoll__map_options_t options = {.bytes = bytes, .guard = true};
    return atoll__prim_map(&options, &map) == 0 ? map.base : NULL;
}

size_t atoll__prim_discard(void *start, size_t bytes, size_t page_bytes) {
    uintptr_t begin = round_up((uintptr_t)start, page_bytes);
    uintptr_t end = ((uintptr_t)start + bytes) / page_bytes * page_bytes;
    if (end <= begin || madvise((void *)begin, end - begin, MADV_DONTNEED) != 0) return 0;
    return end - begin;
}
