/**
 * What the portable engine's threads say to each other.
 *
 * Owns the messages and the layout of the shared words. A guest runs without returning to the
 * worker's event loop, so what has to reach it meanwhile is a shared word it looks at (cancel,
 * credit) or a message that is taken synchronously from a port (request body).
 */
import type { ErrorData } from "../core/errors.ts";
import type { Limits } from "../core/limits.ts";
import type { LimitName } from "./limit_error.ts";
import type { GuardedModule } from "./portable_core.ts";
import type { PagesStart } from "./portable_pages.ts";
import type { GuestLine, ProgressReport } from "./sandbox.ts";
import type { WitFunction } from "./wit/model.ts";

/** Words of the shared buffer. */
export const WORD_WAKE = 0;
/** The number of the call that is to be cancelled. */
export const WORD_CANCEL = 1;
/** How many response chunks of the running call were passed on, counted from its start. */
export const WORD_CREDIT = 2;
export const SHARED_WORDS = 3;

/** Chunks in flight in one direction. */
export const CHUNK_WINDOW = 4;
/** Largest chunk of a response body. */
export const CHUNK_BYTES_MAX = 64 * 1024;

/** A component as the compiler gives it out: what a worker needs to run it. */
export interface CompiledComponent {
  /** The ES module that jco generates; its `instantiate` takes core modules and imports. */
  readonly source: string;
  /** Core modules by the name that the generated code asks for. */
  readonly modules: readonly (readonly [name: string, module: GuardedModule])[];
}

/** A function with where it is found in an instance. */
export interface FunctionPlace {
  readonly interface: string | null;
  readonly function: WitFunction;
}

/** The instance of a call that outlives it. */
export interface Residence {
  /** Its number in the worker; one that the worker does not have is made. */
  readonly instance: number;
}

/** What a worker is started with. */
export interface WorkerStart {
  readonly component: CompiledComponent;
  readonly limits: Limits;
  /** Where it counts memory with the component's other workers; null: there is no such limit. */
  readonly pages: PagesStart | null;
  readonly shared: SharedArrayBuffer;
  /** Request body chunks: bytes, null at the end, a string for a body that broke off. */
  readonly body: unknown;
  /** What the plugin reads by `wasi:config`. */
  readonly config: Readonly<Record<string, string>>;
  /** The name that the component exports its HTTP handler as. */
  readonly httpInterface: string | null;
}

export interface CallMessage {
  readonly op: "call";
  readonly id: number;
  readonly place: FunctionPlace;
  /** Read by the worker: what waits for one is short text, and no work of the main thread. */
  readonly argumentsJson: string;
  /** Absent: a fresh instance, gone after the call. */
  readonly residence?: Residence;
  /** Milliseconds left. */
  readonly budgetMs: number;
}

export interface HttpMessage {
  readonly op: "http";
  readonly id: number;
  readonly method: string;
  readonly url: string;
  readonly fields: readonly (readonly [string, string])[];
  /** The whole body, null for none, or a stream that comes through the port. */
  readonly body: Uint8Array | null | "stream";
  readonly budgetMs: number;
}

/** Lets an instance go; the worker runs no call. */
export interface DropMessage {
  readonly op: "drop";
  readonly instance: number;
}

export type ToWorker = CallMessage | HttpMessage;

/** How a call ended. */
export type Ending =
  | { readonly kind: "ok" | "error"; readonly json: string }
  | { readonly kind: "limit"; readonly limit: LimitName }
  | { readonly kind: "trap"; readonly message: string }
  | { readonly kind: "invalid"; readonly message: string; readonly data: ErrorData }
  /** `deadline`: the budget ran out; the main thread knows whether it was the caller's or `wallMs`. */
  | { readonly kind: "deadline" | "cancelled" };

export type FromWorker =
  | { readonly op: "ready" }
  /** The component's code cannot be used by this runtime. */
  | { readonly op: "broken"; readonly message: string }
  | { readonly op: "log"; readonly line: GuestLine }
  | { readonly op: "progress"; readonly report: ProgressReport }
  | { readonly op: "head"; readonly status: number; readonly fields: [string, string][] }
  | { readonly op: "chunk"; readonly bytes: Uint8Array }
  /** The response is complete; the guest may still run. */
  | { readonly op: "complete" }
  /** The guest took a chunk of the request's body. */
  | { readonly op: "credit" }
  | {
    readonly op: "end";
    readonly id: number;
    readonly ending: Ending;
    /** Linear memory that the call had at its end. */
    readonly memoryBytes: number;
    /** Its instance is still there. */
    readonly kept: boolean;
  };
