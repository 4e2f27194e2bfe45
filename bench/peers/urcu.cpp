// liburcu's memb flavour as a peer of the epoch case: its read side, inlined as it recommends.
// Arguments: case and operations, as bench/native/programs.ts expects.
#define _LGPL_SOURCE
#define URCU_INLINE_SMALL_FUNCTIONS
#include <urcu/urcu-memb.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

static void run(unsigned long operations) {
    for (unsigned long i = 0; i < operations; i++) {
        urcu_memb_read_lock();
        urcu_memb_read_unlock();
    }
}

int main(int count, char **arguments) {
    if (count < 3) return 2;
    unsigned long operations = std::strtoul(arguments[2], nullptr, 10);
    urcu_memb_register_thread();
    run(operations / 4 + 1);
    auto begin = std::chrono::steady_clock::now();
    run(operations);
    std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
    std::printf(
        "{\"case\":\"%s\",\"value\":%.4f}\n", arguments[1], took.count() / (double)operations);
    urcu_memb_unregister_thread();
}
