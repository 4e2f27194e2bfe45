/**
 * What an engine offers to the rest of Atoll: load a component, call its functions, serve its
 * `wasi:http` handler. Two implementations, `native.ts` (wasmtime by FFI) and `portable.ts`
 * (transpiled by jco, in a worker), one conformance file: `tests/conformance/sandbox_test.ts`.
 *
 * Values cross as JSON text, in the mapping of the README ("WIT values in JSON"); both engines
 * check arguments against the component's own types and name the path of what does not fit.
 */
import type { AccessAccount } from "../core/access.ts";
import type { EngineGrants } from "../core/grants.ts";
import type { Isolation } from "../core/isolation.ts";
import type { Limits } from "../core/limits.ts";

export type EngineKind = "native" | "portable";

/** A component to be loaded. */
export interface ComponentSpec {
  /** The plugin's id; appears in messages and logs. */
  readonly id: string;
  /** The component's binary. */
  readonly bytes: Uint8Array;
  readonly limits: Limits;
  /** How long an instance lives; absent: for one call. */
  readonly isolation?: Isolation;
  /**
   * What it may reach; absent: nothing. An engine that cannot grant something refuses the load with
   * `unsupported`.
   */
  readonly grants?: Partial<EngineGrants>;
  /** Its own configuration, which it reads by `wasi:config`; it gives no power. */
  readonly config?: Readonly<Record<string, string>>;
  /** Called for each line the guest writes to standard output or error, or logs. */
  readonly onLog?: (line: GuestLog) => void;
  /** Called for what the guest asks for and is denied; with `observe` for what is allowed, too. */
  readonly onAccess?: (account: AccessAccount) => void;
  readonly observe?: boolean;
}

/** How much a line matters; the names are those of `wasi:logging`. */
export type GuestLevel = "trace" | "debug" | "info" | "warn" | "error" | "critical";

export interface GuestLog {
  /** `logging`: it came by `wasi:logging`. */
  readonly stream: "stdout" | "stderr" | "logging";
  /** Standard output is `info`, standard error `warn`. */
  readonly level: GuestLevel;
  /** What the guest says the line belongs to; `wasi:logging` alone has one. */
  readonly context?: string;
  readonly text: string;
  /** Lines dropped before this one. */
  readonly lost: number;
  /** Trace-id of the call, 32 hexadecimal digits; absent for one that is not traced. */
  readonly traceId?: string;
}

/** What the guest said, without what the host knows of it. */
export type GuestLine = Pick<GuestLog, "stream" | "level" | "context" | "text">;

/** How far a guest says its call is. `progress` grows from report to report. */
export interface ProgressReport {
  readonly progress: number;
  /** What it will come to; absent: unknown. */
  readonly total?: number;
  /** For people. */
  readonly message?: string;
}

/** Who follows one call while it runs. Nothing is told after the call has ended. */
export interface CallFollower {
  log(line: GuestLog): void;
  progress(report: ProgressReport): void;
}

/** A function that the component exports. */
export interface ExportedFunction {
  /** Interface as in WIT, `demo:text/api@0.1.0`; null for a function of the world itself. */
  readonly interface: string | null;
  /** Function as in WIT, `simple-text`. */
  readonly name: string;
}

/** How a call went when the guest answered. Everything else is thrown as an AtollError. */
export interface CallOutcome {
  /** `error`: the function returned the error side of its `result`. */
  readonly kind: "ok" | "error";
  /** The value as JSON text, the result's wrapper taken off; `null` for no value. */
  readonly json: string;
}

export interface CallOptions {
  /** Time left in milliseconds; absent: the plugin's `wallMs`, which is also the most there is. */
  readonly budgetMs?: number;
  /** Ends the call with `cancelled`. */
  readonly signal?: AbortSignal;
  /**
   * Whether it is aborted already; given where asking for the signal would make one. An engine asks
   * for the signal only when a call does not end at once.
   */
  readonly aborted?: boolean;
  /**
   * For whom the call is made, where instances outlive calls: calls of two keys never share one,
   * unless the plugin says so. 1 to 1,024 bytes in UTF-8; absent: anonymous, a key of its own.
   */
  readonly isolationKey?: string;
  /** Told what the guest writes and reports, besides whoever listens to the component. */
  readonly follower?: CallFollower;
  /** W3C trace context of the request, as its field has it; what is not one is ignored. */
  readonly traceparent?: string | null;
}

/** Header fields in order, names in lower case, repeated names allowed. */
export type Fields = readonly (readonly [name: string, value: string])[];

export interface SandboxRequest {
  readonly method: string;
  /** Absolute: scheme, authority, path and query as the guest shall see them. */
  readonly url: string;
  readonly fields: Fields;
  /** Whole body, or a stream of it, or null for none. */
  readonly body: Uint8Array | ReadableStream<Uint8Array> | null;
}

export interface SandboxResponse {
  readonly status: number;
  readonly fields: Fields;
  readonly body: Uint8Array | ReadableStream<Uint8Array> | null;
}

/** A component that is ready to be called. */
export interface LoadedComponent {
  readonly engine: EngineKind;
  /** SHA-256 of the binary, hex. */
  readonly digest: string;
  /** The component's WIT as `wasm-tools component wit` prints it; tools are derived from it. */
  readonly wit: string;
  /** In the order of the component's exports; the index is what `call` takes. */
  readonly functions: readonly ExportedFunction[];
  /** It exports `wasi:http/incoming-handler` of 0.2, or `wasi:http/handler` of 0.3. */
  readonly http: boolean;
  /** Where the code came from: `cache`, or `compiled` with the time it took. */
  readonly origin: { readonly kind: "cache" | "compiled"; readonly ms: number };
  /**
   * Calls a function with a JSON object of its named parameters, in a fresh instance or in one of
   * the call's key, as the component's isolation says.
   * Returns without a promise when the call ended inline.
   * @throws AtollError invalid_argument, limit, trap, deadline, cancelled, overloaded, panic, closed
   */
  call(
    functionIndex: number,
    argumentsJson: string,
    options?: CallOptions,
  ): CallOutcome | Promise<CallOutcome>;
  /** Serves one HTTP request in a fresh instance. The same errors as `call`. */
  handle(
    request: SandboxRequest,
    options?: CallOptions,
  ): SandboxResponse | Promise<SandboxResponse>;
  /** Refuses new calls, waits for running ones, releases the code. */
  unload(): Promise<void>;
}

export interface Sandbox {
  readonly kind: EngineKind;
  /** @throws AtollError component: not a component, unknown imports, refused by the engine. */
  load(spec: ComponentSpec): Promise<LoadedComponent>;
  close(): Promise<void>;
}
