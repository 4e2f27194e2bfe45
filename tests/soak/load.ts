/**
 * A process of its own for `soak.ts`: the native engine at full load for so many seconds, a sample a
 * line, and at the end what is left once everything was unloaded.
 *
 * `load.ts SECONDS CACHE`. Owns: what the load is made of. Must not know what counts as a leak.
 */
import { readdirSync, readFileSync, writeSync } from "node:fs";
import process from "node:process";
import { buildNative, findNative } from "../../native/build/build.ts";
import { AtollError, type ErrorCode } from "../../src/core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/core/limits.ts";
import { openNativeSandbox } from "../../src/sandbox/native.ts";
import type { CallOptions, LoadedComponent } from "../../src/sandbox/sandbox.ts";
import { fixtureBytes } from "../fixtures/build.ts";
import type { Sample } from "./trend.ts";

/** What is left of the load at the end; each must be 0. */
export type Left = Readonly<Record<string, number>>;
export type Line = { readonly sample: Sample } | { readonly left: Left };

/** Callers of plugins that stay loaded, and those that load plugins of their own. */
const CALLERS = 24;
const CHURNERS = 2;

const LIMITS: Limits = {
  ...DEFAULT_LIMITS,
  // What guests hold at a moment is not to hide what the host keeps.
  memoryBytes: 8 * 1024 * 1024,
  cpuMs: 20,
  wallMs: 500,
  concurrency: 16,
};

const seconds = Number(process.argv[2]);
const libraries = await findNative() ?? await buildNative(() => {});
const engine = { instances: 100, workerThreads: 2, cacheBytes: 64 * 1024 * 1024 };
const sandbox = await openNativeSandbox({ libraries, engine, cacheDir: process.argv[3] ?? "" });
const bytes = { echo: await fixtureBytes("echo"), hostile: await fixtureBytes("hostile") };
const end = performance.now() + seconds * 1000;
const count = { calls: 0, loads: 0 };

const load = (name: keyof typeof bytes) =>
  sandbox.load({ id: name, bytes: bytes[name], limits: LIMITS, onLog: () => {} });

/** A call that may end in these ways besides an answer; another one ends the process. */
async function call(
  component: LoadedComponent,
  name: string,
  args: unknown,
  endings: readonly ErrorCode[],
  options: CallOptions = {},
): Promise<void> {
  const index = component.functions.findIndex((each) => each.name === name);
  try {
    await component.call(index, JSON.stringify(args), options);
  } catch (thrown) {
    if (!(thrown instanceof AtollError) || !endings.includes(thrown.code)) throw thrown;
  }
  count.calls++;
}

/** One call of each kind, and how it may end. */
async function round(component: Record<keyof typeof bytes, LoadedComponent>, turn: number) {
  const { echo, hostile } = component;
  // Time passes in the queue too, and what is unloaded at this moment refuses calls.
  const busy: ErrorCode[] = ["overloaded", "deadline", "closed", "limit"];
  await call(echo, ECHO.name, ECHO.args(turn), busy);
  await call(hostile, "trap", {}, [...busy, "trap"]);
  if (turn % 4 === 0) await call(hostile, "spin", {}, busy);
  if (turn % 4 === 1) {
    const signal = AbortSignal.timeout(turn % 7);
    await call(hostile, "spin", {}, [...busy, "cancelled"], { signal });
  }
  if (turn % 4 === 2) await call(hostile, "grow", {}, [...busy, "trap"]);
}

const ECHO = {
  name: "of-string",
  args: (turn: number) => ({ value: "x".repeat(turn % 3 === 0 ? 100_000 : 100) }),
};

async function caller(component: Record<keyof typeof bytes, LoadedComponent>, offset: number) {
  for (let turn = offset; performance.now() < end; turn++) {
    await round(component, turn);
    // Calls that end inline give the event loop no turn.
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

/** Loads, calls and unloads while calls run. */
async function churner(offset: number) {
  for (let turn = offset; performance.now() < end; turn++) {
    const own = { echo: await load("echo"), hostile: await load("hostile") };
    const calls = [round(own, turn), round(own, turn + 1)];
    if (turn % 2 === 0) await Promise.all(calls);
    await Promise.all([own.echo.unload(), own.hostile.unload()]);
    await Promise.all(calls);
    count.loads += 2;
  }
}

function sample(second: number): Sample {
  const status = readFileSync("/proc/self/status", "utf8");
  const rssMiB = Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 102.4) / 10;
  const descriptors = readdirSync("/proc/self/fd").length;
  const threads = readdirSync("/proc/self/task").length;
  const taken = { second, rssMiB, descriptors, threads, ...count };
  count.calls = count.loads = 0;
  return taken;
}

function say(line: Line): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

/** What is still held; calls that were cut off give back a moment later. */
async function left(): Promise<Left> {
  for (let tries = 0;; tries++) {
    const { callsInFlight, extentsUsed, targets, plugins } = sandbox.stats();
    const { components, instancesKept, pool } = await sandbox.engineStats();
    const { componentInstances, coreInstances, memories, tables, stacks } = pool;
    const held = { callsInFlight, extentsUsed, targets, plugins, components, instancesKept };
    const all: Left = { ...held, componentInstances, coreInstances, memories, tables, stacks };
    if (tries === 200 || Object.values(all).every((value) => value === 0)) return all;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const resident = { echo: await load("echo"), hostile: await load("hostile") };
let second = 0;
const timer = setInterval(() => say({ sample: sample(++second) }), 1000);
await Promise.all([
  ...Array.from({ length: CALLERS }, (_, index) => caller(resident, index)),
  ...Array.from({ length: CHURNERS }, (_, index) => churner(index)),
]);
clearInterval(timer);
await Promise.all([resident.echo.unload(), resident.hostile.unload()]);
say({ left: await left() });
await sandbox.close();
