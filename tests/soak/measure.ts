/**
 * What a loaded process says of itself: a sample a second, and at the end what is left.
 *
 * Owns: the lines that `soak.ts` reads. Must not know what the load is, nor what counts as a leak.
 */
import { readdirSync, readFileSync, writeSync } from "node:fs";
import type { NativeSandbox } from "../../src/sandbox/native.ts";
import type { Sample } from "./trend.ts";

/** What is left of the load at the end; each must be 0. */
export type Left = Readonly<Record<string, number>>;
export type Line = { readonly sample: Sample } | { readonly left: Left };

/** What the load has done since the last sample; a sample sets it back to 0. */
export interface Progress {
  calls: number;
  loads: number;
}

/** Begins to take samples; ends when what it returns is called. */
export function sayEachSecond(progress: Progress): () => void {
  let second = 0;
  const timer = setInterval(() => say({ sample: sample(++second, progress) }), 1000);
  return () => clearInterval(timer);
}

function sample(second: number, progress: Progress): Sample {
  const status = readFileSync("/proc/self/status", "utf8");
  const rssMiB = Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 102.4) / 10;
  const descriptors = readdirSync("/proc/self/fd").length;
  const threads = readdirSync("/proc/self/task").length;
  const taken = { second, rssMiB, descriptors, threads, ...progress };
  progress.calls = progress.loads = 0;
  return taken;
}

function say(line: Line): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

export function sayLeft(left: Left): void {
  say({ left });
}

/** What is still held; calls that were cut off give back a moment later. */
export async function leftIn(sandbox: NativeSandbox): Promise<Left> {
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
