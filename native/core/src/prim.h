/* What the core needs from the operating system.
 *
 * Owns: the names. Only prim_linux.c and prim_linux_map.c implement them; no other file includes a
 * system header beside pthread.h and the C library. Functions that can fail return -1 and leave errno set. */
#ifndef ATOLL_PRIM_H
#define ATOLL_PRIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "atoll.h"

/* ---- memory: prim_linux_map.c ---- */

/* What lies behind a mapping. */
typedef enum atoll__backing {
    ATOLL__BACKING_ANONYMOUS = 0, /* of this process alone, zeroed */
    ATOLL__BACKING_SHARED = 1,    /* a file without a name (memfd); `name` labels it in /proc */
    ATOLL__BACKING_FILE = 2,      /* the file at the path `name`, made with mode 0600 if missing */
    /* A peer's open file. Whoever makes it seals it against shrinking (F_SEAL_SHRINK on a memfd made
     * with MFD_ALLOW_SEALING) before handing it out, as SHARED does: a file that can be cut off under
     * the mapping would end this process by SIGBUS. Must be long enough. */
    ATOLL__BACKING_DESCRIPTOR = 3
} atoll__backing_t;

/* Where pages lie on a machine with more than one memory node. */
typedef enum atoll__numa {
    ATOLL__NUMA_NONE = 0,      /* where they are touched first */
    ATOLL__NUMA_LOCAL = 1,     /* on the node of the calling thread while it has room */
    ATOLL__NUMA_INTERLEAVE = 2 /* in turn on all nodes */
} atoll__numa_t;

typedef enum atoll__pages {
    ATOLL__PAGES_PLAIN = 0,
    ATOLL__PAGES_ADVISED = 1, /* the kernel makes huge pages where it finds room (MADV_HUGEPAGE) */
    ATOLL__PAGES_RESERVED = 2 /* of the pool of huge pages (MAP_HUGETLB) */
} atoll__pages_t;

/* What is wanted. All zero but `bytes`: private memory, backed page by page on first touch. */
typedef struct atoll__map_options {
    size_t bytes; /* rounded up to whole pages; fixes the length of a file that is shorter */
    atoll__backing_t backing;
    const char *name;
    int descriptor; /* DESCRIPTOR: duplicated, stays the caller's */
    atoll__numa_t numa;
    bool guard;    /* a page that cannot be touched before the first and behind the last byte */
    bool huge;     /* huge pages: reserved ones, else advised ones, else plain ones */
    bool prefault; /* backed before this returns */
    bool lock;     /* never swapped out, as much of the front as the limit allows */
} atoll__map_options_t;

/* What was got. The wishes beside `bytes` and the backing are never an error. */
typedef struct atoll__map {
    uint8_t *base;
    size_t bytes;
    int descriptor;      /* of the file, -1: none; closed by atoll__prim_unmap */
    atoll__pages_t pages;
    size_t page_bytes;   /* of one page where `pages` says so: 4096, 2 MiB */
    size_t locked_bytes; /* from the front */
    uint32_t numa_nodes; /* of this machine */
    bool bound;          /* to nodes, as wanted */
    bool prefaulted;
    bool guarded;
    uint8_t *outer; /* with the guards */
    size_t outer_bytes;
} atoll__map_t;

/* Maps memory. -1 and errno: no address space, or the file cannot be had; EPERM: a DESCRIPTOR that is
 * not sealed against shrinking, EINVAL: one that is too short or no file, any file of huge pages. */
int atoll__prim_map(const atoll__map_options_t *options, atoll__map_t *map);
/* Nobody may use the mapping any more. A file at a path stays. */
void atoll__prim_unmap(atoll__map_t *map);
/* A table for good: zeroed, between guard pages, backed on first touch; NULL on failure. */
void *atoll__prim_reserve(size_t bytes);
/* Gives the pages of a range of anonymous memory back to the system; they read as zero afterwards.
 * Only whole pages of page_bytes within the range; returns how many bytes. */
size_t atoll__prim_discard(void *start, size_t bytes, size_t page_bytes);

/* ---- the rest: prim_linux.c ---- */

/* Asks for atoll__prim_barrier; false: this kernel has none, or a filter refuses it. */
bool atoll__prim_barrier_register(void);
/* A full fence on every processor that runs a thread of this process; false: it was not run. */
bool atoll__prim_barrier(void);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t atoll__prim_now_ns(void);
/* CLOCK_REALTIME: nanoseconds since 1970-01-01 UTC. */
uint64_t atoll__prim_wall_ns(void);
/* Lets another thread run for about a millisecond. */
void atoll__prim_pause(void);
#ifdef ATOLL__INTERLEAVE
/* Now and then takes a few microseconds, for ATOLL__WINDOW. */
void atoll__prim_dawdle(void);
#endif
/* Fills bytes with random ones. */
int atoll__prim_random(uint8_t *bytes, size_t length);

/* Makes a folder of mode 0700 whose name starts with `base`/atoll-; writes its path. */
int atoll__prim_folder_make(const char *base, char *path, size_t capacity);
/* Where folders of this user live while it runs; a path of at most so many bytes. */
const char *atoll__prim_folder_base(size_t length_max);
void atoll__prim_folder_remove(const char *path);
void atoll__prim_file_remove(const char *path);
/* Whether others than the owner may write the file; -1 when it cannot be read. */
int atoll__prim_file_exposed(const char *path);

/* A listening stream socket at path, not blocking. */
int atoll__prim_listen(const char *path);
/* The next connection of this process and user; 0: none yet. Others are closed at once. */
int atoll__prim_accept(int listener, int *connection);
/* Reads what is there: bytes read, 0: nothing yet, -1: the peer is gone. */
int atoll__prim_read(int socket, uint8_t *bytes, size_t length);
/* Writes from, or reads into, runs of bytes, without blocking and without SIGPIPE. What was
 * transferred is taken off the runs, so that after a transfer that was cut short the same list says
 * what is left. Bytes transferred, 0: the other side is not ready; -1: it is gone. */
int64_t atoll__prim_writev(int socket, atoll_bytes_t *parts, uint32_t count);
int64_t atoll__prim_readv(int socket, atoll_bytes_t *parts, uint32_t count);
/* Writes one byte without blocking and without SIGPIPE. Whether it was written does not matter: the
 * reader of a full buffer has bytes to read, and a reader that is gone is seen by its hang-up. */
void atoll__prim_wake(int socket);
void atoll__prim_close(int descriptor);

/* A descriptor that atoll__prim_wait sees once it is poked. */
int atoll__prim_signal_make(void);
void atoll__prim_signal_poke(int descriptor);
void atoll__prim_signal_clear(int descriptor);

/* Waits until a socket hangs up or the signal (index 0) is poked, at most timeout_ms (-1: no
 * limit). hung_up[i] tells which; hung_up[0] is the signal. */
void atoll__prim_wait(const int *descriptors, bool *hung_up, uint32_t count, int timeout_ms);

/* Starts a thread that receives no signals of the process. */
int atoll__prim_thread_start(uintptr_t *thread, const char *name, void (*body)(void));
void atoll__prim_thread_join(uintptr_t thread);

/* Opens a library for good and finds one symbol. NULL: text says why. */
void *atoll__prim_library_open(const char *path, const char **text);
void *atoll__prim_library_symbol(void *library, const char *name);

#endif
