/**
 * What the conformance files share: the engines that this machine has, and fixtures loaded into
 * them.
 *
 * Must not know what is tested.
 */
import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildNative, findNative, nativeObstacle } from "../../native/build/build.ts";
import { AtollError, type ErrorCode } from "../../src/core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/core/limits.ts";
import { openNativeSandbox } from "../../src/sandbox/native.ts";
import { openPortableSandbox } from "../../src/sandbox/portable.ts";
import type {
  CallOptions,
  CallOutcome,
  ComponentSpec,
  EngineKind,
  LoadedComponent,
  Sandbox,
  SandboxResponse,
} from "../../src/sandbox/sandbox.ts";
import { fixtureBytes, type FixtureName } from "../fixtures/build.ts";

/** An engine that the file runs on. */
export interface Engine {
  readonly kind: EngineKind;
  /**
   * A sandbox of its own; whoever opens it closes it. What it compiles is kept in a folder of this
   * process, or in `cache`.
   */
  open(cache?: string): Promise<Sandbox>;
}

const cacheDir = mkdtempSync(join(tmpdir(), "atoll-conformance-"));

const portable: Engine = {
  kind: "portable",
  open: (cache) => openPortableSandbox(cache === undefined ? {} : { cacheDir: cache }),
};

const native: Engine = {
  kind: "native",
  async open(cache = cacheDir) {
    const libraries = await findNative() ?? await buildNative(() => {});
    return await openNativeSandbox({
      libraries,
      engine: { instances: 100, workerThreads: 2 },
      cacheDir: cache,
      storageDir: join(cache, "state"),
    });
  },
};

/** Both engines, or the portable one alone where no native library can be had. */
export const ENGINES: readonly Engine[] = await nativeObstacle() === null
  ? [portable, native]
  : [portable];

/** A sandbox of an engine that is opened at first use and shared by the tests of a file. */
export class Bench {
  readonly #engine: Engine;
  readonly #cache: string | undefined;
  #sandbox: Promise<Sandbox> | null = null;
  readonly #loaded = new Map<string, Promise<LoadedComponent>>();

  constructor(engine: Engine, cache?: string) {
    this.#engine = engine;
    this.#cache = cache;
  }

  sandbox(): Promise<Sandbox> {
    return this.#sandbox ??= this.#engine.open(this.#cache);
  }

  /** A fixture, loaded once for each set of limits. */
  fixture(name: FixtureName, limits: Partial<Limits> = {}): Promise<LoadedComponent> {
    const key = `${name} ${JSON.stringify(limits)}`;
    let loaded = this.#loaded.get(key);
    if (loaded === undefined) {
      loaded = this.load(name, limits);
      this.#loaded.set(key, loaded);
    }
    return loaded;
  }

  /** A fixture of one's own, to be unloaded. */
  async load(
    name: FixtureName,
    limits: Partial<Limits> = {},
    terms: Pick<ComponentSpec, "onLog" | "onAccess" | "observe" | "grants" | "config"> = {},
  ): Promise<LoadedComponent> {
    const sandbox = await this.sandbox();
    return await sandbox.load({
      id: name,
      bytes: await fixtureBytes(name),
      limits: { ...DEFAULT_LIMITS, ...limits },
      ...terms,
    });
  }

  async close(): Promise<void> {
    await (await this.#sandbox)?.close();
  }
}

/** Time that no call of a test takes. */
export const PATIENT = { wallMs: 120_000, cpuMs: 60_000 };

/** Time for calls that shall run into that limit before any other, however slow the machine is. */
export function timeTo(limit: string): typeof PATIENT {
  if (limit === "cpu") return { ...PATIENT, cpuMs: 300 };
  return limit === "wall" ? { ...PATIENT, wallMs: 1_500 } : PATIENT;
}

/** Calls a function by its name in WIT with arguments as a value. */
export async function call(
  component: LoadedComponent,
  name: string,
  args: unknown = {},
  options?: CallOptions,
): Promise<CallOutcome> {
  return await component.call(indexOf(component, name), JSON.stringify(args), options);
}

/** The parsed result of a call that has to succeed. */
export async function ok(component: LoadedComponent, name: string, args?: unknown) {
  const outcome = await call(component, name, args);
  assert.equal(outcome.kind, "ok", outcome.json);
  return JSON.parse(outcome.json) as unknown;
}

/** Index of a function by its name, or by `interface#name`. */
export function indexOf(component: LoadedComponent, name: string): number {
  const index = component.functions.findIndex((each) =>
    each.name === name || `${each.interface}#${each.name}` === name
  );
  assert.notEqual(index, -1, `no function ${name}`);
  return index;
}

/** The AtollError that something ends with, of this code. */
export async function failure(
  code: ErrorCode,
  run: () => unknown,
): Promise<AtollError> {
  try {
    const result = await run();
    return assert.fail(`expected ${code}, got ${JSON.stringify(result)?.slice(0, 200)}`);
  } catch (thrown) {
    if (!(thrown instanceof AtollError)) throw thrown;
    assert.equal(thrown.code, code, thrown.message);
    return thrown;
  }
}

/** Bytes of a response's body. */
export async function bodyOf(response: SandboxResponse): Promise<Uint8Array> {
  if (response.body === null) return new Uint8Array(0);
  if (response.body instanceof Uint8Array) return response.body;
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body) chunks.push(chunk);
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

export async function textOf(response: SandboxResponse): Promise<string> {
  return new TextDecoder().decode(await bodyOf(response));
}
