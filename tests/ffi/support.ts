/**
 * What the tests of the boundary share: the real core with an engine that behaves as told.
 *
 * The engine is `native/core/tests/engine/test_engine.c`: it shows, on demand, what a real engine
 * does only by chance. Tests of the real engine are in `engine_test.ts` and `instance_test.ts`.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { NativeClient } from "../../ffi/client.ts";
import { type NativeLibrary, openLibrary } from "../../ffi/library.ts";
import { Engine, type EngineOptions } from "../../ffi/mod.ts";
import type { ClientSettings } from "../../ffi/open.ts";
import type { Reply } from "../../ffi/pending.ts";
import { buildNative, findNative } from "../../native/build/build.ts";
import { cacheFolder, CHECKOUT, type NativePaths, sourceKey } from "../../native/build/cache.ts";
import { runCommand } from "../../native/build/command.ts";
import { takeLock } from "../../native/build/lock.ts";
import { currentRuntime, runScript, runtimeCommand } from "../runtimes.ts";

/** Behaviours of the test engine, by the handle of a target. */
export const BEHAVIOUR = {
  ECHO: 1,
  PEND: 2,
  HOLD: 3,
  STREAM: 4,
  FORGET: 5,
  REFUSE: 6,
  GROW: 7,
  LOGS: 8,
  TWICE: 9,
  QUICK: 10,
  DEAF: 12,
  WRITER: 14,
} as const;

export type Behaviour = keyof typeof BEHAVIOUR;

/** The real libraries: from the cache, or built into it now. */
export async function libraries(): Promise<NativePaths> {
  return await findNative() ?? await buildNative();
}

/** Path of the test engine, built into the cache for this state of the sources. */
export async function testEngine(): Promise<string> {
  const out = join(cacheFolder(), "test-engine", sourceKey());
  mkdirSync(out, { recursive: true, mode: 0o700 });
  const path = join(out, "test_engine.so");
  const lock = await takeLock(join(out, "lock"));
  try {
    const result = await runCommand(["make", `OUT=${out}`, path], {
      cwd: join(CHECKOUT, "native/core"),
    });
    assert.equal(result.status, 0, result.tail.join("\n"));
  } finally {
    lock.release();
  }
  return path;
}

/** A client of the core with the test engine loaded. */
export class Rig {
  private constructor(
    readonly library: NativeLibrary,
    readonly client: NativeClient,
    readonly engine: number,
    private readonly group: number,
  ) {}

  /** @param mapped false: as under a grant for the library's path only */
  static async open(
    o: { mapped?: boolean; settings?: ClientSettings; core?: string; engine?: string } = {},
  ): Promise<Rig> {
    const real = await openLibrary(o.core ?? (await libraries()).core);
    const library = o.mapped === false ? { ...real, map: () => null } : real;
    const client = await NativeClient.open(library, o.settings);
    const engine = client.loadEngine(o.engine ?? await testEngine(), {});
    const group = await number(client, engine, "group 5000 5000 60000000");
    return new Rig(library, client, engine, group);
  }

  /** A target with a behaviour. */
  target(behaviour: Behaviour): Promise<number> {
    return this.command(`target ${BEHAVIOUR[behaviour]} ${this.group}`);
  }

  /** A plugin "demo" whose export `demo:api/a#echo` has that target; its number. */
  plugin(target: number): Promise<number> {
    return this.command(`plugin ${this.group} ${target}`);
  }

  /** A word for the engine; its answer is a number. */
  command(text: string): Promise<number> {
    return number(this.client, this.engine, text);
  }

  /** Ends `count` calls of HOLD targets. */
  async release(count: number): Promise<void> {
    let left = count;
    while (left > 0) left -= await this.command(`release ${left}`);
  }

  close(): Promise<void> {
    return this.client.close();
  }
}

async function number(client: NativeClient, engine: number, text: string): Promise<number> {
  const reply = await client.controlText(engine, text);
  assert.equal(reply.status, 0, text);
  return Number(textOf(reply));
}

/** Opens a rig, runs, closes it and looks that nothing is left. */
export async function withRig(
  body: (rig: Rig) => Promise<void>,
  o: { mapped?: boolean; settings?: ClientSettings } = {},
): Promise<void> {
  const rig = await Rig.open(o);
  try {
    await body(rig);
    assert.equal(rig.client.inFlight, 0, "a call was left waiting");
  } finally {
    await rig.close();
  }
}

/** Opens the real engine with a cache of its own. */
export async function withEngine(
  body: (engine: Engine, reopen: () => Promise<Engine>) => Promise<void>,
  o: EngineOptions = {},
): Promise<void> {
  const cacheDir = mkdtempSync(join(tmpdir(), "atoll-engine-"));
  const options: EngineOptions = {
    libraries: await libraries(),
    cacheDir,
    instances: 100,
    workerThreads: 2,
    ...o,
  };
  const engine = await Engine.open(options);
  try {
    await body(engine, () => Engine.open(options));
  } finally {
    await engine.close();
    rmSync(cacheDir, { recursive: true, force: true });
  }
}

/** Payload of a reply as text, raw or not. */
export function textOf(reply: Reply): string {
  return reply.bytes ? new TextDecoder().decode(reply.bytes) : reply.text;
}

export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

export interface ChildResult {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a script of this folder in a process of its own, with every permission or those given. */
export function runChild(
  script: string,
  args: readonly string[] = [],
  permissions?: readonly string[],
): Promise<ChildResult> {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const command = permissions === undefined
    ? runScript(currentRuntime, path)
    : [...runtimeCommand("deno"), "run", ...permissions, path];
  const [program, ...rest] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program!, [...rest, ...args], { env: process.env });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => void (stdout += part));
    child.stderr.setEncoding("utf8").on("data", (part: string) => void (stderr += part));
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}
