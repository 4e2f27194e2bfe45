/**
 * wasmtime for JavaScript: WebAssembly components under Deno and Bun, each call in a fresh
 * instance, under limits.
 *
 * Owns: the public face of `ffi/`, usable without the rest of Atoll. Must not know MCP or HTTP.
 *
 * ```ts
 * const engine = await Engine.open();
 * const component = await engine.load(await readFile("text.wasm"));
 * console.log(await component.call("analyse", { input: "hello world" }));
 * await engine.close();
 * ```
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { buildNative, type BuildProgress, findNative } from "../native/build/build.ts";
import { cacheFolder, type NativePaths } from "../native/build/cache.ts";
import { STATUS } from "./abi.gen.ts";
import { NativeClient, type SubmitOptions } from "./client.ts";
import { errorFromReply, NativeError } from "./errors.ts";
import type { LogListener } from "./events.ts";
import { openLibrary } from "./library.ts";
import type { ComponentLimits } from "./limits.ts";
import type { Reply } from "./pending.ts";
import type { NativeStats } from "./stats.ts";

export { NativeError } from "./errors.ts";
export type { LogListener } from "./events.ts";
export type { NativeStats } from "./stats.ts";
export type { ComponentLimits } from "./limits.ts";

export interface EngineOptions {
  /** The native libraries; absent: from the cache, built into it when they are not there. */
  readonly libraries?: NativePaths;
  /** Told how far a build is; the first one takes minutes. */
  readonly onBuildProgress?: (progress: BuildProgress) => void;
  /** Instances alive at once. */
  readonly instances?: number;
  /** Threads for calls that wait or overrun; 0: as many as the machine has processors. */
  readonly workerThreads?: number;
  /** Folder for compiled components; absent: Atoll's cache. */
  readonly cacheDir?: string;
}

export interface LoadOptions {
  /** Name for messages. */
  readonly id?: string;
  /** What is not named has the engine's default. */
  readonly limits?: Partial<ComponentLimits>;
  /** Gets each line a guest writes to standard output or error. */
  readonly onLog?: LogListener;
}

export interface ComponentCallOptions {
  /** Time left in milliseconds; at most the limit `wallMs`. */
  readonly budgetMs?: number;
  /** Ends the call with the code `cancelled`. */
  readonly signal?: AbortSignal;
  /** Runs on the engine's threads from the start, so that this one is never held, not even shortly. */
  readonly detached?: boolean;
}

/** A function that a component exports. */
export interface ComponentFunction {
  /** As in WIT, `demo:text/api@0.1.0`; null for a function of the world itself. */
  readonly interface: string | null;
  readonly name: string;
}

/** The guest returned the error side of its `result`. */
export class GuestError extends Error {
  override readonly name = "GuestError";

  /** @param payload the error side as a JavaScript value */
  constructor(readonly payload: unknown) {
    super(`The guest returned an error: ${JSON.stringify(payload)}`);
  }
}

const DEFAULT_INSTANCES = 1_000;

/** wasmtime, one a process; several engines of one process share it. */
export class Engine {
  private constructor(private readonly client: NativeClient, private readonly number: number) {}

