/**
 * What does a call cost under each isolation, beside the same call made with wasmtime alone?
 *
 * Owns: the cases call, reuse, actor and keys. The guest is `reverse` of the shipped plugin `text`.
 * The peers are bare-async with a fresh instance a call, and bare-async-warm with one that is kept
 * and looked up once: it knows neither keys nor limits that begin afresh, nor what to do when a call
 * goes wrong. `keys` takes turns among sixteen keys by the Sandbox's own door, against one key.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Component, type ComponentIsolation, Engine } from "../ffi/mod.ts";
import { buildNative, findNative } from "../native/build/build.ts";
import type { NativePaths } from "../native/build/cache.ts";
import { DEFAULT_LIMITS } from "../src/core/limits.ts";
import { openNativeSandbox } from "../src/sandbox/native.ts";
import type { LoadedComponent } from "../src/sandbox/sandbox.ts";
import { fixture } from "../tests/fixtures/build.ts";
import { barePeers, inline, PAYLOAD_BYTES, PROCESSOR, timed, WARM_CALLS } from "./bare_call.ts";
import { type Bench, type Contender, pin } from "./harness.ts";

const KEYS = 16;
/** So many that making an instance is a small part of a call. */
const CALLS_AN_INSTANCE = 1_000;
const IDLE_MS = 60_000;

const MODES: readonly (readonly [about: string, isolation: ComponentIsolation])[] = [
  ["a fresh instance for each call", { mode: "call" }],
  [
    `${CALLS_AN_INSTANCE} calls an instance`,
    { mode: "reuse", calls: CALLS_AN_INSTANCE, idleMs: IDLE_MS },
  ],
  ["one instance for all calls, one at a time", { mode: "actor", idleMs: null }],
];

export async function run(bench: Bench): Promise<void> {
  const calls = bench.small ? 200 : 20_000;
  const libraries = await findNative() ?? await buildNative();
  const path = await fixture("text");
  bench.header({
    "calls a round": `${calls}, ${calls * WARM_CALLS} where an instance is used again`,
    payload: `${PAYLOAD_BYTES} bytes`,
    pinned: `to processor ${PROCESSOR}`,
  });
  const bound = bench.small ? false : pin(PROCESSOR);
  if (!bench.small && !bound) bench.note("  taskset is missing: nothing is pinned");
  await askModes(bench, libraries, path, calls);
  await askKeys(bench, libraries, path, calls);
  if (bound) pin(null);
}

async function askModes(
  bench: Bench,
  libraries: NativePaths,
  path: string,
  calls: number,
): Promise<void> {
  const engine = await Engine.open({ libraries });
  const peersOf = (...cases: readonly string[]): Contender[] =>
    bench.small
      ? []
      : barePeers(path, calls, Object.fromEntries(cases.map((name) => [name, name])));
  try {
    const components: Component[] = [];
    for (const [, isolation] of MODES) {
      components.push(await engine.load(readFileSync(path), { id: "text", isolation }));
    }
    for (const [index, [about, { mode }]] of MODES.entries()) {
      const fresh = mode === "call";
      const own = inline(components[index]!, fresh ? calls : calls * WARM_CALLS);
      // Where an instance is used again, the fresh one shows what that is good for.
      const peers = fresh ? peersOf("bare-async") : peersOf("bare-async-warm", "bare-async");
      await bench.ask({ case: mode, unit: "us", better: "lower", about, atoll: own, peers });
    }
  } finally {
    await engine.close();
  }
}

async function askKeys(
  bench: Bench,
  libraries: NativePaths,
  path: string,
  calls: number,
): Promise<void> {
  const cacheDir = mkdtempSync(join(tmpdir(), "atoll-isolation-"));
  const engine = { instances: 1_000, workerThreads: 2 };
  const sandbox = await openNativeSandbox({ libraries, engine, cacheDir });
  try {
    const component = await sandbox.load({
      id: "text",
      bytes: readFileSync(path),
      limits: DEFAULT_LIMITS,
      isolation: { mode: "reuse", calls: CALLS_AN_INSTANCE, idleMs: IDLE_MS, shared: false },
    });
    await bench.ask({
      case: "keys",
      unit: "us",
      better: "lower",
      about: `reuse by JSON, ${KEYS} keys in turn against one`,
      atoll: keyed("sixteen keys", component, calls, KEYS),
      peers: [keyed("one key", component, calls, 1)],
    });
  } finally {
    await sandbox.close();
    rmSync(cacheDir, { recursive: true });
  }
}

function keyed(name: string, component: LoadedComponent, calls: number, keys: number): Contender {
  const options = Array.from({ length: keys }, (_, i) => ({ isolationKey: `key ${i}` }));
  const index = component.functions.findIndex((each) => each.name === "reverse");
  const json = JSON.stringify({ data: btoa("a".repeat(PAYLOAD_BYTES)) });
  return timed(name, calls, async () => {
    for (let i = 0; i < calls; i++) {
      let outcome = component.call(index, json, options[i % keys]);
      if (outcome instanceof Promise) outcome = await outcome;
      if (outcome.kind !== "ok") throw new Error("a wrong answer");
    }
  });
}
