/**
 * What does it cost to take a slot of the arena and to give it back, beside general allocators?
 *
 * Owns: the cases `same-thread` and `cross-thread`, and each of them by class. A pair is one take, a
 * write of the first 8 bytes, one give. `same-thread` is eight pairs, then eight takes and eight
 * gives, in turn; in `cross-thread` one thread takes and the other reads and gives what comes by a
 * ring, each on a processor of its own. The figure without a class is the geometric mean of the six.
 * The loops are `native/slab.c`; a peer is put in front of the C library's malloc, as its own
 * documentation says, and the program checks that malloc is the peer's.
 */
import { execFileSync } from "node:child_process";
import type { Bench, Contender } from "./harness.ts";
import { coreProgram } from "./native/programs.ts";

const CLASSES = [64, 256, 1024, 4096, 16384, 65536];
const PEERS: readonly (readonly [name: string, library: string])[] = [
  ["mimalloc", "libmimalloc.so.2"],
  ["jemalloc", "libjemalloc.so.2"],
  ["tcmalloc", "libtcmalloc_minimal.so.4"],
];
/** Pairs of each class in a round. */
const PAIRS = { "same-thread": 4_000_000, "cross-thread": 1_000_000 };
const PAIRS_SMALL = 20_000;

export async function run(bench: Bench): Promise<void> {
  const program = coreProgram("slab", ["-lm"]);
  bench.header({
    "pairs a round and class": bench.small
      ? PAIRS_SMALL
      : `${PAIRS["same-thread"]} same-thread, ${PAIRS["cross-thread"]} cross-thread`,
    pinned: "the thread that takes to processor 0, the other to 1",
    peers: PEERS.map(([, library]) => library).join(", "),
  });
  for (const kind of ["same-thread", "cross-thread"] as const) {
    const pairs = bench.small ? PAIRS_SMALL : PAIRS[kind];
    const atoll = new Program("atoll", [program, kind, String(pairs), "atoll"]);
    const peers = bench.small
      ? []
      : PEERS.map(([name, library]) => new Program(name, [program, kind, String(pairs), library]));
    await bench.ask({
      case: kind,
      unit: "ns",
      better: "lower",
      about: "geometric mean over the six classes",
      atoll: atoll.contender(kind, true),
      peers: peers.map((peer) => peer.contender(kind, true)),
    });
    for (const bytes of CLASSES) {
      const name = `${kind}-${bytes}`;
      await bench.ask({
        case: name,
        unit: "ns",
        better: "lower",
        about: `slots of ${bytes} bytes, of the same rounds`,
        atoll: atoll.contender(name, false),
        peers: peers.map((peer) => peer.contender(name, false)),
      });
    }
  }
}

/** One contender: a process a round tells the figures of all classes. */
class Program {
  /** By case, the values of rounds that nobody asked for yet. */
  readonly #values = new Map<string, number[]>();

  constructor(private readonly name: string, private readonly command: readonly string[]) {}

  /** @param runs whether asking runs the program; else it takes a value of an earlier round */
  contender(wanted: string, runs: boolean): Contender {
    return {
      name: this.name,
      measure: () => {
        if (runs) this.#run();
        const value = this.#values.get(wanted)?.shift();
        if (value === undefined) throw new Error(`${this.name} said nothing about ${wanted}`);
        return value;
      },
    };
  }

  #run(): void {
    const text = execFileSync(this.command[0]!, this.command.slice(1), { encoding: "utf8" });
    for (const line of text.trim().split("\n")) {
      const { case: name, value } = JSON.parse(line) as { case: string; value: number };
      const values = this.#values.get(name) ?? [];
      values.push(value);
      this.#values.set(name, values);
    }
  }
}
