/**
 * A process of its own for `components.ts`: offers packed components to the native engine, calls what
 * they export, and looks at the end whether anything of them is left.
 *
 * `offer.ts PACK FIRST CACHE [ONLY]`: the components of PACK have seeds from FIRST on. Says the seed
 * on a line before it is offered, so that whoever reads it knows which one ended this process.
 * Owns: what counts as a finding. Must not know how components are made.
 */
import { readdirSync, readFileSync, writeSync } from "node:fs";
import process from "node:process";
import { findNative } from "../../native/build/build.ts";
import { AtollError, type ErrorCode } from "../../src/core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/core/limits.ts";
import { type NativeSandbox, openNativeSandbox } from "../../src/sandbox/native.ts";
import type { LoadedComponent } from "../../src/sandbox/sandbox.ts";
import type { WitFunction } from "../../src/sandbox/wit/model.ts";
import { readWorld } from "../../src/sandbox/wit/resolve.ts";
import { argumentsFor, Random } from "./arguments.ts";

const LIMITS: Limits = {
  ...DEFAULT_LIMITS,
  memoryBytes: 32 * 1024 * 1024,
  cpuMs: 20,
  wallMs: 1_000,
  outputBytes: 64 * 1024,
  logBytes: 4 * 1024,
  concurrency: 4,
};

/** Functions of a component that are called, and how often. */
const FUNCTIONS_MAX = 8;
const CALLS_EACH = 3;

/** How a component may be refused, and how a call may end that is the guest's or the caller's fault. */
const REFUSALS: readonly ErrorCode[] = ["component", "unsupported", "too_large"];
const ENDINGS: readonly ErrorCode[] = [
  "invalid_argument",
  "too_large",
  "overloaded",
  "deadline",
  "cancelled",
  "limit",
  "trap",
  "unsupported",
];

/** Longest that anything of the components may be left behind, in milliseconds. */
const SETTLE_MS = 10_000;

export interface Tally {
  offered: number;
  loaded: number;
  calls: number;
  answered: number;
  /** Refusals and endings, by code. */
  readonly codes: Record<string, number>;
}

/** What `components.ts` reads, one object a line. */
export type Report =
  | { readonly at: number }
  | { readonly finding: string; readonly seed: number | null }
  | { readonly tally: Tally };

function say(report: Report): void {
  // At once: a line that waits in a buffer dies with the process.
  writeSync(1, `${JSON.stringify(report)}\n`);
}

const tally: Tally = { offered: 0, loaded: 0, calls: 0, answered: 0, codes: {} };

/** Counts an ending; one that must not be is a finding. */
function judge(thrown: unknown, allowed: readonly ErrorCode[], what: string, seed: number): void {
  if (!(thrown instanceof AtollError)) {
    const text = thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown);
    say({ finding: `${what}: not an AtollError: ${text}`, seed });
    return;
  }
  tally.codes[thrown.code] = (tally.codes[thrown.code] ?? 0) + 1;
  if (!allowed.includes(thrown.code)) {
    say({ finding: `${what}: ${thrown.code}: ${thrown.message}`, seed });
  } else if (thrown.message.trim().length < 5) {
    say({ finding: `${what}: ${thrown.code} without a message`, seed });
  }
}

/** The exported functions with their types, in the order of the component. */
function typesOf(component: LoadedComponent): readonly (WitFunction | undefined)[] {
  const { exports } = readWorld(component.wit);
  return component.functions.map(({ interface: owner, name }) => {
    for (const item of exports) {
      if (item.kind === "function" && owner === null && item.function.name === name) {
        return item.function;
      }
      if (item.kind === "interface" && item.name === owner) {
        return item.functions.find((each) => each.name === name);
      }
    }
  });
}

