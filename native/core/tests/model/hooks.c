/* What gcc -fsanitize=thread makes of each access to memory: calls, answered here in place of the
 * sanitizer's library.
 *
 * Owns: their names. Must not know what an access means. */
#include "memory.h"

static uint64_t add(uint64_t old, uint64_t operand) {
    return old + operand;
}
static uint64_t subtract(uint64_t old, uint64_t operand) {
    return old - operand;
}
static uint64_t take(uint64_t old, uint64_t operand) {
    (void)old;
    return operand;
}

void __tsan_init(void);
void __tsan_func_entry(void *from);
void __tsan_func_exit(void);
void __tsan_init(void) {
}
void __tsan_func_entry(void *from) {
    (void)from;
}
void __tsan_func_exit(void) {
}

/* The compiler's part of a fence: the fibres' instructions stay in their order. */
void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_signal_fence(int order) {
    (void)order;
}

#define PLAIN(bytes)                                                                        \
    void __tsan_read##bytes(void *at);                                                      \
    void __tsan_write##bytes(void *at);                                                     \
    void __tsan_unaligned_read##bytes(void *at);                                            \
    void __tsan_unaligned_write##bytes(void *at);                                           \
    void __tsan_read##bytes(void *at) {                                                     \
        memory_plain(at, bytes, false);                                                     \
    }                                                                                       \
    void __tsan_write##bytes(void *at) {                                                    \
        memory_plain(at, bytes, true);                                                      \
    }                                                                                       \
    void __tsan_unaligned_read##bytes(void *at) {                                           \
        memory_plain(at, bytes, false);                                                     \
    }                                                                                       \
    void __tsan_unaligned_write##bytes(void *at) {                                          \
        memory_plain(at, bytes, true);                                                      \
    }

PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

void __tsan_read_range(void *at, unsigned long bytes);
void __tsan_write_range(void *at, unsigned long bytes);
void __tsan_read_range(void *at, unsigned long bytes) {
    memory_plain(at, bytes, false);
}
void __tsan_write_range(void *at, unsigned long bytes) {
    memory_plain(at, bytes, true);
}

#define ATOMIC(bits, type)                                                                  \
    type __tsan_atomic##bits##_load(const volatile type *at, int order);                    \
    void __tsan_atomic##bits##_store(volatile type *at, type value, int order);             \
    type __tsan_atomic##bits##_exchange(volatile type *at, type value, int order);          \
    type __tsan_atomic##bits##_fetch_add(volatile type *at, type value, int order);         \
    type __tsan_atomic##bits##_fetch_sub(volatile type *at, type value, int order);         \
    int __tsan_atomic##bits##_compare_exchange_weak(                                        \
        volatile type *at, type *expected, type value, int order, int otherwise);           \
    int __tsan_atomic##bits##_compare_exchange_strong(                                      \
        volatile type *at, type *expected, type value, int order, int otherwise);           \
    type __tsan_atomic##bits##_load(const volatile type *at, int order) {                   \
        return (type)memory_load(at, bits / 8, order);                                      \
    }                                                                                       \
    void __tsan_atomic##bits##_store(volatile type *at, type value, int order) {            \
        memory_store(at, bits / 8, value, order);                                           \
    }                                                                                       \
    type __tsan_atomic##bits##_exchange(volatile type *at, type value, int order) {         \
        return (type)memory_modify(at, bits / 8, value, order, take);                       \
    }                                                                                       \
    type __tsan_atomic##bits##_fetch_add(volatile type *at, type value, int order) {        \
        return (type)memory_modify(at, bits / 8, value, order, add);                        \
    }                                                                                       \
    type __tsan_atomic##bits##_fetch_sub(volatile type *at, type value, int order) {        \
        return (type)memory_modify(at, bits / 8, value, order, subtract);                   \
    }                                                                                       \
    int __tsan_atomic##bits##_compare_exchange_weak(                                        \
        volatile type *at, type *expected, type value, int order, int otherwise) {          \
        return memory_exchange(at, bits / 8, expected, value, order, otherwise);            \
    }                                                                                       \
    int __tsan_atomic##bits##_compare_exchange_strong(                                      \
        volatile type *at, type *expected, type value, int order, int otherwise) {          \
        return memory_exchange(at, bits / 8, expected, value, order, otherwise);            \
    }

ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)
