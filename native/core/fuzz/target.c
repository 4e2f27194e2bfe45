/* A libFuzzer target: FUZZ_INPUT is the property (fuzz.h) that each input is held against.
 *
 * Owns: what takes the place of the tests' runner. Must not know what is checked. */
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "harness.h"

/* libFuzzer's names: https://llvm.org/docs/LibFuzzer.html */
int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[400];
static char engine_path[512];

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count;
    char program[400];
    char *absolute = realpath((*arguments)[0], NULL);
    CHECK(absolute != NULL && strlen(absolute) < sizeof program);
    (void)snprintf(program, sizeof program, "%s", absolute);
    free(absolute);
    (void)snprintf(folder, sizeof folder, "%s", dirname(program));
    (void)snprintf(engine_path, sizeof engine_path, "%s/test_engine.so", folder);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    FUZZ_INPUT(data, size);
    return 0;
}

_Noreturn void test_fail(const char *file, int line, const char *text) {
    fprintf(stderr, "# %s:%d: %s\n", file, line, text);
    abort();
}

const char *test_folder(void) {
    return folder;
}

const char *test_engine_path(void) {
    return engine_path;
}
