/**
 * What does a light plugin keep of its throughput while a bad one runs on another thread?
 *
 * Owns: the cases trap, recurse and fill, each with the light plugin on this thread and the bad one on
 * a thread of its own, both calling inline in one process and one engine; the peer is the light plugin
 * alone. Aim: 0.85 beside one that traps or recurses; what fills its memory takes the kernel's locks on
 * the process's memory, and that is only shown. And the case after: the light calls that a plugin makes
 * after a greedy one of its own, beside those that it makes otherwise.
 */
import { readFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { type Component, Engine } from "../ffi/mod.ts";
import { buildNative, findNative } from "../native/build/build.ts";
import { fixture } from "../tests/fixtures/build.ts";
import { PAYLOAD_BYTES } from "./bare_call.ts";
import { type Bench, BenchError, type Contender } from "./harness.ts";
import { type NeighbourStart, WORD_CALLS, WORD_GOAL, WORDS } from "./neighbour_worker.ts";

/** What the bad one does in each of its calls. */
const NEIGHBOURS: Readonly<Record<string, readonly [call: string, args: object, about: string]>> = {
  trap: ["trap", {}, "beside a plugin that traps"],
  recurse: ["recurse", {}, "beside a plugin that recurses to the end of its stack"],
  fill: ["allocate", { bytes: 32 * 1024 * 1024 }, "beside a plugin that fills 32 MiB a call"],
};

export async function run(bench: Bench): Promise<void> {
  const ms = bench.small ? 50 : 1_000;
  const libraries = await findNative() ?? await buildNative();
  const engine = await Engine.open({ libraries });
  bench.header({ "milliseconds a round": ms, payload: `${PAYLOAD_BYTES} bytes` });
  try {
    const light = await engine.load(readFileSync(await fixture("text")), { id: "text" });
    const bad = await fixture("hostile");
    for (const [name, [call, args, about]] of Object.entries(NEIGHBOURS)) {
      const start = { libraries, path: bad, call, json: JSON.stringify(args) };
      const neighbour = await Neighbour.open(start);
      try {
        await bench.ask({
          case: name,
          unit: "calls/s",
          better: "higher",
          about,
          atoll: {
            name: "beside",
            measure: () => neighbour.during(() => throughput(light, ms)),
          },
          peers: [{ name: "alone", measure: () => throughput(light, ms) }],
        });
      } finally {
        await neighbour.close();
      }
      bench.note(`  the neighbour made ${neighbour.calls} calls`);
    }
    await askAfter(bench, await engine.load(readFileSync(bad), { id: "hostile" }));
  } finally {
    await engine.close();
  }
}

/** Calls a second on this thread. */
async function throughput(light: Component, ms: number): Promise<number> {
  const payload = new Uint8Array(PAYLOAD_BYTES).fill(97);
  const begin = performance.now();
  let calls = 0;
  let passed = 0;
  while (passed < ms) {
    let answer = light.callBytes("reverse", payload);
    if (answer instanceof Promise) answer = await answer;
    if (answer.length !== PAYLOAD_BYTES) throw new Error("a wrong answer");
    calls += 1;
    passed = performance.now() - begin;
  }
  return calls * 1000 / passed;
}

/** The light calls of a plugin after its greedy one, against the same without it. */
async function askAfter(bench: Bench, plugin: Component): Promise<void> {
  const calls = bench.small ? 20 : 1_000;
  const greedy = JSON.stringify({ bytes: 32 * 1024 * 1024 });
  const light = (name: string, before: () => Promise<void>): Contender => ({
    name,
    measure: async () => {
      await before();
      const begin = performance.now();
      for (let i = 0; i < calls; i++) await plugin.callJson("calls-before", "{}");
      return (performance.now() - begin) * 1000 / calls;
    },
  });
  await bench.ask({
    case: "after",
    unit: "us",
    better: "lower",
    about: `${calls} light calls of a plugin after one that filled 32 MiB`,
    atoll: light("after a greedy call", async () => {
      for (let i = 0; i < 3; i++) await plugin.callJson("allocate", greedy);
    }),
    peers: [light("as usual", async () => {})],
  });
}

/** The thread with the bad plugin. It runs while it has a goal. */
class Neighbour {
  readonly #words: Int32Array;

  private constructor(private readonly worker: Worker, words: Int32Array) {
    this.#words = words;
  }

  static async open(start: Omit<NeighbourStart, "shared">): Promise<Neighbour> {
    const shared = new SharedArrayBuffer(WORDS * 4);
    const workerData: NeighbourStart = { ...start, shared };
    const worker = new Worker(new URL("./neighbour_worker.ts", import.meta.url), { workerData });
    await new Promise<void>((resolve, reject) => {
      worker.once("message", () => resolve());
      worker.once("error", reject);
      worker.once("exit", () => reject(new BenchError("the neighbour's thread ended")));
    });
    return new Neighbour(worker, new Int32Array(shared));
  }

  /** Calls that it made. */
  get calls(): number {
    return Atomics.load(this.#words, WORD_CALLS);
  }

  /** Does something while the bad plugin runs; it has run at least once before. */
  async during<T>(body: () => Promise<T>): Promise<T> {
    const before = this.calls;
    this.#goal(1);
    while (this.calls === before) await new Promise((resolve) => setTimeout(resolve, 1));
    try {
      return await body();
    } finally {
      this.#goal(0);
    }
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.worker.once("message", () => resolve()));
    this.#goal(-1);
    await closed;
    await this.worker.terminate();
  }

  #goal(goal: number): void {
    Atomics.store(this.#words, WORD_GOAL, goal);
    Atomics.notify(this.#words, WORD_GOAL);
  }
}
