/* What the core needs from the operating system.
 *
 * Owns: the names. Only prim_linux.c implements them; no other file includes a system header beside
 * pthread.h and the C library. Functions that can fail return -1 and leave errno set. */
#ifndef ATOLL_PRIM_H
#define ATOLL_PRIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "atoll.h"

/* Address space that is backed on first touch, zeroed; NULL on failure. Never given back. */
void *atoll__prim_reserve(size_t bytes);
/* Gives the pages of a range back to the system; they read as zero afterwards. */
void atoll__prim_discard(void *start, size_t bytes);

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
