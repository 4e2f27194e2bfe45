/**
 * A thread that calls a bad plugin again and again while it is told to: the neighbour of
 * `neighbours_bench.ts`.
 *
 * Owns: that loop, in an isolate and a client of its own. Must not know what is measured.
 */
import { readFileSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { Engine } from "../ffi/mod.ts";
import type { NativePaths } from "../native/build/cache.ts";

/** 1: run; 0: wait; -1: end. */
export const WORD_GOAL = 0;
/** Calls that were made. */
export const WORD_CALLS = 1;
export const WORDS = 2;

export interface NeighbourStart {
  readonly libraries: NativePaths;
  /** The plugin's component. */
  readonly path: string;
  /** What it is called with each time, however that ends. */
  readonly call: string;
  readonly json: string;
  readonly shared: SharedArrayBuffer;
}

async function run({ libraries, path, call, json, shared }: NeighbourStart): Promise<void> {
  const words = new Int32Array(shared);
  const engine = await Engine.open({ libraries });
  try {
    const plugin = await engine.load(readFileSync(path), { id: "neighbour" });
    parentPort?.postMessage("ready");
    for (;;) {
      const goal = Atomics.load(words, WORD_GOAL);
      if (goal < 0) return;
      if (goal === 0) Atomics.wait(words, WORD_GOAL, 0);
      else {
        try {
          const answer = plugin.callJson(call, json);
          if (answer instanceof Promise) await answer;
        } catch {
          // What is told of each is not asked for here.
        }
        Atomics.add(words, WORD_CALLS, 1);
      }
    }
  } finally {
    await engine.close();
    parentPort?.postMessage("closed");
  }
}

if (parentPort !== null) await run(workerData as NeighbourStart);
