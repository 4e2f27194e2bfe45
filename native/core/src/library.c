/* The library as a whole: open, close, configuration.
 *
 * Owns: the count of users and the order of starting and stopping. Must not know how calls work. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "epoch.h"
#include "hazard.h"
#include "internal.h"

#define ARENA_BYTES_DEFAULT (256u << 20)
#define ARENA_BYTES_MIN (4u << 20)
#define ARENA_BYTES_MAX (64ull << 30)
#define CALLS_MAX_DEFAULT 16384u
#define CALLS_MAX_MIN 16u
#define CALLS_MAX_MAX 65536u
#define FOLDER_BYTES 96u
/* "/atoll-XXXXXX" and the end of the text: what is left is for the folder it lies in. */
#define BASE_BYTES_MAX (FOLDER_BYTES - 14u)

typedef struct config {
    atoll__arena_options_t arena;
    uint64_t calls_max;
    char runtime_dir[FOLDER_BYTES]; /* empty: by the environment */
} config_t;

static struct {
    pthread_mutex_t lock;
    bool configured;
    uint32_t users;
    _Atomic uint32_t running;
    char folder[FOLDER_BYTES];
} library = {.lock = PTHREAD_MUTEX_INITIALIZER};

void atoll__library_lock(void) {
    (void)pthread_mutex_lock(&library.lock);
}

void atoll__library_unlock(void) {
    (void)pthread_mutex_unlock(&library.lock);
}

bool atoll__library_running(void) {
    /* SYNC POINT: library-running, the reader's end: what was opened is there. */
    return atomic_load_explicit(&library.running, memory_order_acquire) != 0;
}

const char *atoll__library_folder(void) {
    return library.folder;
}

static bool parse_number(const char *text, size_t length, uint64_t *number) {
    uint64_t value = 0;
    if (length == 0 || length > 15) return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *number = value;
    return true;
}

static bool parse_switch(const char *text, size_t length, uint64_t *value) {
    return parse_number(text, length, value) && *value <= 1;
}

static bool is_key(const char *line, size_t length, const char *key) {
    return strlen(key) == length && memcmp(line, key, length) == 0;
}

static bool parse_numa(const char *text, size_t length, atoll__numa_t *numa) {
    static const char *const names[] = {"none", "local", "interleave"};
    for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!is_key(text, length, names[i])) continue;
        *numa = (atoll__numa_t)i;
        return true;
    }
    return false;
}

static bool parse_arena(
    atoll__arena_options_t *arena, const char *key, size_t key_length, const char *value,
    size_t length, bool *valid) {
    if (is_key(key, key_length, "arena_bytes"))
        *valid = parse_number(value, length, &arena->bytes) && arena->bytes >= ARENA_BYTES_MIN &&
                 arena->bytes <= ARENA_BYTES_MAX;
    else if (is_key(key, key_length, "arena_huge"))
        *valid = parse_switch(value, length, &arena->huge);
    else if (is_key(key, key_length, "arena_prefault"))
        *valid = parse_switch(value, length, &arena->prefault);
    else if (is_key(key, key_length, "arena_lock"))
        *valid = parse_switch(value, length, &arena->lock);
    else if (is_key(key, key_length, "arena_numa"))
        *valid = parse_numa(value, length, &arena->numa);
    else
        return false;
    return true;
}

static atoll_status_t parse_line(config_t *config, const char *line, size_t length) {
    const char *equals = memchr(line, '=', length);
    if (equals == NULL)
        return atoll__failf(
            ATOLL_INVALID_ARGUMENT, "Cannot open: \"%.*s\" is not key=value", (int)length, line);
    size_t key = (size_t)(equals - line);
    const char *value = equals + 1;
    size_t rest = length - key - 1;
    bool valid;
    if (parse_arena(&config->arena, line, key, value, rest, &valid)) {
        /* One of the arena's. */
    } else if (is_key(line, key, "calls_max")) {
        valid = parse_number(value, rest, &config->calls_max) &&
                config->calls_max >= CALLS_MAX_MIN && config->calls_max <= CALLS_MAX_MAX;
    } else if (is_key(line, key, "runtime_dir")) {
        valid = rest > 0 && rest <= BASE_BYTES_MAX && value[0] == '/';
        if (valid) {
            memcpy(config->runtime_dir, value, rest);
            config->runtime_dir[rest] = '\0';
        }
    } else {
        return atoll__failf(
            ATOLL_INVALID_ARGUMENT,
            "Cannot open: unknown key \"%.*s\"; known are arena_bytes, arena_huge, arena_lock, "
            "arena_numa, arena_prefault, calls_max, runtime_dir",
            (int)key, line);
    }
    if (valid) return ATOLL_OK;
    return atoll__failf(
        ATOLL_INVALID_ARGUMENT, "Cannot open: \"%.*s\" is out of range", (int)length, line);
}

