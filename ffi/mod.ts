/**
 * wasmtime for JavaScript: WebAssembly components under Deno and Bun, each call in a fresh
 * instance or in one that is kept, under limits.
 *
 * Owns: the public face of `ffi/`, usable without the rest of Atoll. Must not know MCP or HTTP.
 *
 * ```ts
 * const engine = await Engine.open();
 * const component = await engine.load(await readFile("text.wasm"));
 * console.log(await component.call("analyse", { input: "hello world" }));
 * const instance = await component.instantiate();
 * console.log(await instance.call("analyse", { input: "hello again" }));
 * await engine.close();
 * ```
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { buildNative, type BuildProgress, findNative } from "../native/build/build.ts";
import { cacheFolder, type NativePaths } from "../native/build/cache.ts";
import {
  Callable,
  type ComponentCallOptions,
  type ComponentFunction,
  FunctionNames,
  submitOptions,
} from "./callable.ts";
import { STATUS } from "./abi.gen.ts";
import { NativeClient } from "./client.ts";
import { NativeError } from "./errors.ts";
import type { LogListener } from "./events.ts";
import { openLibrary } from "./library.ts";
import type { ComponentLimits } from "./limits.ts";
import type { NativeStats } from "./stats.ts";

export { GuestError } from "./callable.ts";
export type { ComponentCallOptions, ComponentFunction } from "./callable.ts";
export { NativeError } from "./errors.ts";
export type { LineKind, LogListener } from "./events.ts";
export type { NativeStats } from "./stats.ts";
export type { ComponentLimits } from "./limits.ts";

export interface EngineOptions {
  /** The native libraries; absent: from the cache, built into it when they are not there. */
  readonly libraries?: NativePaths;
  /** Told how far a build is; the first one takes minutes. */
  readonly onBuildProgress?: (progress: BuildProgress) => void;
  /** Instances alive at once, those of running calls and those that are kept. */
  readonly instances?: number;
  /** Threads for calls that wait or overrun; 0: as many as the machine has processors. */
  readonly workerThreads?: number;
  /** Folder for compiled components; absent: Atoll's cache. */
  readonly cacheDir?: string;
  /** Most bytes of compiled components there; those used least lately go. Absent: 2 GiB. */
  readonly cacheBytes?: number;
  /** Folder of the values that guests keep; absent: they keep none. */
  readonly storageDir?: string;
}

export interface LoadOptions {
  /** Name for messages. */
  readonly id?: string;
  /** What is not named has the engine's default. */
  readonly limits?: Partial<ComponentLimits>;
  /** What becomes of an instance after a call; absent: it is dropped. */
  readonly isolation?: ComponentIsolation;
  /** What its guests may reach; absent: nothing. */
  readonly grants?: ComponentGrants;
  /** Gets each line of a guest's log: what it writes, and what it asks for and is denied. */
  readonly onLog?: LogListener;
}

/**
 * How long the instances live that calls of a component have: one call; several calls, and so many
 * milliseconds at rest; or for good, one instance for all calls, one at a time, until a call of it
 * does not end well.
 */
export type ComponentIsolation =
  | { readonly mode: "call" }
  | { readonly mode: "reuse"; readonly calls: number; readonly idleMs: number }
  | { readonly mode: "actor"; readonly idleMs: number | null };

/** What the guests of a component may reach. */
export interface ComponentGrants {
  /** Environment variables that they see, with their values; of this process's they see none. */
  readonly env?: Readonly<Record<string, string>>;
  /** Namespaces of `wasi:keyvalue`, each of so many bytes, the component's own unless shared. */
  readonly keyvalue?: readonly {
    readonly name: string;
    readonly bytes: number;
    readonly shared?: boolean;
  }[];
  /** What they read by `wasi:config`. */
  readonly config?: Readonly<Record<string, string>>;
  /** HTTP requests that they may send: rules as in `docs/capabilities.md`. */
  readonly http?: readonly Readonly<Record<string, unknown>>[];
  /** Secrets that they may send to hosts and never see, by variable. */
  readonly secrets?: Readonly<
    Record<string, { readonly value: string; readonly hosts: readonly string[] }>
  >;
}

