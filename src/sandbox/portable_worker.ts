/**
 * A worker of the portable engine: runs one component, one call at a time, each in a fresh
 * instance or in one that outlives it.
 *
 * Owns how a call is run and how its end is told. Must not know plugins, queues or the other
 * workers.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { AtollError } from "../core/errors.ts";
import { CallGuard, GuestEnded } from "./portable_guard.ts";
import { HttpExchange } from "./portable_http.ts";
import { exportedFunction, instantiate, loadCode, type LoadedCode } from "./portable_instance.ts";
import { GuestOutput } from "./portable_log.ts";
import { WorkerPages } from "./portable_pages.ts";
import { GuestProgress } from "./portable_progress.ts";
import {
  type CallMessage,
  type DropMessage,
  type Ending,
  type FromWorker,
  type HttpMessage,
  SHARED_WORDS,
  type ToWorker,
  type WorkerStart,
} from "./portable_protocol.ts";
import { wasiImports } from "./portable_wasi.ts";
import { parseArguments, resultSides, writeValue } from "./values.ts";
import { OutputTooLarge } from "./values_encode.ts";

const start = workerData as WorkerStart;
const words = new Int32Array(start.shared, 0, SHARED_WORDS);
const pages = start.pages === null ? null : new WorkerPages(start.pages);
const main = parentPort;

function post(message: FromWorker): void {
  main?.postMessage(message);
}

/**
 * JavaScriptCore can grow a few memories of a process in place and copies the others at every step;
 * memories of dead instances count until they are collected, so that is done when there is time.
 */
const COLLECT_AFTER_MS = 5;
const bun = (globalThis as { Bun?: { gc(sync: boolean): void } }).Bun;
const collect = bun === undefined ? undefined : () => bun.gc(true);
let collecting: ReturnType<typeof setTimeout> | undefined;

let code: LoadedCode;
try {
  code = await loadCode(start.component);
  main?.on("message", (message: ToWorker | DropMessage) => void run(message));
  post({ op: "ready" });
} catch (thrown) {
  post({ op: "broken", message: thrown instanceof Error ? thrown.message : String(thrown) });
}

/** An instance and what watches it. */
interface Resident {
  readonly instance: unknown;
  readonly guard: CallGuard;
  readonly output: GuestOutput;
  readonly progress: GuestProgress;
}

/** Instances that rest, by number. */
const residents = new Map<number, Resident>();

async function run(message: ToWorker | DropMessage): Promise<void> {
  clearTimeout(collecting);
  if (message.op === "drop") {
    residents.get(message.instance)?.guard.release();
    residents.delete(message.instance);
  } else post({ op: "end", id: message.id, ...await outcome(message) });
  if (collect !== undefined) collecting = setTimeout(collect, COLLECT_AFTER_MS);
}

type Outcome = Omit<Extract<FromWorker, { op: "end" }>, "op" | "id">;

async function outcome(message: ToWorker): Promise<Outcome> {
  const number = message.op === "call" ? message.residence?.instance : undefined;
  let values: readonly unknown[] = [];
  if (message.op === "call") {
    // Before the guard's clock starts: this is not the guest's doing.
    try {
      values = parseArguments(message.place.function, message.argumentsJson);
    } catch (thrown) {
      const kept = number !== undefined && residents.has(number);
      return { ending: endingOf(thrown), memoryBytes: 0, kept };
    }
  }
  let resident = number === undefined ? undefined : residents.get(number);
  // Only a call that ends well puts it back.
  if (number !== undefined) residents.delete(number);
  resident?.guard.renew(message.id, message.budgetMs);
  resident?.output.renew();
  const guard = resident?.guard ??
    new CallGuard(message.id, start.limits, message.budgetMs, start.shared, pages);
  const output = resident?.output ??
    new GuestOutput(guard, (line) => post({ op: "log", line }));
  const progress = resident?.progress ??
    new GuestProgress(output, (report) => post({ op: "progress", report }));
  let ending: Ending;
  try {
    const instance = resident?.instance ??
      await instantiate(code, guard, wasiImports(guard, output, progress, start.config));
    resident ??= { instance, guard, output, progress };
    ending = message.op === "call"
      ? await call(instance, message, values)
      : await serve(instance, message, guard);
    // A guest that caught its end has not got away with it.
    if (guard.stopped !== null) ending = guard.stopped;
  } catch (thrown) {
    ending = guard.stopped ?? endingOf(thrown);
  }
  output.finish();
  progress.finish();
  const kept = number !== undefined && resident !== undefined && "json" in ending;
  if (kept) residents.set(number, resident!);
  else guard.release();
  return { ending, memoryBytes: guard.memoryBytes, kept };
}

async function call(
  instance: unknown,
  message: CallMessage,
  values: readonly unknown[],
): Promise<Ending> {
  const run = exportedFunction(instance, message.place);
  const sides = resultSides(message.place.function);
  const limit = start.limits.outputBytes;
  let kind: "ok" | "error" = "ok";
  let value: unknown;
  try {
    value = await run(...values);
  } catch (thrown) {
    // jco throws the error side of a result as it is; what is thrown otherwise is an Error.
    if (!sides.fallible || thrown instanceof Error) throw thrown;
    kind = "error";
    value = thrown;
  }
  return { kind, json: writeValue(kind === "ok" ? sides.ok : sides.error, value, limit) };
}

async function serve(instance: unknown, message: HttpMessage, guard: CallGuard): Promise<Ending> {
  const port = start.body as MessagePort;
  const exchange = new HttpExchange({ guard, port, words, post }, message);
  const handle = exportedFunction(instance, {
    interface: start.httpInterface,
    function: {
      name: "handle",
      kind: "free",
      async: false,
      params: [],
      result: null,
    },
  });
  await handle(exchange.request, exchange.outparam);
  const { problem } = exchange;
  return problem === null ? { kind: "ok", json: "null" } : { kind: "trap", message: problem };
}

function endingOf(thrown: unknown): Ending {
  if (thrown instanceof AtollError && thrown.code === "invalid_argument") {
    return { kind: "invalid", message: thrown.message, data: thrown.data };
  }
  if (thrown instanceof OutputTooLarge) return { kind: "limit", limit: "output" };
  if (isStackOverflow(thrown)) return { kind: "limit", limit: "stack" };
  if (thrown instanceof GuestEnded) return { kind: "trap", message: "the guest was ended" };
  return { kind: "trap", message: trapText(thrown) };
}

/** V8 and JavaScriptCore report a guest's endless recursion as a RangeError. */
function isStackOverflow(thrown: unknown): boolean {
  return thrown instanceof RangeError && /call stack/i.test(thrown.message);
}

function trapText(thrown: unknown): string {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  if (!(thrown instanceof WebAssembly.RuntimeError)) return `the guest failed: ${text}`;
  if (/unreachable/i.test(text)) {
    return "the guest trapped: it reached `unreachable` (in Rust and C most often a panic or an abort)";
  }
  if (/out.of.bounds memory|memory access out of bounds/i.test(text)) {
    return "the guest trapped: it accessed memory out of bounds";
  }
  if (/divi(?:de|sion) by zero/i.test(text)) {
    return "the guest trapped: it divided an integer by zero";
  }
  return `the guest trapped: ${text}`;
}
