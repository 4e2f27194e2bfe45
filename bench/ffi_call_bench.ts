/**
 * What does a call from JavaScript cost beside the same call made with wasmtime alone?
 *
 * Owns: the cases fresh, warm and hop. The guest is `reverse` of the shipped plugin `text`, with 64
 * bytes in and out; the peers are `native/sandbox/examples/bare_call.rs`, with the same engine
 * configuration: bare-async as a server must run guests, with fibres and epochs, and bare-sync
 * without a fibre, which can neither wait nor be moved. Fresh is an instance a call; warm calls one
 * that is kept, the peers as well. Most of a hop is waking two threads, which one machine may do in
 * twice the time of the day before: its peer bare-hop has bare-async called by another thread.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { type Component, Engine, type Instance, type NativeStats } from "../ffi/mod.ts";
import { buildNative, findNative } from "../native/build/build.ts";
import { cacheFolder, CHECKOUT } from "../native/build/cache.ts";
import { fixture } from "../tests/fixtures/build.ts";
import { type Bench, type Contender, pin, pinned } from "./harness.ts";
import { noteShare } from "./share.ts";

const PAYLOAD_BYTES = 64;
const PROCESSOR = 0;
/** Warm calls for each fresh one: they are that much shorter; `bare_call` does the same. */
const WARM_CALLS = 10;
/** The cases of `bare_call` by the names they have as peers. */
const FRESH = { "bare-async": "bare-async", "bare-sync": "bare-sync" };
const WARM = { "bare-async": "bare-async-warm", "bare-sync": "bare-sync-warm" };
const HOP = { "bare-hop": "bare-hop" };

export async function run(bench: Bench): Promise<void> {
  const calls = bench.small ? 200 : 20_000;
  const libraries = await findNative() ?? await buildNative();
  const path = await fixture("text");
  const engine = await Engine.open({ libraries });
  const component = await engine.load(readFileSync(path), { id: "text" });
  const instance = await component.instantiate();
  try {
    const peers = bench.small ? [] : barePeers(path, calls, FRESH);
    bench.header({
      "calls a round": calls,
      payload: `${PAYLOAD_BYTES} bytes`,
      pinned: `fresh and warm and their peers to processor ${PROCESSOR}, hop not`,
    });
    const bound = bench.small ? false : pin(PROCESSOR);
    if (!bench.small && !bound) bench.note("  taskset is missing: nothing is pinned");
    const before = engine.stats();
    await bench.ask({
      case: "fresh",
      unit: "us",
      better: "lower",
      about: "a fresh instance and one list<u8> call, inline through FFI",
      atoll: inline(component, calls),
      peers,
    });
    const after = engine.stats();
    await bench.ask({
      case: "warm",
      unit: "us",
      better: "lower",
      about: "the same call of an instance that is kept, inline through FFI",
      atoll: inline(instance, calls * WARM_CALLS),
      peers: bench.small ? [] : barePeers(path, calls, WARM),
    });
    if (bound) pin(null);
    await bench.ask({
      case: "hop",
      unit: "us",
      better: "lower",
      about: "the fresh call, handed to the workers and awaited, one at a time",
      atoll: hop(component, calls >> 1),
      peers: bench.small ? [] : barePeers(path, calls >> 1, HOP, null),
    });
    noteShare(bench, {
      what: "a fresh call",
      ns: bench.results.find((line) => line.case === "fresh")!.value * 1000,
      slots: (slotsTaken(after) - slotsTaken(before)) / (callsOf(after) - callsOf(before)),
    });
    const { callsInline, callsMigrated } = engine.stats();
    bench.note(`\n  ${callsInline} calls ended inline, ${callsMigrated} on the workers`);
  } finally {
    await engine.close();
  }
}

function slotsTaken({ slotsTaken }: NativeStats): number {
  return slotsTaken.reduce((sum, count) => sum + count, 0);
}

function callsOf({ callsInline, callsMigrated }: NativeStats): number {
  return callsInline + callsMigrated;
}

function inline(callee: Component | Instance, calls: number): Contender {
  const payload = new Uint8Array(PAYLOAD_BYTES).fill(97);
  const round = async (): Promise<void> => {
    for (let i = 0; i < calls; i++) {
      let answer = callee.callBytes("reverse", payload);
      // A call that overran its slice; there are few, and they count.
      if (answer instanceof Promise) answer = await answer;
      if (answer.length !== PAYLOAD_BYTES) throw new Error("a wrong answer");
    }
  };
  return timed("atoll inline", calls, round);
}

function hop(component: Component, calls: number): Contender {
  const payload = new Uint8Array(PAYLOAD_BYTES).fill(97);
  const options = { detached: true };
  return timed("atoll detached", calls, async () => {
    for (let i = 0; i < calls; i++) {
      const answer = await component.callBytes("reverse", payload, options);
      if (answer.length !== PAYLOAD_BYTES) throw new Error("a wrong answer");
    }
  });
}

/** Microseconds a call. */
function timed(name: string, calls: number, round: () => Promise<void>): Contender {
  let warm = false;
  return {
    name,
    measure: async () => {
      if (!warm) await round();
      warm = true;
      const begin = performance.now();
      await round();
      return (performance.now() - begin) * 1000 / calls;
    },
  };
}

/**
 * The same call by wasmtime alone, on one processor unless `processor` is null; each round is a
 * process of its own, with a round to warm up.
 */
function barePeers(
  component: string,
  calls: number,
  cases: Readonly<Record<string, string>>,
  processor: number | null = PROCESSOR,
): Contender[] {
  const target = join(cacheFolder(), "cargo");
  execFileSync("cargo", [
    "build",
    "--release",
    "--locked",
    "--quiet",
    "--example",
    "bare_call",
    "--target-dir",
    target,
  ], { cwd: join(CHECKOUT, "native/sandbox"), stdio: ["ignore", "ignore", "inherit"] });
  const program = [
    join(target, "release/examples/bare_call"),
    component,
    "reverse",
    String(calls),
    "1",
  ];
  const command = processor === null ? program : pinned(processor, program);
  return Object.entries(cases).map(([name, printed]) => ({
    name,
    measure: () => {
      // A backtrace for each dropped store would cost the peer 3 µs.
      const { RUST_BACKTRACE: _, ...env } = process.env;
      const text = execFileSync(command[0]!, command.slice(1), { encoding: "utf8", env });
      const lines = text.trim().split("\n").map((line) =>
        JSON.parse(line) as { case: string; ns: number }
      );
      const own = lines.find((line) => line.case === printed);
      if (!own) throw new Error(`bare_call said nothing about ${printed}`);
      return own.ns / 1000;
    },
  }));
}
