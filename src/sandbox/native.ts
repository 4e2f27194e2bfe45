/**
 * The native engine behind the Sandbox interface: wasmtime, reached through `ffi/`.
 *
 * Owns: loading, calling and unloading components by the native library. Must not know MCP, HTTP
 * servers or plugins; it is the only part of `src/` that calls `ffi/`.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { NativePaths } from "../../native/build/cache.ts";
import { STATUS } from "../../ffi/abi.gen.ts";
import type { ArenaInfo, ArenaWishes } from "../../ffi/arena_info.ts";
import { NativeClient, type SubmitOptions } from "../../ffi/client.ts";
import { NativeError } from "../../ffi/errors.ts";
import { openLibrary } from "../../ffi/library.ts";
import type { Reply } from "../../ffi/pending.ts";
import type { LineKind, LogListener } from "../../ffi/events.ts";
import type { NativeStats } from "../../ffi/stats.ts";
import type { HttpReply } from "../../ffi/stream.ts";
import type { AccessAccount } from "../core/access.ts";
import { AtollError } from "../core/errors.ts";
import { NO_GRANTS } from "../core/grants.ts";
import { CALL_ISOLATION, type Isolation } from "../core/isolation.ts";
import type { Limits } from "../core/limits.ts";
import { traceparentExtension } from "../wire/extensions.ts";
import { decodeResponseHead, encodeRequestHead } from "../wire/http_head.ts";
import { NativeKeys } from "./native_keys.ts";
import { errorOfReply, fromNative, loadError } from "./native_errors.ts";
import { refusePrecompiled } from "./precompiled.ts";
import type {
  CallFollower,
  CallOptions,
  CallOutcome,
  ComponentSpec,
  ExportedFunction,
  GuestLine,
  LoadedComponent,
  ProgressReport,
  Sandbox,
  SandboxRequest,
  SandboxResponse,
} from "./sandbox.ts";

export { type ArenaInfo, type ArenaTrait, BUN_BUFFER_BYTES } from "../../ffi/arena_info.ts";

export interface NativeSandboxOptions {
  /** From `findNative()` or `buildNative()`. */
  readonly libraries: NativePaths;
  readonly engine: {
    /** Instances alive at once, over all plugins; absent: 1,000, or as many as fit. */
    readonly instances?: number;
    /** Threads for calls that wait or overrun; 0: as many as the machine has processors. */
    readonly workerThreads: number;
    /** Calls in flight at once, over all plugins; only the first sandbox of a process decides. */
    readonly callsMax?: number;
    /** Most bytes of compiled components on disk; absent: 2 GiB. */
    readonly cacheBytes?: number;
    /** Certificates, as PEM, that servers may be signed by besides those of the Web. */
    readonly caFile?: string;
    /** The memory of frames, decided as `callsMax` is. */
    readonly arena?: ArenaWishes;
  };
  /** Atoll's cache; compiled components go below it. */
  readonly cacheDir: string;
  /** Where plugins' values are kept; absent: they keep none. */
  readonly storageDir?: string;
}

/** The native engine, with its counters. */
export interface NativeSandbox extends Sandbox {
  readonly kind: "native";
  /**
   * Whether memory is shared. Not under Deno with a grant for the library's path only, nor under Bun
   * with an arena of more than 4 GiB: what crosses is copied.
   */
  readonly mapped: boolean;
  /** How the memory of frames is mapped, and how it was wanted. */
  readonly arena: ArenaInfo;
  /** Counters of the library, all isolates of the process together. */
  stats(): NativeStats;
  /** What the engine holds, all isolates of the process together. */
  engineStats(): Promise<EngineStats>;
  /** What it was opened with: another isolate that opens it so has the same engine. */
  readonly options: NativeSandboxOptions;
  /** For {@link attach} in another isolate; null: the component is not of this engine. */
  shareOf(component: LoadedComponent): ComponentShare | null;
  /**
   * A component that another isolate of this process has loaded. Its `unload` lets go of it here
   * only; whoever loaded it unloads it.
   */
  attach(share: ComponentShare, listeners: ComponentListeners): LoadedComponent;
}

/** Who is told what a component's guests do in calls of this isolate. */
export type ComponentListeners = Pick<ComponentSpec, "onLog" | "onAccess">;

/** What an isolate needs to call a component that another one has loaded: plain data. */
export interface ComponentShare {
  readonly spec: Pick<ComponentSpec, "id" | "isolation" | "limits">;
  readonly loaded: LoadReply;
}

