/* Mappings: what was asked for, what was got, and that the answer is true. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#define MIB ((size_t)1 << 20)

static atoll__map_t map_make(atoll__map_options_t options) {
    atoll__map_t map;
    CHECK(atoll__prim_map(&options, &map) == 0);
    CHECK(map.bytes >= options.bytes);
    return map;
}

/* The signal that ends a child which touches that byte, 0: none does. */
static int touch_in_child(volatile uint8_t *byte) {
    (void)fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL);
        (void)signal(SIGBUS, SIG_DFL);
        *byte = 1;
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* How many bytes of a range are in memory. */
static size_t resident_bytes(uint8_t *start, size_t bytes) {
    unsigned char *pages = malloc(bytes / 4096);
    CHECK(pages != NULL && mincore(start, bytes, pages) == 0);
    size_t resident = 0;
    for (size_t i = 0; i < bytes / 4096; i++) resident += (size_t)(pages[i] & 1) * 4096;
    free(pages);
    return resident;
}

/* A number of /proc/self/status, in bytes. */
static size_t status_bytes(const char *key) {
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file != NULL);
    char line[128];
    size_t bytes = 0;
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0) bytes = strtoul(line + strlen(key), NULL, 10);
    (void)fclose(file);
    return bytes * 1024;
}

static bool text_has(const char *path, const char *word) {
    char text[256] = {0};
    FILE *file = fopen(path, "r");
    if (file == NULL) return false;
    bool has = fgets(text, sizeof text, file) != NULL && strstr(text, word) != NULL;
    (void)fclose(file);
    return has;
}

TEST(map_guard, "mapping: zeroed to the last byte, the pages on both sides cannot be touched") {
    atoll__map_t map = map_make((atoll__map_options_t){.bytes = 5 * 4096 - 7, .guard = true});
    CHECK_EQUAL(map.bytes, 5 * 4096);
    CHECK(map.guarded && map.descriptor == -1 && map.locked_bytes == 0 && !map.prefaulted);
    for (size_t i = 0; i < map.bytes; i++) CHECK_EQUAL(map.base[i], 0);
    CHECK_EQUAL(touch_in_child(map.base), 0);
    CHECK_EQUAL(touch_in_child(map.base + map.bytes - 1), 0);
    CHECK_EQUAL(touch_in_child(map.base - 1), SIGSEGV);
    CHECK_EQUAL(touch_in_child(map.base + map.bytes), SIGSEGV);
    atoll__prim_unmap(&map);
    CHECK(map.base == NULL);
}

TEST(map_refused, "mapping: nothing, too much, and files that do not fit are refused with errno") {
    atoll__map_t map;
    atoll__map_options_t options = {.bytes = 0};
    CHECK(atoll__prim_map(&options, &map) == -1 && errno == EINVAL);
    options.bytes = (size_t)1 << 60;
    CHECK(atoll__prim_map(&options, &map) == -1 && errno == ENOMEM);
    options.bytes = SIZE_MAX;
    CHECK(atoll__prim_map(&options, &map) == -1 && errno == ENOMEM);
    options = (atoll__map_options_t){
        .bytes = 4096, .backing = ATOLL__BACKING_FILE, .name = "/no/such/folder/file"};
    CHECK(atoll__prim_map(&options, &map) == -1 && errno == ENOENT);
    /* A peer's file that is too short would be a SIGBUS later. */
    atoll__map_t small = map_make(
        (atoll__map_options_t){.bytes = 4096, .backing = ATOLL__BACKING_SHARED, .name = "test"});
    options = (atoll__map_options_t){
        .bytes = 8192, .backing = ATOLL__BACKING_DESCRIPTOR, .descriptor = small.descriptor};
    CHECK(atoll__prim_map(&options, &map) == -1 && errno == EINVAL);
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    options.descriptor = pipes[0];
    CHECK(atoll__prim_map(&options, &map) == -1 && errno == EINVAL);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
    atoll__prim_unmap(&small);
}

