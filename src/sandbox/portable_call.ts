/**
 * One call on the portable engine, from the main thread: its budget, its cancelling, its end.
 *
 * Owns the translation of how a worker ended a call into outcomes and errors. Must not know what is
 * called.
 */
import { Buffer } from "node:buffer";
import { AtollError } from "../core/errors.ts";
import type { Isolation } from "../core/isolation.ts";
import { traceIdOf } from "../wire/extensions.ts";
import { limitError } from "./limit_error.ts";
import type { Ending, ToWorker } from "./portable_protocol.ts";
import type { Choice } from "./portable_residents.ts";
import type { Job, PortableQueue } from "./portable_queue.ts";
import type { CallListener, PortableThread } from "./portable_thread.ts";
import type { CallFollower, CallOptions, ComponentSpec, GuestLine } from "./sandbox.ts";

let lastId = 0;

/** How long a call that was cancelled may take to leave its actor in no doubt. */
const FINISH_MS = 1_000;

/** A message to the worker that still lacks what is known when it starts. */
export type Prepared =
  | Omit<Extract<ToWorker, { op: "call" }>, "id" | "budgetMs">
  | Omit<Extract<ToWorker, { op: "http" }>, "id" | "budgetMs">;

/** What the call tells while it runs. */
export interface CallEvents extends Pick<CallListener, "head" | "chunk" | "complete"> {
  /** It runs now. */
  started?(thread: PortableThread, id: number): void;
  /** The guest returned; only endings of kind `ok` and `error`. */
  ended(ending: Extract<Ending, { json: string }>): void;
  failed(error: AtollError): void;
}

export class PortableCall implements Job {
  readonly bytes: number;
  readonly key: string | null;
  readonly #spec: ComponentSpec;
  readonly #queue: PortableQueue;
  readonly #message: Prepared;
  readonly #events: CallEvents;
  readonly #signal: AbortSignal | undefined;
  readonly #follower: CallFollower | undefined;
  readonly #traceId: string | null;
  readonly #budgetMs: number;
  readonly #deadline: number;
  readonly #id = ++lastId % 0x7fffffff;
  readonly #timer: ReturnType<typeof setTimeout>;
  #thread: PortableThread | null = null;
  #finishing: ReturnType<typeof setTimeout> | null = null;
  #over = false;

  constructor(
    spec: ComponentSpec,
    queue: PortableQueue,
    message: Prepared,
    events: CallEvents,
    options: CallOptions = {},
  ) {
    this.#spec = spec;
    this.#queue = queue;
    this.#message = message;
    this.bytes = bytesOf(message);
    this.key = message.op === "call" ? keyOf(spec.isolation, options.isolationKey) : null;
    this.#events = events;
    this.#signal = options.signal;
    this.#follower = options.follower;
    const traceparent = spec.onLog ? options.traceparent : null;
    this.#traceId = traceparent ? traceIdOf(traceparent) : null;
    const { wallMs } = spec.limits;
    this.#budgetMs = Math.min(options.budgetMs ?? wallMs, wallMs);
    this.#deadline = performance.now() + this.#budgetMs;
    // While it waits for a worker; once it runs its worker looks at the clock.
    this.#timer = setTimeout(() => this.#expired(), this.#budgetMs);
    this.#signal?.addEventListener("abort", this.#abort);
  }

