/**
 * The calls of one component and the few workers that run them.
 *
 * A worker is a JavaScript heap of its own, tens of megabytes, so there are two at most; calls
 * beyond them wait in a bounded queue. Owns who runs when. Must not know values or HTTP.
 */
import { AtollError, toAtollError } from "../core/errors.ts";
import { CallRate } from "./call_rate.ts";
import { queueError, rateError } from "./limit_error.ts";
import { type PagesStart, PluginPages } from "./portable_pages.ts";
import type { Choice, PortableResidents } from "./portable_residents.ts";
import { PortableThread } from "./portable_thread.ts";
import type { WorkerStart } from "./portable_protocol.ts";

/** Workers of one component. */
const THREADS_MAX = 2;

/** Seconds after which a full queue is worth another try. */
const RETRY_AFTER_SECONDS = 1;

/** Bytes of all waiting calls together: what the guest is given waits in the host's memory. */
const WAITING_BYTES_MAX = 32 * 1024 * 1024;

/** After a worker could not be started. */
const RESTART_PAUSE_MS = 1_000;

/** A call that wants a worker. */
export interface Job {
  /** What it holds while it waits. */
  readonly bytes: number;
  /** Whose call it is, where instances outlive calls; null: it has a fresh one. */
  readonly key: string | null;
  /** Takes the worker until `done` is called, which says how an instance ended that is gone. */
  run(
    thread: PortableThread,
    choice: Choice | null,
    done: (reason: string | null, memoryBytes: number) => void,
  ): void;
  /** It got no worker. */
  fail(error: AtollError): void;
}

/** What all workers of a component are started with. */
export type QueueStart = Omit<WorkerStart, "shared" | "body" | "pages">;

interface Entry {
  readonly thread: PortableThread;
  readonly pages: PagesStart | null;
  state: "starting" | "idle" | "busy";
}

export class PortableQueue {
  readonly #start: QueueStart;
  readonly #plugin: string;
  readonly #threadsMax: number;
  readonly #threads: Entry[] = [];
  readonly #waiting: Job[] = [];
  readonly #residents: PortableResidents | null;
  readonly #rate: CallRate;
  readonly #pages: PluginPages | null;
  #waitingBytes = 0;
  #pause: ReturnType<typeof setTimeout> | null = null;
  #state: "open" | "draining" | "closed" = "open";
  #idle: (() => void)[] = [];