/** State of the engine. */
export interface EngineStats {
  /** Components that are loaded. */
  readonly components: number;
  /** Instances that are kept from call to call. */
  readonly instancesKept: number;
  readonly callsRunning: number;
  /** Instances that there is room for, and how many there should be. */
  readonly instances: number;
  readonly instancesAsked: number;
  /** Why compiled components are not kept on disk, or null. */
  readonly cacheError: string | null;
  /** Bytes of compiled components on disk; null where none are kept. */
  readonly cacheBytes: number | null;
  readonly cacheBytesMax: number | null;
  /** What is taken of the pool. */
  readonly pool: {
    readonly componentInstances: number;
    readonly coreInstances: number;
    readonly memories: number;
    readonly tables: number;
    readonly stacks: number;
  };
}

/**
 * Opens the library and its engine for this isolate.
 * @throws AtollError config, unsupported, io, version, denied, no_memory
 */
export async function openNativeSandbox(options: NativeSandboxOptions): Promise<NativeSandbox> {
  const { libraries, engine, cacheDir, storageDir } = options;
  const compiled = join(cacheDir, "compiled");
  try {
    mkdirSync(compiled, { recursive: true, mode: 0o700 });
    const settings = {
      ...(engine.arena === undefined ? {} : { arena: engine.arena }),
      ...(engine.callsMax === undefined ? {} : { callsMax: engine.callsMax }),
    };
    const client = await NativeClient.open(await openLibrary(libraries.core), settings);
    try {
      const number = loadEngine(client, libraries.sandbox, {
        cacheDir: compiled,
        // Outside the folder it protects: who can write one need not be able to read the other.
        keyFile: join(cacheDir, "compiled.key"),
        ...(storageDir === undefined ? {} : { storageDir }),
        ...(engine.instances === undefined ? {} : { instances: engine.instances }),
        workerThreads: engine.workerThreads,
        ...(engine.caFile === undefined ? {} : { caFile: engine.caFile }),
        ...(engine.cacheBytes === undefined ? {} : { cacheBytes: engine.cacheBytes }),
      });
      return new WasmtimeSandbox(client, number, options);
    } catch (error) {
      await client.close();
      throw error;
    }
  } catch (error) {
    throw fromNative(error);
  }
}

/** @throws AtollError config: the host cannot back what is configured */
function loadEngine(
  client: NativeClient,
  path: string,
  settings: Readonly<Record<string, unknown>>,
): number {
  try {
    return client.loadEngine(path, settings);
  } catch (error) {
    if (!(error instanceof NativeError) || error.code !== "invalid_argument") throw error;
    const reason = error.message.replace(/^Cannot load engine "[^"]*": /, "");
    throw new AtollError("config", `Cannot start the native engine: ${reason}`, {}, {
      cause: error,
    });
  }
}

/** What an engine answers to a load. */
interface LoadReply {
  readonly component: number;
  readonly digest: string;
  readonly wit: string;
  readonly functions: readonly (ExportedFunction & { readonly target: number })[];
  readonly http: number | null;
  readonly origin: "cache" | "compiled";
  readonly ms: number;
}

class WasmtimeSandbox implements NativeSandbox {
  readonly kind = "native";

  constructor(
    private readonly client: NativeClient,
    private readonly engine: number,
    readonly options: NativeSandboxOptions,
  ) {}

  get mapped(): boolean {
    return this.client.mapped;
  }

  get arena(): ArenaInfo {
    return this.client.arena;
  }

  stats(): NativeStats {
    return this.client.stats();
  }

  async engineStats(): Promise<EngineStats> {
    try {
      return await this.client.control(this.engine, { op: "stats" }) as unknown as EngineStats;
    } catch (error) {
      throw fromNative(error);
    }
  }

  async load(spec: ComponentSpec): Promise<LoadedComponent> {
    refusePrecompiled(spec.id, spec.bytes);
    try {
      const { id, limits, isolation, config = {}, observe = false } = spec;
      const grants = { ...NO_GRANTS, ...spec.grants, config, observe };
      const request = { op: "load", id, limits, ...termsOf(isolation), grants };
      const reply = await this.client.controlBytes(this.engine, request, spec.bytes);
      return new WasmtimeComponent(
        this.client,
        this.engine,
        spec,
        reply as unknown as LoadReply,
        true,
      );
    } catch (error) {
      throw loadError(error, spec.id);
    }
  }

  shareOf(component: LoadedComponent): ComponentShare | null {
    return component instanceof WasmtimeComponent ? component.share : null;
  }

  attach({ spec, loaded }: ComponentShare, listeners: ComponentListeners): LoadedComponent {
    const heard = { ...spec, ...listeners };
    return new WasmtimeComponent(this.client, this.engine, heard, loaded, false);
  }

  close(): Promise<void> {
    return this.client.close();
  }
}