  /**
   * Opens the engine for this isolate.
   * @throws NativeError unsupported, io, version, denied; NativeBuildError when it must be built
   * and cannot be
   */
  static async open(options: EngineOptions = {}): Promise<Engine> {
    const libraries = options.libraries ?? await findNative() ??
      await buildNative(options.onBuildProgress);
    const cache = options.cacheDir ?? cacheFolder();
    const compiled = join(cache, "compiled");
    mkdirSync(compiled, { recursive: true, mode: 0o700 });
    const client = await NativeClient.open(await openLibrary(libraries.core));
    try {
      const number = client.loadEngine(libraries.sandbox, {
        cacheDir: compiled,
        keyFile: join(cache, "compiled.key"),
        instances: options.instances ?? DEFAULT_INSTANCES,
        workerThreads: options.workerThreads ?? 0,
      });
      return new Engine(client, number);
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  /**
   * Compiles a component, or takes it compiled from the cache.
   * @throws NativeError component: not a component, or it imports what is not there
   */
  async load(bytes: Uint8Array, options: LoadOptions = {}): Promise<Component> {
    const blob = this.client.putBlob(bytes);
    const id = options.id ?? "component";
    const limits = options.limits ?? {};
    const reply = await this.client.control(this.number, { op: "load", id, blob, limits });
    return new Component(this.client, this.number, reply as unknown as LoadReply, options.onLog);
  }

  /** Counters of the library, all isolates of the process together. */
  stats(): NativeStats {
    return this.client.stats();
  }

  /** Cancels running calls, waits for their end and lets go of everything. */
  close(): Promise<void> {
    return this.client.close();
  }
}

interface LoadReply {
  readonly component: number;
  readonly digest: string;
  readonly wit: string;
  readonly functions: readonly (ComponentFunction & { readonly target: number })[];
}

/** A component that is ready to be called. Every call has a fresh instance of its own. */
export class Component {
  /** SHA-256 of the binary, hex. */
  readonly digest: string;
  /** Its world in WIT. */
  readonly wit: string;
  /** What `call` can name. */
  readonly functions: readonly ComponentFunction[];
  readonly #client: NativeClient;
  readonly #engine: number;
  readonly #number: number;
  readonly #owner: number;
  readonly #targets = new Map<string, number>();
  readonly #ambiguous = new Set<string>();

  /** @internal */
  constructor(
    client: NativeClient,
    engine: number,
    reply: LoadReply,
    onLog: LogListener | undefined,
  ) {
    this.#client = client;
    this.#engine = engine;
    this.#number = reply.component;
    this.#owner = onLog ? client.addLog(onLog) : 0;
    this.digest = reply.digest;
    this.wit = reply.wit;
    this.functions = reply.functions.map((f) => ({ interface: f.interface, name: f.name }));
    for (const f of reply.functions) {
      if (f.interface !== null) this.#targets.set(`${f.interface}#${f.name}`, f.target);
      if (this.#targets.has(f.name)) this.#ambiguous.add(f.name);
      else this.#targets.set(f.name, f.target);
    }
  }

  /**
   * Calls an exported function by its WIT name, or `INTERFACE#NAME` where two have the same, with
   * its named parameters. The value is the mapping of WIT to JSON that the README describes.
   * @throws GuestError the function returned an error; NativeError invalid_argument, limit, trap,
   * deadline, cancelled, overloaded, closed
   */
  async call(
    name: string,
    args: Readonly<Record<string, unknown>> = {},
    options: ComponentCallOptions = {},
  ): Promise<unknown> {
    const json = JSON.stringify(args);
    const reply = await this.#client.callJson(this.#target(name), json, this.#options(options));
    return value(reply);
  }

  /**
   * The same with JSON text in and out. Returns without a promise when the call ended inline,
   * which most do.
   */
  callJson(
    name: string,
    json: string,
    options: ComponentCallOptions = {},
  ): string | Promise<string> {
    const reply = this.#client.callJson(this.#target(name), json, this.#options(options));
    return reply instanceof Promise ? reply.then(jsonText) : jsonText(reply);
  }

  /**
   * Calls a function of one `list<u8>` or `string` parameter with its bytes as they are. A result
   * of one of the two types comes as bytes, too; any other as the UTF-8 of its JSON.
   */
  callBytes(
    name: string,
    bytes: Uint8Array,
    options: ComponentCallOptions = {},
  ): Uint8Array | Promise<Uint8Array> {
    const reply = this.#client.callBytes(this.#target(name), bytes, this.#options(options));
    return reply instanceof Promise ? reply.then(rawBytes) : rawBytes(reply);
  }

  /** Refuses new calls, waits for running ones, releases the code. */
  async unload(): Promise<void> {
    await this.#client.control(this.#engine, { op: "unload", component: this.#number });
    if (this.#owner !== 0) this.#client.removeLog(this.#owner);
  }

  #target(name: string): number {
    const target = this.#targets.get(name);
    if (target === undefined) {
      const known = this.functions.map((f) => f.name).join(", ");
      throw new NativeError(
        STATUS.NOT_FOUND,
        `Cannot call "${name}": the component exports ${known || "no functions"}`,
      );
    }
    if (this.#ambiguous.has(name)) {
      throw new NativeError(
        STATUS.NOT_FOUND,
        `Cannot call "${name}": several interfaces export it; name one as INTERFACE#${name}`,
      );
    }
    return target;
  }

  #options(options: ComponentCallOptions): SubmitOptions {
    const { budgetMs, signal, detached } = options;
    const budgetUs = budgetMs && Math.min(Math.max(1, Math.round(budgetMs * 1000)), 0xffff_ffff);
    return { owner: this.#owner, signal, detached, budgetUs };
  }
}

function checked(reply: Reply): Reply {
  if (reply.status === STATUS.OK) return reply;
  if (reply.status === STATUS.TOOL_ERROR) throw new GuestError(JSON.parse(reply.text || "null"));
  const { status, message, data } = errorFromReply(reply.status, reply.text, reply.elapsedUs);
  const path = typeof data.path === "string" ? `${data.path}: ` : "";
  throw new NativeError(status, path + message, data);
}

function value(reply: Reply): unknown {
  return JSON.parse(checked(reply).text || "null");
}

function jsonText(reply: Reply): string {
  return checked(reply).text;
}

function rawBytes(reply: Reply): Uint8Array {
  const { bytes, text } = checked(reply);
  return bytes ?? new TextEncoder().encode(text);
}