  constructor(
    plugin: string,
    start: QueueStart,
    residents: PortableResidents | null = null,
  ) {
    this.#plugin = plugin;
    this.#residents = residents;
    this.#start = start;
    const { requestsPerSecond, pluginMemoryBytes } = start.limits;
    this.#rate = new CallRate(requestsPerSecond);
    this.#pages = pluginMemoryBytes === 0 ? null : new PluginPages(pluginMemoryBytes);
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

  /** @throws AtollError rate_limited, overloaded, closed */
  submit(job: Job): void {
    if (this.#state !== "open") throw this.#closed();
    if (!this.#rate.take()) throw rateError(this.#start.limits, this.#plugin);
    if (this.#queueFull(job)) throw queueError(this.#start.limits, this.#plugin);
    // One alone may be as large as it likes: whoever took it in has a limit of its own.
    if (this.#waitingBytes > 0 && this.#waitingBytes + job.bytes > WAITING_BYTES_MAX) {
      throw this.#overloaded(`calls of ${this.#waitingBytes} bytes waiting`);
    }
    this.#waiting.push(job);
    this.#waitingBytes += job.bytes;
    this.#pump();
  }

  /** Takes a job out that waits no longer. */
  withdraw(job: Job): void {
    this.#leave(job);
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
    if (this.#pause !== null) clearTimeout(this.#pause);
    this.#failWaiting(this.#closed());
    this.#residents?.clear();
    await Promise.all(this.#threads.splice(0).map(({ thread }) => thread.terminate()));
    this.#settle();
  }

  /** An actor has a mailbox of its own. Those for whom a worker is free are not waiting. */
  #queueFull({ key }: Job): boolean {
    const { queue } = this.#start.limits;
    if (key === null || !this.#residents?.actors) {
      return this.#waiting.length >= queue + this.#free();
    }
    const waiting = this.#waiting.filter((job) => job.key === key).length;
    return waiting >= queue + (this.#residents.busy(key) ? 0 : 1);
  }

  #free(): number {
    const running = this.#threads.filter(({ state }) => state === "busy").length;
    return this.#threadsMax - running;
  }

  #pump(): void {
    for (const job of [...this.#waiting]) {
      const idle = this.#threads.filter(({ state }) => state === "idle");
      if (idle.length === 0) break;
      let choice: Choice | null = null;
      if (job.key !== null && this.#residents !== null) {
        try {
          choice = this.#residents.choose(job.key, idle.map(({ thread }) => thread));
        } catch (thrown) {
          this.#leave(job);
          job.fail(toAtollError(thrown));
          continue;
        }
        // Its actor is somewhere else; those behind it may be luckier.
        if (choice === null) continue;
      }
      const entry = choice === null
        ? idle[0]
        : idle.find(({ thread }) => thread === choice.resident.thread);
      if (entry === undefined) break;
      this.#leave(job);
      this.#begin(entry, job, choice);
    }
    const starting = this.#threads.filter(({ state }) => state === "starting").length;
    const room = this.#threads.length < this.#threadsMax && this.#pause === null;
    if (this.#waiting.length > starting && room) this.#spawn();
  }

  #begin(entry: Entry, job: Job, choice: Choice | null): void {
    entry.state = "busy";
    this.#residents?.giveWay(choice);
    job.run(entry.thread, choice, (reason, memoryBytes) => {
      entry.state = "idle";
      if (choice !== null) this.#residents?.ended(choice.resident, reason, memoryBytes);
      // An actor's state is worth more than memory that comes back late.
      const needed = this.#residents?.actors && this.#residents.lives(entry.thread);
      if (entry.thread.worn && !needed) this.#retire(entry);
      this.#pump();
      this.#settle();
    });
  }

  #leave(job: Job): void {
    const index = this.#waiting.indexOf(job);
    if (index < 0) return;
    this.#waiting.splice(index, 1);
    this.#waitingBytes -= job.bytes;
  }

  #spawn(): Entry {
    const pages = this.#pages?.begin() ?? null;
    const thread = new PortableThread({ ...this.#start, pages }, () => this.#lose(entry));
    const entry: Entry = { thread, pages, state: "starting" };
    this.#threads.push(entry);
    thread.ready.then(() => {
      entry.state = "idle";
      thread.rest();
      this.#pump();
    }, (thrown) => this.#stillborn(entry, thrown));
    return entry;
  }

  /** A worker could not be started: the next one would most likely fare no better at once. */
  #stillborn(entry: Entry, thrown: unknown): void {
    this.#forget(entry);
    void entry.thread.terminate();
    if (this.#state === "closed") return;
    this.#pause ??= setTimeout(() => {
      this.#pause = null;
      this.#pump();
    }, RESTART_PAUSE_MS);
    // Without any worker nobody would take what waits.
    if (this.#threads.length > 0) return;
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    this.#failWaiting(new AtollError("internal", `Cannot start a worker: ${reason}`));
    this.#settle();
  }

  #failWaiting(error: AtollError): void {
    this.#waitingBytes = 0;
    for (const job of this.#waiting.splice(0)) job.fail(error);
  }

  #retire(entry: Entry): void {
    this.#forget(entry);
    void entry.thread.terminate();
    // The next call shall not have to wait for a worker to start.
    if (this.#state === "open" && this.#threads.length === 0) this.#spawn();
  }

  /** A worker is gone, with or without a call; what waits gets another. */
  #lose(entry: Entry): void {
    // One that was never ready is answered for by #stillborn().
    if (entry.state === "starting") return;
    this.#forget(entry);
    if (this.#state !== "closed") this.#pump();
    this.#settle();
  }

  #forget(entry: Entry): void {
    this.#residents?.forget(entry.thread);
    if (entry.pages !== null) this.#pages?.end(entry.pages);
    const index = this.#threads.indexOf(entry);
    if (index >= 0) this.#threads.splice(index, 1);
  }

  #settle(): void {
    if (this.#waiting.length > 0 || this.#threads.some(({ state }) => state === "busy")) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #overloaded(reason: string): AtollError {
    return new AtollError("overloaded", `plugin "${this.#plugin}" has ${reason}`, {
      plugin: this.#plugin,
      retryAfterSeconds: RETRY_AFTER_SECONDS,
    });
  }

  #closed(): AtollError {
    return new AtollError("closed", `plugin "${this.#plugin}" was unloaded`, {
      plugin: this.#plugin,
    });
  }
}
