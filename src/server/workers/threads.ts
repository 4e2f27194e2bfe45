/**
 * Threads that run one module each, watched over.
 *
 * Owns: starting them, starting another one where one has ended, telling all of them the same in
 * the same order, joining them. Must not know what the module does beyond `protocol.ts`.
 */
import { Worker } from "node:worker_threads";
import type { AtollError } from "../../core/errors.ts";
import { toAtollError } from "../../core/errors.ts";
import type { Logger } from "../../telemetry/log.ts";
import { type FromWorker, type Numbered, receivedError, type ToWorker } from "./protocol.ts";

/** How one that ends is followed by another. */
export interface Backoff {
  /** The first wait; each one that follows is twice as long. */
  readonly firstMs: number;
  readonly mostMs: number;
  /** One that has served for so long begins with the first wait again. */
  readonly steadyMs: number;
}

const BACKOFF: Backoff = { firstMs: 100, mostMs: 10_000, steadyMs: 60_000 };

/** How long after the grace time a thread may still say that it has stopped. */
const JOIN_MS = 2_000;

export interface ThreadsOptions {
  readonly module: URL;
  readonly count: number;
  /** What a thread is started with. */
  readonly data: () => object;
  /** What one that has just started has to be told to be where the others are; then it serves. */
  readonly greeting: () => readonly ToWorker[];
  readonly log: Logger;
  /** Lines of a thread for the log, and what it was started with. */
  readonly onLog: (lines: string, data: object) => void;
  /** The number of those that serve has changed, or that of restarts. */
  readonly onChange: () => void;
  readonly backoff?: Backoff;
}

export class WorkerThreads {
  readonly #options: ThreadsOptions;
  readonly #backoff: Backoff;
  readonly #threads = new Set<Thread>();
  /** Of those that wait for their next start. */
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #number = 0;
  #told: Promise<void> = Promise.resolve();
  #started = false;
  #stopping = false;
  #restarts = 0;

  constructor(options: ThreadsOptions) {
    this.#options = options;
    this.#backoff = options.backoff ?? BACKOFF;
  }

