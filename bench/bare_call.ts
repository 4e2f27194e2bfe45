/**
 * One call of `reverse` of the shipped plugin `text`, 64 bytes in and out: by Atoll inline, and by
 * wasmtime alone.
 *
 * Owns: how such a call is timed, and the peers `bare-async` and `bare-sync`
 * (`native/sandbox/examples/bare_call.rs`), with an instance a call or one that is kept. Must not
 * know which question is asked.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import type { Component, Instance } from "../ffi/mod.ts";
import { cacheFolder, CHECKOUT } from "../native/build/cache.ts";
import { type Contender, pinned } from "./harness.ts";

export const PAYLOAD_BYTES = 64;
export const PROCESSOR = 0;
/** Warm calls for each fresh one: they are that much shorter; `bare_call` does the same. */
export const WARM_CALLS = 10;
/** The cases of `bare_call` by the names they have as peers. */
export const FRESH = { "bare-async": "bare-async", "bare-sync": "bare-sync" };
export const WARM = { "bare-async": "bare-async-warm", "bare-sync": "bare-sync-warm" };
export const HOP = { "bare-hop": "bare-hop" };

/** The function of `text` that is called. */
const REVERSE = "reverse";

/** Calls by Atoll, on the thread of JavaScript; `fn` takes bytes and gives as many. */
export function inline(
  callee: Component | Instance,
  calls: number,
  fn = REVERSE,
): Contender {
  const payload = new Uint8Array(PAYLOAD_BYTES).fill(97);
  const round = async (): Promise<void> => {
    for (let i = 0; i < calls; i++) {
      let answer = callee.callBytes(fn, payload);
      // A call that overran its slice; there are few, and they count.
      if (answer instanceof Promise) answer = await answer;
      if (answer.length !== PAYLOAD_BYTES) throw new Error("a wrong answer");
    }
  };
  return timed("atoll inline", calls, round);
}

/** Microseconds a call. */
export function timed(name: string, calls: number, round: () => Promise<void>): Contender {
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
export function barePeers(
  component: string,
  calls: number,
  cases: Readonly<Record<string, string>>,
  processor: number | null = PROCESSOR,
  fn = REVERSE,
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
    fn,
    String(calls),
    "1",
    ...(Object.values(cases).some((printed) => printed.startsWith("library")) ? ["library"] : []),
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
