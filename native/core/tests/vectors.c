/* Reads the vector files; see vectors.h and tests/corpus/wire/README.md. */
#include "vectors.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static const char *const faults[] = {
    "none",      "short",     "magic",    "version",   "kind",  "flags", "encoding", "length",
    "checksum",  "extension", "critical", "duplicate", "value", "parts", "clock",    "padding",
};

#define FAULTS (sizeof faults / sizeof faults[0])

const char *vector_fault_name(atoll_fault_t fault) {
    return fault < FAULTS ? faults[fault] : "?";
}

static atoll_fault_t fault_of(const char *name) {
    for (atoll_fault_t fault = 0; fault < FAULTS; fault++)
        if (strcmp(faults[fault], name) == 0) return fault;
    test_fail(__FILE__, __LINE__, name);
}

/* Appends hex digits up to a blank; returns what follows. */
static const char *hex_add(const char *text, uint8_t **bytes, size_t *size) {
    size_t digits = strspn(text, "0123456789abcdef");
    CHECK(digits % 2 == 0);
    *bytes = realloc(*bytes, *size + digits / 2 + 1);
    CHECK(*bytes != NULL);
    for (size_t i = 0; i < digits; i += 2) {
        char pair[3] = {text[i], text[i + 1], 0};
        (*bytes)[(*size)++] = (uint8_t)strtoul(pair, NULL, 16);
    }
    text += digits;
    return text + strspn(text, " ");
}

static const char *hex_fixed(const char *text, uint8_t *to, size_t wanted) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    text = hex_add(text, &bytes, &size);
    CHECK_EQUAL(size, wanted);
    memcpy(to, bytes, wanted);
    free(bytes);
    return text;
}

static uint64_t number(const char **text) {
    char *end;
    uint64_t value = strtoull(*text, &end, 10);
    CHECK(end != *text);
    *text = end;
    return value;
}

static void line_read(vector_t *vector, const char *key, const char *value) {
    size_t payload = vector->frame.payload_length;
    if (strcmp(key, "level") == 0) {
        vector->level = value[0] == 'h' ? ATOLL_LEVEL_HEADER
                                        : value[0] == 's' ? ATOLL_LEVEL_STRUCTURE : ATOLL_LEVEL_FULL;
    } else if (strcmp(key, "remote") == 0) {
        vector->remote = true;
    } else if (strcmp(key, "hex") == 0) {
        (void)hex_add(value, &vector->bytes, &vector->size);
    } else if (strcmp(key, "fault") == 0) {
        vector->fault = fault_of(value);
    } else if (strcmp(key, "payload") == 0) {
        (void)hex_add(value, &vector->payload, &payload);
        vector->frame.payload_length = (uint32_t)payload;
    } else if (strcmp(key, "trace") == 0) {
        vector->traced = true;
        value = hex_fixed(value, vector->trace.trace_id, 16);
        value = hex_fixed(value, vector->trace.span_id, 8);
        vector->trace.flags = (uint8_t)number(&value);
    } else if (strcmp(key, "deadline") == 0) {
        vector->timed = true;
        vector->deadline.clock = (uint8_t)number(&value);
        vector->deadline.at_ns = number(&value);
    } else if (strcmp(key, "part") == 0) {
        CHECK(vector->parts_count < VECTOR_PARTS_MAX);
        atoll_part_t *part = &vector->parts[vector->parts_count++];
        part->segment = (uint32_t)number(&value);
        part->slot = (uint32_t)number(&value);
        part->offset = (uint32_t)number(&value);
        part->length = (uint32_t)number(&value);
    } else {
        uint64_t known = number(&value);
        if (strcmp(key, "kind") == 0) vector->frame.kind = (uint8_t)known;
        else if (strcmp(key, "flags") == 0) vector->frame.flags = (uint16_t)known;
        else if (strcmp(key, "request_id") == 0) vector->frame.request_id = known;
        else if (strcmp(key, "target") == 0) vector->frame.target = (uint32_t)known;
        else if (strcmp(key, "budget_us") == 0) vector->frame.budget_us = (uint32_t)known;
        else if (strcmp(key, "length") == 0) vector->length = known;
        else test_fail(__FILE__, __LINE__, key);
    }
}

static void file_read(vector_t *vector, FILE *file) {
    static char line[16384];
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = 0;
        if (line[0] == '#' || line[0] == 0) continue;
        char *value = line + strcspn(line, " ");
        if (*value != 0) *value++ = 0;
        line_read(vector, line, value);
    }
    uint8_t *exact = malloc(vector->size == 0 ? 1 : vector->size);
    CHECK(exact != NULL);
    if (vector->size > 0) memcpy(exact, vector->bytes, vector->size);
    free(vector->bytes);
    vector->bytes = exact;
}

uint32_t vectors_each(void (*see)(const vector_t *vector)) {
    /* The tests run in native/core; ATOLL_CORPUS names the folder for who runs them elsewhere. */
    const char *named = getenv("ATOLL_CORPUS");
    const char *folder = named == NULL ? "../../tests/corpus/wire" : named;
    DIR *listing = opendir(folder);
    CHECK(listing != NULL);
    uint32_t count = 0;
    static vector_t vector;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        const char *end = strrchr(entry->d_name, '.');
        if (end == NULL || strcmp(end, ".frame") != 0) continue;
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        memset(&vector, 0, sizeof vector);
        (void)snprintf(vector.name, sizeof vector.name, "%.120s", entry->d_name);
        FILE *file = fopen(path, "r");
        CHECK(file != NULL);
        file_read(&vector, file);
        (void)fclose(file);
        see(&vector);
        free(vector.bytes);
        free(vector.payload);
        count++;
    }
    (void)closedir(listing);
    return count;
}