TEST(map_shared, "mapping: what a child writes into shared memory is seen, private memory is not") {
    atoll__map_t shared = map_make(
        (atoll__map_options_t){
            .bytes = MIB, .backing = ATOLL__BACKING_SHARED, .name = "test", .guard = true});
    atoll__map_t private = map_make((atoll__map_options_t){.bytes = MIB});
    CHECK(shared.descriptor >= 0 && shared.guarded);
    (void)fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        memcpy(shared.base + MIB - 6, "child", 6);
        memcpy(private.base, "child", 6);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(memcmp(shared.base + MIB - 6, "child", 6) == 0);
    CHECK_EQUAL(private.base[0], 0);
    /* The other way in: by the descriptor, as a peer gets it. */
    atoll__map_t again = map_make(
        (atoll__map_options_t){
            .bytes = MIB, .backing = ATOLL__BACKING_DESCRIPTOR, .descriptor = shared.descriptor,
            .prefault = true});
    CHECK(again.base != shared.base && memcmp(again.base + MIB - 6, "child", 6) == 0);
    atoll__prim_unmap(&shared);
    again.base[0] = 7;
    atoll__prim_unmap(&again);
    atoll__prim_unmap(&private);
}

/* Whether a process that was given the descriptor can cut the file off. */
static bool child_can_truncate(int descriptor) {
    (void)fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(ftruncate(descriptor, 0) == 0 ? 1 : errno == EPERM ? 2 : 3);
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    CHECK(WEXITSTATUS(status) != 3);
    return WEXITSTATUS(status) == 1;
}

