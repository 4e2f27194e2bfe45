/**
 * The calls of one component and the few workers that run them.
 *
 * A worker is a JavaScript heap of its own, tens of megabytes, so there are two at most; calls
 * beyond them wait in a bounded queue. Owns who runs when. Must not know values or HTTP.
 */
import { AtollError } from "../core/errors.ts";
import { PortableThread } from "./portable_thread.ts";
import type { WorkerStart } from "./portable_protocol.ts";

/** Workers of one component. */
const THREADS_MAX = 2;

/** Seconds after which a full queue is worth another try. */
const RETRY_AFTER_SECONDS = 1;

/** A call that wants a worker. */
export interface Job {
  /** Takes the worker until `done` is called. */
  run(thread: PortableThread, done: () => void): void;
  /** It got no worker. */
  fail(error: AtollError): void;
}

export class PortableQueue {
  readonly #start: Omit<WorkerStart, "shared" | "body">;
  readonly #plugin: string;
  readonly #threadsMax: number;
  readonly #threads: { thread: PortableThread; state: "starting" | "idle" | "busy" }[] = [];
  readonly #waiting: Job[] = [];
  #state: "open" | "draining" | "closed" = "open";
  #idle: (() => void)[] = [];

  constructor(plugin: string, start: Omit<WorkerStart, "shared" | "body">) {
    this.#plugin = plugin;
    this.#start = start;
    this.#threadsMax = Math.max(1, Math.min(THREADS_MAX, start.limits.concurrency));
  }

  /**
   * Starts the first worker.
   * @throws AtollError component: the runtime cannot use the code.
   */
  async warm(): Promise<void> {
    const entry = this.#spawn();
    try {
      await entry.thread.ready;
    } catch (thrown) {
      this.#state = "closed";
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      throw new AtollError("component", `Cannot load plugin "${this.#plugin}": ${reason}`, {
        plugin: this.#plugin,
      }, { cause: thrown });
    }
  }

  /** @throws AtollError overloaded, closed */
  submit(job: Job): void {
    if (this.#state !== "open") throw this.#closed();
    // Those for whom a worker is free are not waiting.
    if (this.#waiting.length >= this.#start.limits.queue + this.#free()) {
      throw new AtollError(
        "overloaded",
        `plugin "${this.#plugin}" has ${this.#start.limits.queue} calls waiting (limits.queue)`,
        { plugin: this.#plugin, retryAfterSeconds: RETRY_AFTER_SECONDS },
      );
    }
    this.#waiting.push(job);
    this.#pump();
  }

  /** Takes a job out that waits no longer. */
  withdraw(job: Job): void {
    const index = this.#waiting.indexOf(job);
    if (index >= 0) this.#waiting.splice(index, 1);
    this.#settle();
  }

  /** Refuses new jobs, waits for the others, ends the workers. */
  async drain(): Promise<void> {
    if (this.#state === "open") this.#state = "draining";
    if (this.#waiting.length > 0 || this.#threads.some(({ state }) => state === "busy")) {
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
    await this.close();
  }

  /** Ends the workers; jobs that run are lost, jobs that wait fail. */
  async close(): Promise<void> {
    this.#state = "closed";
    for (const job of this.#waiting.splice(0)) job.fail(this.#closed());
    await Promise.all(this.#threads.splice(0).map(({ thread }) => thread.terminate()));
    this.#settle();
  }

  #free(): number {
    const running = this.#threads.filter(({ state }) => state === "busy").length;
    return this.#threadsMax - running;
  }

  #pump(): void {
    while (this.#waiting.length > 0) {
      const entry = this.#threads.find(({ state }) => state === "idle");
      if (entry === undefined) break;
      const job = this.#waiting.shift();
      if (job === undefined) break;
      entry.state = "busy";
      job.run(entry.thread, () => {
        entry.state = "idle";
        if (entry.thread.worn) this.#retire(entry);
        this.#pump();
        this.#settle();
      });
    }
    const starting = this.#threads.filter(({ state }) => state === "starting").length;
    if (this.#waiting.length > starting && this.#threads.length < this.#threadsMax) this.#spawn();
  }

  #spawn() {
    const thread = new PortableThread(this.#start, () => this.#lose(entry));
    const entry: { thread: PortableThread; state: "starting" | "idle" | "busy" } = {
      thread,
      state: "starting",
    };
    this.#threads.push(entry);
    thread.ready.then(() => {
      entry.state = "idle";
      thread.rest();
      this.#pump();
    }, (thrown) => {
      this.#forget(entry);
      // Without any worker nobody would ever take what waits.
      if (this.#threads.length > 0) return;
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      const error = new AtollError("internal", `Cannot start a worker: ${reason}`);
      for (const job of this.#waiting.splice(0)) job.fail(error);
    });
    return entry;
  }

  #retire(entry: { readonly thread: PortableThread }): void {
    this.#forget(entry);
    void entry.thread.terminate();
    // The next call shall not have to wait for a worker to start.
    if (this.#state === "open" && this.#threads.length === 0) this.#spawn();
  }

  /** A worker is gone, with or without a call; what waits gets another. */
  #lose(entry: { readonly thread: PortableThread }): void {
    this.#forget(entry);
    if (this.#state !== "closed") this.#pump();
    this.#settle();
  }

  #forget(entry: { readonly thread: PortableThread }): void {
    const index = this.#threads.findIndex(({ thread }) => thread === entry.thread);
    if (index >= 0) this.#threads.splice(index, 1);
  }

  #settle(): void {
    if (this.#waiting.length > 0 || this.#threads.some(({ state }) => state === "busy")) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #closed(): AtollError {
    return new AtollError("closed", `plugin "${this.#plugin}" was unloaded`, {
      plugin: this.#plugin,
    });
  }
}
