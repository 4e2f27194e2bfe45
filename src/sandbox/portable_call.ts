/**
 * One call on the portable engine, from the main thread: its budget, its cancelling, its end.
 *
 * Owns the translation of how a worker ended a call into outcomes and errors. Must not know what is
 * called.
 */
import { AtollError } from "../core/errors.ts";
import { traceIdOf } from "../wire/extensions.ts";
import { limitError } from "./limit_error.ts";
import type { Ending, ToWorker } from "./portable_protocol.ts";
import type { Job, PortableQueue } from "./portable_queue.ts";
import type { CallListener, PortableThread } from "./portable_thread.ts";
import type { CallOptions, ComponentSpec } from "./sandbox.ts";

let lastId = 0;

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
  readonly #spec: ComponentSpec;
  readonly #queue: PortableQueue;
  readonly #message: Prepared;
  readonly #events: CallEvents;
  readonly #signal: AbortSignal | undefined;
  readonly #traceId: string | null;
  readonly #budgetMs: number;
  readonly #deadline: number;
  readonly #id = ++lastId % 0x7fffffff;
  readonly #timer: ReturnType<typeof setTimeout>;
  #thread: PortableThread | null = null;
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
    this.#events = events;
    this.#signal = options.signal;
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
    if (this.#thread !== null) return this.#thread.cancel(this.#id);
    this.#queue.withdraw(this);
    this.fail(cancelled(this.#spec.id));
  }

  /** A chunk of the response was passed on. */
  credit(): void {
    this.#thread?.credit(this.#id);
  }

  run(thread: PortableThread, done: () => void): void {
    clearTimeout(this.#timer);
    this.#thread = thread;
    const { head, chunk, complete } = this.#events;
    const budgetMs = Math.max(0, this.#deadline - performance.now());
    thread.start({ ...this.#message, id: this.#id, budgetMs }, {
      log: (stream, text) => {
        const traced = this.#traceId === null ? {} : { traceId: this.#traceId };
        this.#spec.onLog?.({ stream, text, lost: 0, ...traced });
      },
      ...(head ? { head } : {}),
      ...(chunk ? { chunk } : {}),
      ...(complete ? { complete } : {}),
      end: (ending) => {
        this.#finish();
        done();
        this.#settle(ending);
      },
    });
    this.#events.started?.(thread, this.#id);
  }

  fail(error: AtollError): void {
    if (this.#over) return;
    this.#finish();
    this.#events.failed(error);
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

function bytesOf(message: Prepared): number {
  if (message.op === "call") return message.argumentsJson.length;
  const { url, fields, body } = message;
  const text = fields.reduce((sum, [name, value]) => sum + name.length + value.length, url.length);
  return body instanceof Uint8Array ? text + body.length : text;
}

function cancelled(plugin: string): AtollError {
  return new AtollError("cancelled", "the call was cancelled", { plugin });
}
