/**
 * One worker of a component, seen from the main thread: takes one call at a time.
 *
 * Owns the worker's life and the two ways to end a call: asking the guard inside (a shared word),
 * and, when the worker does not answer, giving the thread up. Must not know queues.
 */
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import {
  CHUNK_WINDOW,
  type DropMessage,
  type Ending,
  type FromWorker,
  SHARED_WORDS,
  type ToWorker,
  WORD_CANCEL,
  WORD_CREDIT,
  WORD_WAKE,
  type WorkerStart,
} from "./portable_protocol.ts";
import type { BodyMessage } from "./portable_http.ts";
import type { GuestLine, ProgressReport } from "./sandbox.ts";

/** How long after its deadline a call may still answer before its thread is given up. */
const GRACE_MS = 2_000;

/**
 * Memories from this size on are counted, and after so many bytes of them a worker is replaced:
 * runtimes give the memories of dead instances back late, an ended worker's at once.
 */
const HEAVY_BYTES = 8 * 1024 * 1024;
const WORN_BYTES = 256 * 1024 * 1024;

/** What a call wants to hear. */
export interface CallListener {
  log(line: GuestLine): void;
  progress(report: ProgressReport): void;
  head?(status: number, fields: [string, string][]): void;
  chunk?(bytes: Uint8Array): void;
  complete?(): void;
  /** Exactly once; null when the worker was lost. `kept`: the call's instance is still there. */
  end(ending: Ending | null, kept: boolean, memoryBytes: number): void;
}

interface Running {
  readonly id: number;
  readonly listener: CallListener;
  readonly timer: ReturnType<typeof setTimeout>;
  /** Chunks of the request's body that may still be sent. */
  window: number;
  grant: (() => void) | null;
}

export class PortableThread {
  readonly #worker: Worker;
  readonly #words: Int32Array;
  readonly #port: MessagePort;
  readonly #lost: () => void;
  #running: Running | null = null;
  #over = false;
  #heavyBytes = 0;
  /** Resolves when the worker can take calls; rejects with a sentence when its code is broken. */
  readonly ready: Promise<void>;

  /** @param lost Called when the worker has ended without being asked. */
  constructor(start: Omit<WorkerStart, "shared" | "body">, lost: () => void) {
    const shared = new SharedArrayBuffer(SHARED_WORDS * 4);
    const { port1, port2 } = new MessageChannel();
    const workerData: WorkerStart = { ...start, shared, body: port2 };
    this.#words = new Int32Array(shared);
    this.#port = port1;
    this.#lost = lost;
    this.#worker = new Worker(new URL("./portable_worker.ts", import.meta.url), {
      workerData,
      transferList: [port2],
      // What a guest cannot reach its worker need not have either.
      env: {},
    });
    this.ready = new Promise((resolve, reject) => {
      this.#worker.on("message", (message: FromWorker) => {
        if (message.op === "ready") resolve();
        else if (message.op === "broken") reject(new Error(message.message));
        else this.#heard(message);
      });
      const gone = () => {
        reject(new Error("the worker ended"));
        this.#gone();
      };
      this.#worker.on("error", gone);
      this.#worker.on("exit", gone);
    });
    // Whoever waits for it hears of it; a worker that nobody waits for is simply gone.
    this.ready.catch(() => {});
    this.#port.unref();
  }

  /** It is better replaced before the next call. */
  get worn(): boolean {
    return this.#heavyBytes >= WORN_BYTES;
  }

  /** From now on the worker alone does not keep the process alive. */
  rest(): void {
    if (this.#running === null) this.#worker.unref();
  }

  /** Starts a call; there is none running. */
  start(message: ToWorker, listener: CallListener): void {
    Atomics.store(this.#words, WORD_CREDIT, 0);
    const timer = setTimeout(() => this.#giveUp(), message.budgetMs + GRACE_MS);
    this.#running = { id: message.id, listener, timer, window: CHUNK_WINDOW, grant: null };
    this.#worker.ref();
    this.#worker.postMessage(message);
  }

  /** Lets an instance go; no call runs in it. */
  drop(instance: number, memoryBytes: number): void {
    if (this.#over) return;
    this.#wear(memoryBytes);
    this.#worker.postMessage({ op: "drop", instance } satisfies DropMessage);
  }

  /** Asks for the end of a call. */
  cancel(id: number): void {
    if (this.#running?.id !== id) return;
    Atomics.store(this.#words, WORD_CANCEL, id);
    this.#wake();
  }

  /** Says that a chunk of the response was passed on. */
  credit(id: number): void {
    if (this.#running?.id !== id) return;
    Atomics.add(this.#words, WORD_CREDIT, 1);
    this.#wake();
  }

  /** Sends a piece of the request's body; resolves when another one may follow. */
  async send(id: number, data: BodyMessage["data"]): Promise<void> {
    const running = this.#running;
    if (running?.id !== id) return;
    running.window -= 1;
    this.#port.postMessage({ id, data } satisfies BodyMessage);
    this.#wake();
    if (running.window > 0) return;
    await new Promise<void>((resolve) => running.grant = resolve);
  }

  /** Ends the worker; a call that runs is lost. */
  async terminate(): Promise<void> {
    this.#over = true;
    this.#port.close();
    await this.#worker.terminate();
    this.#gone();
  }

  #wake(): void {
    Atomics.add(this.#words, WORD_WAKE, 1);
    Atomics.notify(this.#words, WORD_WAKE);
  }

  #heard(message: FromWorker): void {
    const running = this.#running;
    if (running === null) return;
    const { listener } = running;
    switch (message.op) {
      case "log":
        return listener.log(message.line);
      case "progress":
        return listener.progress(message.report);
      case "head":
        return listener.head?.(message.status, message.fields);
      case "chunk":
        return listener.chunk?.(message.bytes);
      case "complete":
        return listener.complete?.();
      case "credit":
        running.window += 1;
        running.grant?.();
        running.grant = null;
        return;
      case "end":
        if (!message.kept) this.#wear(message.memoryBytes);
        return this.#end(message.ending, message.kept, message.memoryBytes);
    }
  }

  /** Memory of an instance that is gone. */
  #wear(memoryBytes: number): void {
    if (memoryBytes >= HEAVY_BYTES) this.#heavyBytes += memoryBytes;
  }

  #end(ending: Ending | null, kept: boolean, memoryBytes: number): void {
    const running = this.#running;
    if (running === null) return;
    this.#running = null;
    clearTimeout(running.timer);
    running.grant?.();
    // An idle worker does not keep the process alive.
    this.#worker.unref();
    running.listener.end(ending, kept, memoryBytes);
  }

  #giveUp(): void {
    void this.terminate();
    this.#lost();
  }

  #gone(): void {
    this.#end(null, false, 0);
    if (this.#over) return;
    this.#over = true;
    this.#lost();
  }
}
