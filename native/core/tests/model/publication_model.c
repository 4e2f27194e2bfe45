/* The publication: whole values, never an older one after a newer, no buffer written while held. */
#include <string.h>

#include "checker.h"
#include "publication.h"

#define READERS 2u
#define STRIDE ATOLL__PUBLICATION_WORDS(2u)

static atoll__publication_t cell;
static _Atomic uint64_t words[(READERS + 2u) * STRIDE];
static const atoll__publication_buffers_t buffers = {words, STRIDE, READERS + 2u, 2};

static void setup(void) {
    memset((void *)&cell, 0, sizeof cell);
    memset((void *)words, 0, sizeof words);
}

static void publish(uint64_t version) {
    atoll__publication_write(&cell, &buffers, (const uint64_t[]){version, 10 * version});
}

static void publish_two(void) {
    publish(1);
    publish(2);
}

/* Enough to overtake a reader in all of its attempts. */
static void publish_four(void) {
    publish_two();
    publish(3);
    publish(4);
}

static uint64_t read_whole(void) {
    uint64_t value[2];
    atoll__publication_read(&cell, &buffers, value);
    MODEL_CHECK(value[1] == 10 * value[0]);
    return value[0];
}

static void read_one(void) {
    (void)read_whole();
}

static void read_two(void) {
    uint64_t before = read_whole();
    MODEL_CHECK(read_whole() >= before);
}

static void check_two(void) {
    MODEL_CHECK(read_whole() == 2);
}

static void check_four(void) {
    MODEL_CHECK(read_whole() == 4);
}

MODEL(
    publication_one, "publication: a writer and a reader that it overtakes", .setup = setup,
    .bodies = {publish_four, read_one}, .check = check_four, .preemptions = MODEL_ALL,
    .bites = {
        "publication release", "publication acquire", "publication_reuse release",
        "publication_reuse acquire", "publication_left release", "publication_left acquire"})

MODEL(
    publication_two, "publication: two readers, one of them twice", .setup = setup,
    .bodies = {publish_two, read_two, read_one}, .check = check_two, .preemptions = 1,
    .bites = {"publication acquire"})
