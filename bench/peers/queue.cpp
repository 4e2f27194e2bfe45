// moodycamel's ConcurrentQueue, under the rules of bench/native/queue.c: with producer and consumer
// tokens, as its README advises. It is not linearizable: by its README it keeps the order of each
// producer, and none between producers.
#include <concurrentqueue/concurrentqueue.h>
#include <sched.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t capacity = 1024;
constexpr std::uint32_t spins_max = 64;

// Bounded by its own means: each producer's part holds the capacity at most.
struct Traits : moodycamel::ConcurrentQueueDefaultTraits {
    static constexpr std::size_t MAX_SUBQUEUE_SIZE = capacity;
};

using Queue = moodycamel::ConcurrentQueue<std::uint64_t, Traits>;

void bind_thread(unsigned index) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(index % 2, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

void wait_a_little(std::uint32_t &spins) {
    if (spins > spins_max) {
        std::this_thread::yield();
        return;
    }
    for (std::uint32_t i = 0; i < spins; i++) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("isb");
#endif
    }
    spins *= 2;
}

void produce(Queue &queue, moodycamel::ProducerToken &token, std::uint64_t values) {
    for (std::uint64_t value = 1; value <= values; value++)
        for (std::uint32_t spins = 1; !queue.enqueue(token, value);) wait_a_little(spins);
}

std::uint64_t consume(Queue &queue, moodycamel::ConsumerToken &token, std::uint64_t values) {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < values; i++) {
        std::uint64_t value;
        for (std::uint32_t spins = 1; !queue.try_dequeue(token, value);) wait_a_little(spins);
        sum += value;
    }
    return sum;
}

struct Tokens {
    std::vector<moodycamel::ProducerToken> producers;
    std::vector<moodycamel::ConsumerToken> consumers;
};

void pass(Queue &queue, Tokens &tokens, std::uint64_t values, unsigned pairs) {
    std::uint64_t each = values / pairs;
    std::vector<std::uint64_t> sums(pairs);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 2 * pairs; i++)
        threads.emplace_back([&, i] {
            bind_thread(i);
            if (i < pairs)
                produce(queue, tokens.producers[i], each);
            else
                sums[i - pairs] = consume(queue, tokens.consumers[i - pairs], each);
        });
    for (auto &thread : threads) thread.join();
    std::uint64_t sum = 0;
    for (auto part : sums) sum += part;
    if (sum != pairs * (each * (each + 1) / 2)) std::abort();
}

}  // namespace

int main(int count, char **arguments) {
    if (count != 3) return 2;
    std::string name = arguments[1];
    std::uint64_t values = std::strtoull(arguments[2], nullptr, 10);
    unsigned pairs = name == "mpmc-2x2" ? 2 : 1;
    Queue queue(capacity, pairs, 0);
    Tokens tokens;
    for (unsigned i = 0; i < pairs; i++) {
        tokens.producers.emplace_back(queue);
        tokens.consumers.emplace_back(queue);
    }
    pass(queue, tokens, values / 4 + pairs, pairs);
    auto begin = std::chrono::steady_clock::now();
    pass(queue, tokens, values, pairs);
    double nanoseconds =
        std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
    std::printf(
        "{\"case\":\"%s\",\"value\":%.4f}\n", name.c_str(), nanoseconds / double(values));
    return 0;
}
