/**
 * What does a call cost under each isolation, beside the same call made with wasmtime alone?
 *
 * Owns: the cases call, reuse, actor and keys, whose guest is `reverse` of the shipped plugin `text`,
 * and call, reuse and actor of each language, whose guest is `echo` of its fixture.
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
import { fixture, type FixtureName, lacking, LANGUAGES } from "../tests/fixtures/build.ts";
import { barePeers, inline, PAYLOAD_BYTES, PROCESSOR, timed, WARM_CALLS } from "./bare_call.ts";
import { type Bench, type Contender, pin } from "./harness.ts";

const KEYS = 16;
/** So many that making an instance is a small part of a call. */
const CALLS_AN_INSTANCE = 1_000;
const IDLE_MS = 60_000;

/** A round of a language's fresh calls takes about so long, and has no fewer calls. */
const ROUND_US = 200_000;
const CALLS_LEAST = 5;

/** The others take an engine many seconds to compile. */
const LANGUAGES_SMALL: readonly FixtureName[] = ["lang-quickjs"];

/** Imports wasi:http, which the peer does not have. */
const BARE_LACKS: ReadonlySet<FixtureName> = new Set(["lang-starlingmonkey"]);

type Mode = readonly [about: string, isolation: ComponentIsolation];

const MODES: readonly [Mode, ...Mode[]] = [
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
  for (const name of bench.small ? LANGUAGES_SMALL : LANGUAGES) {
    const why = await lacking(name);
    if (why === null) await askLanguage(bench, libraries, name, calls);
    else bench.note(`\nskipped ${name}: ${why}`);
  }
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

async function askLanguage(
  bench: Bench,
  libraries: NativePaths,
  name: FixtureName,
  most: number,
): Promise<void> {
  const path = await fixture(name);
  const engine = await Engine.open({ libraries });
  try {
    const load = async (isolation: ComponentIsolation) =>
      await engine.load(readFileSync(path), { id: name, isolation });
    const fresh = await load(MODES[0][1]);
    // The slowest of them takes a thousand times as long as the quickest.
    const once = Number(await inline(fresh, 1, "echo").measure());
    const calls = Math.min(most, Math.max(CALLS_LEAST, Math.round(ROUND_US / once)));
    const bare = bench.small || BARE_LACKS.has(name)
      ? []
      : barePeers(path, calls, { "bare-async": "bare-async" }, PROCESSOR, "echo");
    const call = { ...inline(fresh, calls, "echo"), name: "call" };
    const ask = async (mode: string, about: string, atoll: Contender, peers: Contender[]) =>
      await bench.ask({
        case: `${name} ${mode}`,
        unit: "us",
        better: "lower",
        about,
        atoll,
        peers,
      });
    await ask("call", MODES[0][0], inline(fresh, calls, "echo"), bare);
    for (const [about, isolation] of MODES.slice(1)) {
      const kept = inline(await load(isolation), calls * WARM_CALLS, "echo");
      await ask(isolation.mode, about, kept, [call]);
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
