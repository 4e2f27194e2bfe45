/**
 * A process of its own for `soak.ts`: the native engine at full load for so many seconds, a sample a
 * line, and at the end what is left once everything was unloaded.
 *
 * `load.ts SECONDS CACHE`. Owns: what the load is made of. Must not know what counts as a leak.
 */
import process from "node:process";
import { buildNative, findNative } from "../../native/build/build.ts";
import { AtollError, type ErrorCode } from "../../src/core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/core/limits.ts";
import { openNativeSandbox } from "../../src/sandbox/native.ts";
import type { CallOptions, LoadedComponent } from "../../src/sandbox/sandbox.ts";
import { fixtureBytes } from "../fixtures/build.ts";
import { leftIn, type Progress, sayEachSecond, sayLeft } from "./measure.ts";

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
const count: Progress = { calls: 0, loads: 0 };

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

const resident = { echo: await load("echo"), hostile: await load("hostile") };
const done = sayEachSecond(count);
await Promise.all([
  ...Array.from({ length: CALLERS }, (_, index) => caller(resident, index)),
  ...Array.from({ length: CHURNERS }, (_, index) => churner(index)),
]);
done();
await Promise.all([resident.echo.unload(), resident.hostile.unload()]);
sayLeft(await leftIn(sandbox));
await sandbox.close();