TEST(map_sealed, "mapping: a peer's descriptor is mapped only if nobody can cut the file off later") {
    atoll__map_t own = map_make(
        (atoll__map_options_t){.bytes = 8192, .backing = ATOLL__BACKING_SHARED, .name = "test"});
    atoll__map_t peer = map_make(
        (atoll__map_options_t){
            .bytes = 8192, .backing = ATOLL__BACKING_DESCRIPTOR, .descriptor = own.descriptor});
    CHECK(!child_can_truncate(own.descriptor) && !child_can_truncate(peer.descriptor));
    CHECK(ftruncate(own.descriptor, 16384) == -1 && errno == EPERM);
    CHECK(fcntl(peer.descriptor, F_ADD_SEALS, F_SEAL_WRITE) == -1 && errno == EPERM);
    peer.base[8191] = 9;
    CHECK_EQUAL(own.base[8191], 9);
    atoll__prim_unmap(&peer);
    atoll__prim_unmap(&own);
    /* Long enough now, and no longer. */
    int loose = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(loose >= 0 && ftruncate(loose, 8192) == 0);
    atoll__map_t map;
    atoll__map_options_t options = {
        .bytes = 8192, .backing = ATOLL__BACKING_DESCRIPTOR, .descriptor = loose};
    CHECK(fcntl(loose, F_ADD_SEALS, F_SEAL_GROW) == 0);
    CHECK(atoll__prim_map(&options, &map) == -1 && errno == EPERM);
    CHECK(child_can_truncate(loose));
    /* Sealed, but after it was cut off. */
    CHECK(fcntl(loose, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    CHECK(atoll__prim_map(&options, &map) == -1 && errno == EINVAL);
    (void)close(loose);
    /* Whole huge pages of it would be mapped, over what lies behind the mapping. */
    int huge = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
    if (huge >= 0) { /* else: a kernel without them */
        CHECK(ftruncate(huge, 2 << 20) == 0 && fcntl(huge, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
        options.descriptor = huge;
        options.huge = true;
        CHECK(atoll__prim_map(&options, &map) == -1 && errno == EINVAL);
        options.huge = false;
        (void)close(huge);
    }
    /* A file with a path cannot be sealed at all. */
    char path[512];
    (void)snprintf(path, sizeof path, "%s/map_test.loose", test_folder());
    options.descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(options.descriptor >= 0 && ftruncate(options.descriptor, 8192) == 0);
    CHECK(atoll__prim_map(&options, &map) == -1 && errno == EPERM);
    CHECK(close(options.descriptor) == 0 && unlink(path) == 0);
}

TEST(map_file, "mapping: a file keeps what was written, is its owner's alone, and no link is followed") {
    char path[512];
    char link[560];
    (void)snprintf(path, sizeof path, "%s/map_test.file", test_folder());
    (void)snprintf(link, sizeof link, "%s.link", path);
    (void)unlink(path);
    (void)unlink(link);
    atoll__map_options_t options = {
        .bytes = 3 * 4096, .backing = ATOLL__BACKING_FILE, .name = path, .guard = true};
    atoll__map_t map = map_make(options);
    memcpy(map.base + 2 * 4096, "kept", 4);
    atoll__prim_unmap(&map);
    struct stat status;
    CHECK(stat(path, &status) == 0);
    CHECK_EQUAL(status.st_size, 3 * 4096);
    CHECK_EQUAL(status.st_mode & 0777, 0600);
    /* Pre-faulting leaves alone what is there. */
    options.prefault = true;
    map = map_make(options);
    CHECK(memcmp(map.base + 2 * 4096, "kept", 4) == 0);
    atoll__prim_unmap(&map);
    CHECK(symlink(path, link) == 0);
    options.name = link;
    CHECK(atoll__prim_map(&options, &map) == -1 && errno == ELOOP);
    CHECK(unlink(link) == 0 && unlink(path) == 0);
}

TEST(map_huge, "mapping: huge pages are got where there are any, else plain ones, and it is said") {
    atoll__map_t map = map_make(
        (atoll__map_options_t){.bytes = 8 * MIB, .huge = true, .guard = true, .prefault = true});
    CHECK_EQUAL(map.page_bytes, map.pages == ATOLL__PAGES_PLAIN ? 4096 : 2 * MIB);
    const char *enabled = "/sys/kernel/mm/transparent_hugepage/enabled";
    if (text_has(enabled, "[madvise]") || text_has(enabled, "[always]")) {
        CHECK(map.pages != ATOLL__PAGES_PLAIN);
        CHECK_EQUAL((uintptr_t)map.base % (2 * MIB), 0);
    } else if (map.pages != ATOLL__PAGES_RESERVED) {
        CHECK_EQUAL(map.pages, ATOLL__PAGES_PLAIN);
    }
    CHECK(map.prefaulted);
    for (size_t i = 0; i < map.bytes; i += 4096) CHECK_EQUAL(map.base[i], 0);
    map.base[map.bytes - 1] = 1;
    if (map.guarded) CHECK_EQUAL(touch_in_child(map.base + map.bytes), SIGSEGV);
    atoll__prim_unmap(&map);
}

TEST(map_prefault, "mapping: pre-faulted memory is there at once, other memory when it is touched") {
    atoll__map_t lazy = map_make((atoll__map_options_t){.bytes = 4 * MIB});
    CHECK_EQUAL(resident_bytes(lazy.base, lazy.bytes), 0);
    atoll__map_t eager = map_make((atoll__map_options_t){.bytes = 4 * MIB, .prefault = true});
    CHECK(eager.prefaulted);
    CHECK_EQUAL(resident_bytes(eager.base, eager.bytes), eager.bytes);
    atoll__prim_unmap(&lazy);
    atoll__prim_unmap(&eager);
}

TEST(map_lock, "mapping: as much is locked as is said, and no more than the limit allows") {
    size_t before = status_bytes("VmLck:");
    atoll__map_t map = map_make((atoll__map_options_t){.bytes = 16 * MIB, .lock = true});
    CHECK(map.locked_bytes <= map.bytes && map.locked_bytes % 4096 == 0);
    CHECK_EQUAL(status_bytes("VmLck:") - before, map.locked_bytes);
    /* Locked memory is not given back, and nobody says it was. */
    if (map.locked_bytes == map.bytes) {
        map.base[0] = 1;
        CHECK_EQUAL(atoll__prim_discard(map.base, map.bytes, map.page_bytes), 0);
        CHECK_EQUAL(map.base[0], 1);
    }
    atoll__prim_unmap(&map);
    CHECK_EQUAL(status_bytes("VmLck:"), before);
}

TEST(map_numa, "mapping: memory is bound to nodes exactly where there is more than one") {
    const atoll__numa_t kinds[] = {ATOLL__NUMA_LOCAL, ATOLL__NUMA_INTERLEAVE};
    for (size_t i = 0; i < 2; i++) {
        atoll__map_t map = map_make((atoll__map_options_t){.bytes = MIB, .numa = kinds[i]});
        CHECK(map.numa_nodes >= 1);
        CHECK_EQUAL(map.bound, map.numa_nodes > 1);
        map.base[0] = 1;
        atoll__prim_unmap(&map);
    }
    atoll__map_t map = map_make((atoll__map_options_t){.bytes = MIB});
    CHECK(!map.bound);
    atoll__prim_unmap(&map);
}

TEST(map_discard, "mapping: whole pages are given back and read as zero, the rest stays") {
    atoll__map_t map = map_make((atoll__map_options_t){.bytes = 8 * 4096});
    memset(map.base, 5, map.bytes);
    CHECK_EQUAL(atoll__prim_discard(map.base + 100, 4096 * 3, 4096), 2 * 4096);
    /* Before reading, which maps the page of zeros. */
    CHECK_EQUAL(resident_bytes(map.base, map.bytes), 6 * 4096);
    CHECK_EQUAL(map.base[4095], 5);
    CHECK_EQUAL(map.base[4096], 0);
    CHECK_EQUAL(map.base[3 * 4096 - 1], 0);
    CHECK_EQUAL(map.base[3 * 4096], 5);
    CHECK_EQUAL(atoll__prim_discard(map.base + 1, 4096, 4096), 0);
    atoll__prim_unmap(&map);
}

TEST(map_arena, "mapping: the tests of the arena pass with every wish for its mapping as well") {
    (void)fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const char *wishes =
            "arena_huge=1\narena_prefault=1\narena_lock=1\narena_numa=interleave\n";
        int nowhere = open("/dev/null", O_WRONLY);
        /* The configuration is read once a process: this one has to be another. */
        if (dup2(nowhere, 1) == 1 && setenv("ATOLL_TEST_CONFIG", wishes, 1) == 0)
            (void)execl("/proc/self/exe", "core_test", test_folder(), "arena:", NULL);
        _exit(127);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_EQUAL(status, 0);
}

/* Lets this process map 8 GiB more than it has, whatever a sanitizer keeps mapped for itself. */
static void space_limit(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    CHECK(file != NULL && fscanf(file, "%lu", &pages) == 1 && fclose(file) == 0);
    rlim_t bytes = (rlim_t)pages * 4096 + ((rlim_t)8 << 30);
    CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){bytes, bytes}) == 0);
}

TEST(map_space, "mapping: an arena without address space is refused by its size and setting") {
    (void)fflush(stdout);
    if (getenv("ATOLL_TEST_SPACE") != NULL) {
        static const char config[] = "arena_bytes=68719476736";
        static const char wanted[] = "Cannot reserve the arena: no address space for 68719476736 bytes";
        space_limit();
        atoll_arena_info_t info;
        CHECK_EQUAL(
            atoll_open((const uint8_t *)config, sizeof config - 1, &info), ATOLL_NO_MEMORY);
        char text[512] = {0};
        (void)atoll_error_text((uint8_t *)text, sizeof text - 1);
        if (strstr(text, wanted) != text || strstr(text, "native.arena.bytes") == NULL)
            test_fail(__FILE__, __LINE__, text);
        return;
    }
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        /* Another process, because this one may have an arena already. */
        if (dup2(nowhere, 1) == 1 && setenv("ATOLL_TEST_SPACE", "1", 1) == 0)
            (void)execl("/proc/self/exe", "core_test", test_folder(), map_space_test.name, NULL);
        _exit(127);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_EQUAL(status, 0);
}