static atoll_status_t parse(config_t *config, const char *text, size_t length) {
    while (length > 0) {
        const char *end = memchr(text, '\n', length);
        size_t line = end == NULL ? length : (size_t)(end - text);
        atoll_status_t status = line == 0 ? ATOLL_OK : parse_line(config, text, line);
        if (status != ATOLL_OK) return status;
        if (end == NULL) break;
        text += line + 1;
        length -= line + 1;
    }
    return ATOLL_OK;
}

/* Reserves what stays until the process ends. Needs the lock. */
static atoll_status_t configure(const config_t *config) {
    atoll_status_t status = atoll__arena_open(&config->arena);
    if (status == ATOLL_OK) status = atoll__calls_open((uint32_t)config->calls_max);
    if (status == ATOLL_OK) status = atoll__clients_open();
    if (status == ATOLL_OK) status = atoll__router_open();
    if (status == ATOLL_OK) status = atoll__groups_open();
    if (status == ATOLL_OK) status = atoll__mailbox_open();
    library.configured = status == ATOLL_OK;
    return status;
}

/* Needs the lock. */
static atoll_status_t start(const uint8_t *text, uint32_t length) {
    config_t config = {.arena = {.bytes = ARENA_BYTES_DEFAULT}, .calls_max = CALLS_MAX_DEFAULT};
    atoll_status_t status = parse(&config, (const char *)text, length);
    if (status == ATOLL_OK && !library.configured) status = configure(&config);
    if (status != ATOLL_OK) return status;
    const char *base = config.runtime_dir;
    if (base[0] == '\0') base = atoll__prim_folder_base(BASE_BYTES_MAX);
    if (atoll__prim_folder_make(base, library.folder, sizeof library.folder) != 0) {
        library.folder[0] = '\0';
        return atoll__failf(
            ATOLL_IO, "Cannot open: no folder in \"%s\": %s", base, strerror(errno));
    }
    status = atoll__warden_start();
    if (status != ATOLL_OK) {
        atoll__prim_folder_remove(library.folder);
        library.folder[0] = '\0';
        return status;
    }
    /* SYNC POINT: library-running; everything was opened before. */
    atomic_store_explicit(&library.running, 1, memory_order_release);
    return ATOLL_OK;
}

atoll_status_t atoll__library_open(
    const uint8_t *config, uint32_t config_length, atoll_arena_info_t *info) {
    atoll__thread_t *thread = atoll__thread();
    if (thread == NULL) return ATOLL_NO_MEMORY;
    atoll_status_t status = ATOLL_OK;
    atoll__library_lock();
    if (!atoll__library_running()) status = start(config, config_length);
    if (status == ATOLL_OK) {
        library.users++;
        thread->opens++;
        *info = (atoll_arena_info_t){
            .clients_max = ATOLL__CLIENTS_MAX,
            .calls_max = atoll__calls_max(),
            .users = library.users,
        };
        atoll__arena_info(info);
    }
    atoll__library_unlock();
    return status;
}

/* Needs the lock. */
static void stop(void) {
    /* Intake first: who enters from here on is refused. */
    atomic_store(&library.running, 0);
    atoll__clients_kill_all();
    /* A thread may still be inside a function of its client, on its way out, and the warden inside
     * an engine: engines are closed only when nobody but they themselves can use them. */
    while (atoll__clients_occupied() > 0) atoll__prim_pause();
    atoll__warden_stop();
    /* What such a thread still submitted. */
    atoll__calls_cancel(0);
    atoll__engines_close();
    atoll__calls_abandon();
    /* What was posted last: the next one to open starts with an empty box. */
    atoll__warden_read();
    while (atoll__clients_reclaim() > 0) atoll__prim_pause();
    atoll__plugins_clear();
    atoll__router_clear();
    atoll__groups_clear();
    atoll__epoch_drain();
    atoll__hazard_scan();
    atoll__prim_folder_remove(library.folder);
    library.folder[0] = '\0';
}

atoll_status_t atoll__library_close(void) {
    atoll__thread_t *thread = atoll__thread();
    atoll_status_t status = ATOLL_OK;
    atoll__library_lock();
    /* One close too many must not close the library under another isolate that is inside it. */
    if (thread == NULL || thread->opens == 0) {
        status = atoll__fail(ATOLL_CLOSED, "Cannot close: this thread has not opened the library");
    } else {
        thread->opens--;
        if (--library.users == 0) stop();
    }
    atoll__library_unlock();
    return status;
}

void atoll__library_abandon(uint32_t opens) {
    atoll__library_lock();
    assert(opens <= library.users);
    library.users -= opens;
    /* The last one to go leaves the library running: engines must not be closed on a thread that
     * is being torn down. The next atoll_open finds it as it is. */
    atoll__library_unlock();
}

/* A process that ends without atoll_close leaves no folder behind. */
__attribute__((destructor)) static void folder_remove(void) {
    if (library.folder[0] != '\0') atoll__prim_folder_remove(library.folder);
}