class WasmtimeComponent implements LoadedComponent {
  readonly engine = "native";
  readonly digest: string;
  readonly wit: string;
  readonly functions: readonly ExportedFunction[];
  readonly http: boolean;
  readonly origin: LoadedComponent["origin"];
  readonly #client: NativeClient;
  readonly #engine: number;
  readonly #id: string;
  readonly #limits: Limits;
  readonly #number: number;
  readonly #targets: readonly number[];
  readonly #httpTarget: number | null;
  readonly #owner: number;
  /** Where keys have instances of their own; null: they all call the same targets. */
  readonly #keys: NativeKeys | null;
  /** For calls without options of their own. */
  readonly #plain: SubmitOptions;
  readonly share: ComponentShare;
  /** False: another isolate has loaded it and unloads it. */
  readonly #owned: boolean;
  /** Calls of this isolate that did not end inline. */
  #running = 0;
  #whenIdle: (() => void) | null = null;
  #unloading: Promise<void> | null = null;

  constructor(
    client: NativeClient,
    engine: number,
    spec: Omit<ComponentSpec, "bytes">,
    reply: LoadReply,
    owned: boolean,
  ) {
    this.#client = client;
    this.#engine = engine;
    this.#id = spec.id;
    this.#limits = spec.limits;
    this.#number = reply.component;
    this.#targets = reply.functions.map((f) => f.target);
    this.#httpTarget = reply.http;
    this.#owned = owned;
    const { id, limits, isolation = CALL_ISOLATION } = spec;
    this.share = { spec: { id, isolation, limits }, loaded: reply };
    this.#keys = isolation.mode === "call" || isolation.shared
      ? null
      : new NativeKeys(client, engine, reply.component);
    this.#owner = spec.onLog || spec.onAccess ? client.addLog(listenerOf(spec)) : 0;
    this.#plain = { owner: this.#owner };
    this.digest = reply.digest;
    this.wit = reply.wit;
    this.functions = reply.functions.map((f) => ({ interface: f.interface, name: f.name }));
    this.http = reply.http !== null;
    this.origin = { kind: reply.origin, ms: reply.ms };
  }

  call(
    functionIndex: number,
    argumentsJson: string,
    options?: CallOptions,
  ): CallOutcome | Promise<CallOutcome> {
    const key = options?.isolationKey;
    if (key === undefined || this.#keys === null) {
      return this.#callTarget(this.#targets[functionIndex], argumentsJson, options);
    }
    return this.#callOfKey(this.#keys, key, functionIndex, argumentsJson, options ?? {});
  }

