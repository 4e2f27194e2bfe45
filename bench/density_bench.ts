/**
 * What does a plugin hold while nobody calls it, and an instance while its call waits?
 *
 * Owns: the cases idle (so many plugins, each of other bytes) and parked (so many instances of
 * `hostile`, each in a call that sleeps). Both are memory of this process that no file backs, as
 * /proc/self/smaps_rollup counts it, before and after; idle without the compiled code itself, which
 * is counted by the files in the cache. A plugin's and an instance's own share is so small that the
 * runtime's heap may shrink by more in a small run.
 */
import { Buffer } from "node:buffer";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Engine } from "../ffi/mod.ts";
import { buildNative, findNative } from "../native/build/build.ts";
import { fixture } from "../tests/fixtures/build.ts";
import type { Bench } from "./harness.ts";

const NAP_MS = 20_000;
const KIB = 1024;

export async function run(bench: Bench): Promise<void> {
  const [plugins, instances] = bench.small ? [10, 20] : [1_000, 2_000];
  const [text, hostile] = [await fixture("text"), await fixture("hostile")];
  const libraries = await findNative() ?? await buildNative();
  const cacheDir = mkdtempSync(join(tmpdir(), "atoll-density-"));
  const engine = await Engine.open({ libraries, cacheDir, instances });
  try {
    bench.header({ plugins, "instances in flight": instances });
    await bench.ask({
      case: "idle",
      unit: "KiB",
      better: "lower",
      about: "a plugin that nobody calls, beyond its compiled code",
      rounds: 1,
      atoll: { name: "plugin", measure: () => idle(engine, cacheDir, text, plugins) },
      peers: [],
    });
    await bench.ask({
      case: "parked",
      unit: "KiB",
      better: "lower",
      about: "an instance whose call waits in the host",
      rounds: 1,
      atoll: { name: "instance", measure: () => parked(engine, hostile, instances) },
      peers: [],
    });
  } finally {
    await engine.close();
    rmSync(cacheDir, { recursive: true });
  }
}

/** KiB for each of so many plugins. */
async function idle(engine: Engine, cacheDir: string, path: string, count: number) {
  const bytes = readFileSync(path);
  // The first one has what all others share.
  await engine.load(named(bytes, "first"), { id: "first" });
  const [before, codeBefore] = [anonymousBytes(), filesBytes(cacheDir)];
  for (let i = 0; i < count; i++) await engine.load(named(bytes, `plugin ${i}`), { id: `p${i}` });
  const code = filesBytes(cacheDir) - codeBefore;
  return share(anonymousBytes() - before - code, count);
}

/** KiB for each of so many instances. */
async function parked(engine: Engine, path: string, count: number) {
  const limits = { concurrency: count, queue: count, wallMs: 4 * NAP_MS };
  const component = await engine.load(readFileSync(path), { id: "hostile", limits });
  await component.call("sleep", { ms: 1 });
  const before = anonymousBytes();
  const end = new AbortController();
  const options = { signal: end.signal, detached: true };
  const calls = Array.from(
    { length: count },
    () => component.call("sleep", { ms: NAP_MS }, options),
  );
  const ended = Promise.allSettled(calls);
  while (engine.stats().callsInFlight < count) await delay(10);
  // In flight is also what has not begun yet: until memory stands still.
  let [held, last] = [anonymousBytes(), 0];
  while (held !== last) {
    await delay(300);
    [held, last] = [anonymousBytes(), held];
  }
  end.abort();
  await ended;
  return share(held - before, count);
}

function share(bytes: number, count: number): number {
  // Less than nothing is the runtime's own heap.
  return Math.max(bytes / count / KIB, Number.EPSILON);
}

/** The component with a name of its own: other bytes, and so another plugin. */
function named(component: Uint8Array, name: string): Uint8Array {
  const text = new TextEncoder().encode(name);
  // A custom section: its id, its length, the length of its name, its name.
  return Buffer.concat([component, Uint8Array.of(0, text.length + 1, text.length), text]);
}

function anonymousBytes(): number {
  const text = readFileSync("/proc/self/smaps_rollup", "utf8");
  return Number(/^Anonymous:\s+(\d+) kB$/m.exec(text)?.[1]) * KIB;
}

function filesBytes(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}