/** For making an instance: its guest's start functions run as a call does. */
export type InstantiateOptions = Omit<ComponentCallOptions, "detached">;

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
        ...(options.instances === undefined ? {} : { instances: options.instances }),
        workerThreads: options.workerThreads ?? 0,
        ...(options.cacheBytes === undefined ? {} : { cacheBytes: options.cacheBytes }),
        ...(options.storageDir === undefined ? {} : { storageDir: options.storageDir }),
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
    const id = options.id ?? "component";
    const { limits = {}, isolation = { mode: "call" }, grants = {} } = options;
    const request = { op: "load", id, limits, isolation, grants };
    const reply = await this.client.controlBytes(this.number, request, bytes);
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
  /** Its number in the library's table of names. */
  readonly plugin: number;
  readonly digest: string;
  readonly wit: string;
  readonly functions: readonly ComponentFunction[];
}

/**
 * A component that is ready to be called. Every call has a fresh instance of its own, unless the
 * component was loaded under another isolation.
 */
export class Component extends Callable {
  /** SHA-256 of the binary, hex. */
  readonly digest: string;
  /** Its world in WIT. */
  readonly wit: string;
  readonly #client: NativeClient;
  readonly #engine: number;
  readonly #number: number;
  readonly #owner: number;
  readonly #plugin: number;
  readonly #names: FunctionNames;
  /** Of functions that were called before. */
  readonly #targets = new Map<string, number>();

  /** @internal */
  constructor(
    client: NativeClient,
    engine: number,
    reply: LoadReply,
    onLog: LogListener | undefined,
  ) {
    const functions = reply.functions.map((f) => ({ interface: f.interface, name: f.name }));
    const owner = onLog ? client.addLog(onLog) : 0;
    super(client, functions, owner);
    this.#client = client;
    this.#engine = engine;
    this.#number = reply.component;
    this.#owner = owner;
    this.#plugin = reply.plugin;
    this.#names = new FunctionNames(functions);
    this.digest = reply.digest;
    this.wit = reply.wit;
  }

  protected override target(name: string): number {
    const known = this.#targets.get(name);
    if (known !== undefined) return known;
    const target = this.#client.findTarget(this.#plugin, name);
    if (target === null) {
      // Says what is wrong with the name, if that is what is wrong.
      this.#names.place(name);
      throw new NativeError(
        STATUS.NOT_FOUND,
        `Cannot call "${name}": the component has been unloaded`,
      );
    }
    this.#targets.set(name, target);
    return target;
  }

  /**
   * Makes an instance that is kept: what its guest has in memory is there in the next call.
   * @throws NativeError limit, trap: in the guest's own start functions; overloaded: as many
   * instances as the engine may have are alive; deadline, cancelled, not_found, closed
   */
  async instantiate(options: InstantiateOptions = {}): Promise<Instance> {
    const request = { op: "instantiate", component: this.#number };
    const submit = submitOptions(options, this.#owner);
    const reply = await this.#client.control(this.#engine, request, submit);
    const { instance, functions } = reply as unknown as InstantiateReply;
    const drop = async (): Promise<void> => {
      await this.#client.control(this.#engine, { op: "drop_instance", instance });
    };
    const targets = functions.map((f) => f.target);
    return new Instance(this.#client, this.#names, targets, this.#owner, drop);
  }

  /** Refuses new calls, waits for running ones, drops its instances, releases the code. */
  async unload(): Promise<void> {
    try {
      await this.#client.control(this.#engine, { op: "unload", component: this.#number });
    } finally {
      if (this.#owner !== 0) this.#client.removeLog(this.#owner);
    }
  }
}

interface InstantiateReply {
  readonly instance: number;
  readonly functions: readonly { readonly target: number }[];
}

/**
 * An instance that is kept from call to call. Its calls run one after the other. A call that traps,
 * goes over a limit or is cut off ends the instance: later ones are `not_found`, and say why.
 */
export class Instance extends Callable implements AsyncDisposable {
  readonly #names: FunctionNames;
  readonly #targets: readonly number[];
  readonly #drop: () => Promise<void>;
  #dropped: Promise<void> | null = null;

  /** @internal */
  constructor(
    client: NativeClient,
    names: FunctionNames,
    targets: readonly number[],
    owner: number,
    drop: () => Promise<void>,
  ) {
    super(client, names.functions, owner);
    this.#names = names;
    this.#targets = targets;
    this.#drop = drop;
  }

  protected override target(name: string): number {
    return this.#targets[this.#names.place(name)]!;
  }

  /** Refuses new calls, waits for the one that runs, gives everything back. */
  drop(): Promise<void> {
    return this.#dropped ??= this.#drop().catch((error: unknown) => {
      // It went with its component.
      if (!(error instanceof NativeError && error.code === "not_found")) throw error;
    });
  }

  /** The same, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.drop();
  }
}