  #callOfKey(
    keys: NativeKeys,
    key: string,
    index: number,
    argumentsJson: string,
    options: CallOptions,
  ): CallOutcome | Promise<CallOutcome> {
    const targets = keys.known(key);
    const askFirst = async (): Promise<CallOutcome> => {
      let fresh: readonly number[];
      try {
        fresh = await keys.ask(key);
      } catch (error) {
        throw fromNative(error, this.#id);
      }
      return await this.#callTarget(fresh[index], argumentsJson, options);
    };
    if (targets === undefined) return askFirst();
    // The engine forgets keys that keep nothing; no guest has seen a call of such a target.
    const askAgain = (error: unknown): Promise<CallOutcome> => {
      if (!(error instanceof AtollError) || error.code !== "closed") throw error;
      keys.forget(key, targets);
      return askFirst();
    };
    try {
      const outcome = this.#callTarget(targets[index], argumentsJson, options);
      return outcome instanceof Promise ? outcome.catch(askAgain) : outcome;
    } catch (error) {
      return askAgain(error);
    }
  }

  #callTarget(
    target: number | undefined,
    argumentsJson: string,
    options?: CallOptions,
  ): CallOutcome | Promise<CallOutcome> {
    if (target === undefined) {
      throw new AtollError("internal", `Plugin "${this.#id}" has no such function`);
    }
    let reply: Reply | Promise<Reply>;
    try {
      reply = this.#client.callJson(target, argumentsJson, this.#options(options));
    } catch (error) {
      throw fromNative(error, this.#id);
    }
    if (reply instanceof Promise) return this.#later(reply, (late) => this.#outcome(late));
    return this.#outcome(reply);
  }

  handle(
    request: SandboxRequest,
    options?: CallOptions,
  ): SandboxResponse | Promise<SandboxResponse> {
    if (this.#httpTarget === null) {
      throw new AtollError("internal", `Plugin "${this.#id}" has no HTTP handler`);
    }
    let reply: HttpReply | Promise<HttpReply>;
    try {
      const toError = (error: unknown): Error => fromNative(error, this.#id);
      const frame = { head: encodeRequestHead(request), body: request.body, toError };
      reply = this.#client.http(this.#httpTarget, frame, this.#options(options));
    } catch (error) {
      throw fromNative(error, this.#id);
    }
    if (reply instanceof Promise) return this.#later(reply, (late) => this.#response(late));
    return this.#response(reply);
  }

  unload(): Promise<void> {
    return this.#unloading ??= this.#unload();
  }

  async #unload(): Promise<void> {
    try {
      if (this.#owned) {
        await this.#client.control(this.#engine, { op: "unload", component: this.#number });
      } else if (this.#running > 0) {
        // They still have lines to write.
        await new Promise<void>((resolve) => this.#whenIdle = resolve);
      }
    } catch (error) {
      throw fromNative(error, this.#id);
    } finally {
      if (this.#owner !== 0) this.#client.removeLog(this.#owner);
    }
  }

  #options(options: CallOptions | undefined): SubmitOptions {
    if (options === undefined) return this.#plain;
    const { budgetMs } = options;
    if (budgetMs !== undefined && budgetMs <= 0) {
      throw new AtollError("deadline", "The call has no time left", { plugin: this.#id });
    }
    // Only lines carry the trace so far: without a listener it would be for nothing.
    const traceparent = this.#owner === 0 ? null : options.traceparent;
    const trace = traceparent ? traceparentExtension(traceparent) : null;
    const budgetUs = budgetMs && toMicroseconds(budgetMs);
    return new Submission(this.#owner, budgetUs, trace, followerOf(options.follower), options);
  }

  async #later<T, R>(reply: Promise<T>, finish: (reply: T) => R): Promise<R> {
    let late: T;
    this.#running++;
    try {
      late = await reply;
    } catch (error) {
      throw fromNative(error, this.#id);
    } finally {
      if (--this.#running === 0) this.#whenIdle?.();
    }
    return finish(late);
  }

  #outcome(reply: Reply): CallOutcome {
    if (reply.status === STATUS.OK) return { kind: "ok", json: reply.text };
    if (reply.status === STATUS.TOOL_ERROR) return { kind: "error", json: reply.text };
    throw errorOfReply(this.#id, this.#limits, reply);
  }

  #response(reply: HttpReply): SandboxResponse {
    if (reply.status !== STATUS.OK) throw errorOfReply(this.#id, this.#limits, reply);
    const { status, fields, bodyOffset } = decodeResponseHead(reply.first);
    if (reply.body) return { status, fields, body: reply.body };
    const body = bodyOffset < reply.first.length ? reply.first.subarray(bodyOffset) : null;
    return { status, fields, body };
  }
}

/** A caller's options for the library. */
class Submission implements SubmitOptions {
  readonly #call: CallOptions;

  constructor(
    readonly owner: number,
    readonly budgetUs: number | undefined,
    readonly trace: SubmitOptions["trace"],
    readonly follower: SubmitOptions["follower"],
    call: CallOptions,
  ) {
    this.#call = call;
  }

  get aborted(): boolean {
    return this.#call.aborted ?? this.#call.signal?.aborted === true;
  }

  get signal(): AbortSignal | undefined {
    return this.#call.signal;
  }
}

/** Hands each line of the guest's log to who wants its kind. */
function listenerOf({ onLog, onAccess }: ComponentListeners): LogListener {
  return (kind, text, lost, traceId) => {
    if (kind === "access") onAccess?.(JSON.parse(text) as AccessAccount);
    else if (kind !== "progress") {
      onLog?.({ ...lineOf(kind, text), lost, ...(traceId === "" ? {} : { traceId }) });
    }
  };
}

function lineOf(
  kind: Exclude<LineKind, "access" | "progress">,
  text: string,
): GuestLine {
  if (kind === "stdout") return { stream: kind, level: "info", text };
  if (kind === "stderr") return { stream: kind, level: "warn", text };
  const end = text.indexOf("\0");
  const context = text.slice(0, end);
  return {
    stream: "logging",
    level: kind,
    ...(context === "" ? {} : { context }),
    text: text.slice(end + 1),
  };
}

/** Hands the lines of one call on. */
function followerOf(follower: CallFollower | undefined): LogListener | undefined {
  if (follower === undefined) return undefined;
  return (kind, text, lost) => {
    if (kind === "progress") follower.progress(JSON.parse(text) as ProgressReport);
    else if (kind !== "access") follower.log({ ...lineOf(kind, text), lost });
  };
}

/** What a load says of an isolation; keys are none of the engine's business where all share. */
function termsOf(isolation: Isolation | undefined): { isolation?: object } {
  if (isolation === undefined || isolation.mode === "call") return {};
  const { shared: _, ...terms } = isolation;
  return { isolation: terms };
}

/** At least one, since 0 stands for the default; at most what a u32 holds, over an hour. */
function toMicroseconds(ms: number): number {
  return Math.min(Math.max(1, Math.round(ms * 1000)), 0xffff_ffff);
}