  /** @throws AtollError overloaded, closed, cancelled */
  submit(): void {
    try {
      if (this.#signal?.aborted) throw cancelled(this.#spec.id);
      this.#queue.submit(this);
    } catch (thrown) {
      this.#finish();
      throw thrown;
    }
  }

  /** Asks for the end. */
  cancel(): void {
    if (this.#over) return;
    const thread = this.#thread;
    if (thread !== null) {
      if (this.key === null || this.#spec.isolation?.mode !== "actor") {
        return thread.cancel(this.#id);
      }
      // Only its answer is dropped, in time.
      this.#finishing ??= setTimeout(() => thread.cancel(this.#id), FINISH_MS);
      return;
    }
    this.#queue.withdraw(this);
    this.fail(cancelled(this.#spec.id));
  }

  /** A chunk of the response was passed on. */
  credit(): void {
    this.#thread?.credit(this.#id);
  }

  run(
    thread: PortableThread,
    choice: Choice | null,
    done: (reason: string | null, memoryBytes: number) => void,
  ): void {
    clearTimeout(this.#timer);
    this.#thread = thread;
    const { head, chunk, complete } = this.#events;
    const budgetMs = Math.max(0, this.#deadline - performance.now());
    if (choice !== null && choice.lost !== null) {
      const text = `atoll: the actor begins anew, its state is lost: ${choice.lost}`;
      this.#log({ stream: "stderr", level: "warn", text });
    }
    const residence = choice === null ? {} : { residence: { instance: choice.resident.instance } };
    thread.start({ ...this.#message, ...residence, id: this.#id, budgetMs }, {
      log: (line) => this.#log(line),
      progress: (report) => this.#follower?.progress(report),
      ...(head ? { head } : {}),
      ...(chunk ? { chunk } : {}),
      ...(complete ? { complete } : {}),
      end: (ending, kept, memoryBytes) => {
        this.#finish();
        done(kept ? null : this.#reason(ending), memoryBytes);
        if (this.#finishing === null) return this.#settle(ending);
        clearTimeout(this.#finishing);
        this.#events.failed(cancelled(this.#spec.id));
      },
    });
    this.#events.started?.(thread, this.#id);
  }

  fail(error: AtollError): void {
    if (this.#over) return;
    this.#finish();
    this.#events.failed(error);
  }

  #log(line: GuestLine): void {
    const traced = this.#traceId === null ? {} : { traceId: this.#traceId };
    this.#spec.onLog?.({ ...line, lost: 0, ...traced });
    this.#follower?.log({ ...line, lost: 0 });
  }

  /** How the call ended, in words. */
  #reason(ending: Ending | null): string {
    return ending !== null && "json" in ending ? "" : this.#errorOf(ending).message;
  }

  #settle(ending: Ending | null): void {
    if (ending !== null && "json" in ending) this.#events.ended(ending);
    else this.#events.failed(this.#errorOf(ending));
  }

  #errorOf(ending: Exclude<Ending, { json: string }> | null): AtollError {
    const { id: plugin, limits } = this.#spec;
    switch (ending?.kind) {
      case "limit":
        return limitError(ending.limit, limits, plugin);
      case "invalid":
        return new AtollError("invalid_argument", ending.message, ending.data);
      case "trap":
        return new AtollError("trap", ending.message, { plugin });
      case "cancelled":
        return cancelled(plugin);
      case "deadline":
        return this.#outOfTime();
      default:
        return performance.now() >= this.#deadline
          ? this.#outOfTime()
          : new AtollError("panic", "the worker of the call was lost", { plugin });
    }
  }

  #expired(): void {
    if (this.#thread !== null) return;
    this.#queue.withdraw(this);
    this.fail(this.#outOfTime());
  }

  #outOfTime(): AtollError {
    const { id: plugin, limits } = this.#spec;
    return this.#budgetMs >= limits.wallMs
      ? limitError("wall", limits, plugin)
      : new AtollError("deadline", "the call's deadline passed before the guest answered", {
        plugin,
      });
  }

  readonly #abort = (): void => this.cancel();

  #finish(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#abort);
  }
}

/** The key of whoever names none: no other key is empty. */
const ANONYMOUS = "";

/** The native engine's bound. */
const KEY_BYTES_MAX = 1_024;

function keyOf(isolation: Isolation | undefined, key: string | undefined): string | null {
  if (isolation === undefined || isolation.mode === "call") return null;
  if (isolation.shared || key === undefined) return ANONYMOUS;
  if (key === "" || Buffer.byteLength(key) > KEY_BYTES_MAX) {
    throw new AtollError("invalid_argument", `a key has 1 to ${KEY_BYTES_MAX} bytes`);
  }
  return key;
}

function bytesOf(message: Prepared): number {
  if (message.op === "call") return message.argumentsJson.length;
  const { url, fields, body } = message;
  const text = fields.reduce((sum, [name, value]) => sum + name.length + value.length, url.length);
  return body instanceof Uint8Array ? text + body.length : text;
}

function cancelled(plugin: string): AtollError {
  return new AtollError("cancelled", "the call was cancelled", { plugin });
}