  /** Threads that serve. */
  get serving(): number {
    return [...this.#threads].filter((thread) => thread.serving).length;
  }

  /** Threads that were started in the place of one that had ended. */
  get restarts(): number {
    return this.#restarts;
  }

  /**
   * Starts all of them.
   * @returns when each serves; rejects with why one does not
   */
  async start(): Promise<void> {
    const { count } = this.#options;
    await Promise.all(Array.from({ length: count }, (_, index) => this.#spawn(index + 1, 0)));
    this.#started = true;
  }

  /** Tells all of them, in the order of the calls; {@link told} says when all have heard. */
  tell(message: ToWorker): void {
    const number = ++this.#number;
    const heard = [...this.#threads].map((thread) => thread.tell({ number, message }));
    this.#told = Promise.all([this.#told, ...heard]).then(() => {});
  }

  /** Resolves when each thread that serves has taken what it was told so far. */
  told(): Promise<void> {
    return this.#told;
  }

  /**
   * Ends all of them, within the grace time and a little, and joins them.
   * @returns false when calls were still running at the end of it
   */
  async stop(graceMs: number): Promise<boolean> {
    this.#stopping = true;
    for (const timer of this.#timers) clearTimeout(timer);
    const ended = await Promise.all([...this.#threads].map((thread) => thread.stop(graceMs)));
    return ended.every((each) => each);
  }

  /** Resolves when the thread serves; rejects when it ends before. */
  async #spawn(seat: number, waits: number): Promise<void> {
    let thread: Thread;
    try {
      thread = new Thread(this.#options, () => this.#ended(thread, seat, waits));
    } catch (thrown) {
      if (!this.#started) throw thrown;
      return this.#again(seat, waits, toAtollError(thrown));
    }
    this.#threads.add(thread);
    await thread.served;
    if (!this.#stopping) this.#options.onChange();
  }

  #ended(thread: Thread, seat: number, waits: number): void {
    this.#threads.delete(thread);
    // Whoever waits for the start of all hears of one that never served.
    if (this.#stopping || (!this.#started && !thread.serving)) return;
    const next = thread.servedMs >= this.#backoff.steadyMs ? 0 : waits;
    this.#again(seat, next, thread.failure);
  }

  /** Has another one started in the place of one that is not there. */
  #again(seat: number, waits: number, error: AtollError): void {
    const { firstMs, mostMs } = this.#backoff;
    const waitMs = Math.min(mostMs, firstMs * 2 ** waits);
    this.#options.log.error(
      `worker ${seat + 1} ended and its connections broke: ${error.message}; ` +
        `another one starts in ${waitMs} ms`,
      error.code === "internal" ? { error } : undefined,
    );
    this.#options.onChange();
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#restarts++;
      // A failure has been reported by then.
      this.#spawn(seat, waits + 1).catch(() => {});
    }, waitMs);
    this.#timers.add(timer);
  }
}

/** One thread, from its start to its end. */
class Thread {
  readonly #options: ThreadsOptions;
  readonly #worker: Worker;
  readonly #data: object;
  readonly #onEnd: () => void;
  readonly #served = Promise.withResolvers<void>();
  readonly #gone = Promise.withResolvers<void>();
  readonly #stopped = Promise.withResolvers<boolean>();
  /** What it was told and has not taken yet, in order. */
  readonly #unheard = new Map<number, () => void>();
  #listens = false;
  #over = false;
  #servedAt: number | null = null;
  #failure: AtollError | null = null;

  constructor(options: ThreadsOptions, onEnd: () => void) {
    this.#options = options;
    this.#onEnd = onEnd;
    this.#data = options.data();
    // It is told what it needs: its environment is none of its business.
    this.#worker = new Worker(options.module, { workerData: this.#data, env: {} });
    this.#worker.on("message", (message: FromWorker) => this.#heard(message));
    this.#worker.on("error", (error: unknown) => {
      this.#failure ??= toAtollError(error);
      this.#end();
    });
    this.#worker.on("exit", () => this.#end());
    this.#served.promise.catch(() => {});
  }

  get served(): Promise<void> {
    return this.#served.promise;
  }

  get serving(): boolean {
    return this.#servedAt !== null;
  }

  get servedMs(): number {
    return this.#servedAt === null ? 0 : performance.now() - this.#servedAt;
  }

  get failure(): AtollError {
    return this.#failure ?? toAtollError(new Error("it ended by itself"));
  }

  /** Resolves when it has taken the message, or is gone; one that does not listen yet knows later. */
  tell(message: Numbered): Promise<void> {
    if (!this.#listens || this.#over) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#unheard.set(message.number, resolve);
    this.#worker.postMessage(message);
    return promise;
  }

  async stop(graceMs: number): Promise<boolean> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let ended = true;
    if (this.#listens && !this.#over) {
      this.#worker.postMessage({ number: 0, message: { op: "stop", graceMs } } satisfies Numbered);
      const expired = new Promise<boolean>((resolve) => {
        timer = setTimeout(() => resolve(false), graceMs + JOIN_MS);
      });
      ended = await Promise.race([this.#stopped.promise, expired]);
      clearTimeout(timer);
    }
    if (!this.#over) await this.#worker.terminate();
    this.#end();
    return ended;
  }

  #heard(message: FromWorker): void {
    switch (message.op) {
      case "hello":
        this.#listens = true;
        for (const each of this.#options.greeting()) {
          this.#worker.postMessage({ number: 0, message: each } satisfies Numbered);
        }
        return;
      case "serving":
        this.#servedAt = performance.now();
        this.#served.resolve();
        return;
      case "heard":
        this.#unheard.get(message.number)?.();
        this.#unheard.delete(message.number);
        return;
      case "log":
        this.#options.onLog(message.text, this.#data);
        return;
      case "failed":
        this.#failure ??= receivedError(message.error);
        void this.#worker.terminate().then(() => this.#end());
        return;
      case "stopped":
        this.#stopped.resolve(message.ended);
        return;
    }
  }

  /** The thread is gone: nobody must wait for it any more. */
  #end(): void {
    if (this.#over) return;
    this.#over = true;
    for (const resolve of this.#unheard.values()) resolve();
    this.#unheard.clear();
    this.#stopped.resolve(true);
    this.#served.reject(this.failure);
    this.#onEnd();
  }
}