async function callAll(component: LoadedComponent, seed: number): Promise<void> {
  const random = new Random(seed);
  const types = typesOf(component);
  for (const [index, type] of types.slice(0, FUNCTIONS_MAX).entries()) {
    for (let turn = 0; turn < CALLS_EACH; turn++) {
      const text = type === undefined ? "{}" : argumentsFor(type.params, random);
      const signal = random.below(8) === 0 ? AbortSignal.timeout(random.below(4)) : undefined;
      tally.calls++;
      try {
        const outcome = await component.call(index, text, signal === undefined ? {} : { signal });
        tally.answered++;
        JSON.parse(outcome.json);
      } catch (thrown) {
        judge(thrown, ENDINGS, `call ${index} with ${text.slice(0, 200)}`, seed);
      }
    }
  }
  if (!component.http) return;
  const request = { method: "GET", url: "http://a.example/h", fields: [], body: null };
  tally.calls++;
  try {
    const { body } = await component.handle(request);
    if (body instanceof ReadableStream) await body.cancel();
    tally.answered++;
  } catch (thrown) {
    judge(thrown, ENDINGS, "handle", seed);
  }
}

async function offer(sandbox: NativeSandbox, bytes: Uint8Array, seed: number): Promise<void> {
  tally.offered++;
  let component: LoadedComponent;
  try {
    component = await sandbox.load({ id: `seed-${seed}`, bytes, limits: LIMITS });
  } catch (thrown) {
    return judge(thrown, REFUSALS, "load", seed);
  }
  tally.loaded++;
  try {
    await callAll(component, seed);
  } catch (thrown) {
    judge(thrown, [], "reading the WIT of a component that was loaded", seed);
  } finally {
    await component.unload();
  }
}

/** What components may leave nothing of. */
async function held(sandbox: NativeSandbox) {
  const { callsInFlight, slotsUsed, extentsUsed, targets, plugins } = sandbox.stats();
  const { components, instancesKept, pool } = await sandbox.engineStats();
  const { componentInstances, coreInstances, memories, tables, stacks } = pool;
  const taken = { componentInstances, coreInstances, memories, tables, stacks };
  const kernel = {
    threads: readdirSync("/proc/self/task").length,
    descriptors: readdirSync("/proc/self/fd").length,
  };
  const core = { callsInFlight, slotsUsed, extentsUsed, targets, plugins };
  return { ...core, components, instancesKept, ...taken, ...kernel };
}

/** What is held once the last call has given everything back. */
async function idle(sandbox: NativeSandbox): ReturnType<typeof held> {
  for (;;) {
    const now = await held(sandbox);
    if (now.callsInFlight === 0) return now;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function main(): Promise<void> {
  const [pack = "", first = "0", cacheDir = ""] = process.argv.slice(2);
  const libraries = await findNative();
  if (libraries === null) throw new Error("the native libraries are not built");
  const engine = { instances: 32, workerThreads: 2, cacheBytes: 0 };
  const sandbox = await openNativeSandbox({ libraries, engine, cacheDir });
  const packed = readFileSync(pack);
  let seed = Number(first);
  let before: Awaited<ReturnType<typeof held>> | null = null;
  for (let at = 0; at < packed.length; seed++) {
    const length = packed.readUInt32LE(at + 1);
    say({ at: seed });
    await offer(sandbox, new Uint8Array(packed.subarray(at + 5, at + 5 + length)), seed);
    at += 5 + length;
    // Threads start when they are first needed.
    if (tally.offered === WARM) before = await idle(sandbox);
  }
  if (before !== null) await settle(sandbox, before);
  await sandbox.close();
  say({ tally });
}

/** Components that are offered before it is noted what is held. */
const WARM = 20;

/** Threads and descriptors of the runtime's own that may come and go, and of the engine's threads for
 * blocking work, which end when they have nothing to do. */
const SLACK = 6;

async function settle(sandbox: NativeSandbox, before: Awaited<ReturnType<typeof held>>) {
  const end = performance.now() + SETTLE_MS;
  for (;;) {
    const now = await held(sandbox);
    const { threads, descriptors, ...counted } = now;
    const { threads: threadsBefore, descriptors: descriptorsBefore, ...countedBefore } = before;
    const same = JSON.stringify(counted) === JSON.stringify(countedBefore);
    const few = threads <= threadsBefore + SLACK && descriptors <= descriptorsBefore + SLACK;
    if (same && few) return;
    if (performance.now() > end) {
      const text = `${JSON.stringify(before)} became ${JSON.stringify(now)}`;
      return say({ finding: `something is left: ${text}`, seed: null });
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

await main();
