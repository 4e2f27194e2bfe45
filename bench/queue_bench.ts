/**
 * What does it cost to pass a value from one thread to another through Atoll's queues?
 *
 * Owns: the cases and their peers. Values are 64 bits, every queue holds 1024 of them, and thread i
 * is bound to processor i % 2: with two pairs, two threads share each processor, for everybody the
 * same way. Who finds the queue full or empty pauses 1, 2, 4 … 64 times and then yields.
 */
import type { Bench } from "./harness.ts";
import { byProgram, coreProgram, cppPeer, rustPeer } from "./native/programs.ts";

const CASES = [
  { case: "mpmc-1x1", about: "one producer, one consumer, the queue for many of both" },
  { case: "mpmc-2x2", about: "two producers, two consumers, two processors" },
  { case: "spsc", about: "one producer, one consumer, the ring for one of each" },
] as const;

export async function run(bench: Bench): Promise<void> {
  const values = String(bench.small ? 20_000 : 3_000_000);
  const program = coreProgram("queue");
  const crossbeam = bench.small ? null : rustPeer("queue");
  const moodycamel = bench.small ? null : cppPeer("queue.cpp");
  bench.header({ "values a round": values, capacity: 1024 });
  for (const question of CASES) {
    const peers = [];
    const args = [question.case, values];
    if (crossbeam) peers.push(byProgram("crossbeam ArrayQueue", crossbeam, args));
    if (moodycamel) {
      peers.push(byProgram("moodycamel ConcurrentQueue (not linearizable)", moodycamel, args));
    }
    await bench.ask({
      ...question,
      about: `${question.about}, time a value`,
      unit: "ns",
      better: "lower",
      atoll: byProgram("atoll", program, args),
      peers,
    });
  }
}
