/**
 * A further worker of a server: an isolate with a client of the native engine and a listener of its
 * own on the server's port. It follows the registry of the server's own thread.
 *
 * Owns: the order in which it starts and stops. What nobody catches ends it, and `threads.ts` starts
 * another.
 */
import process from "node:process";
import { parentPort, workerData } from "node:worker_threads";
import type { ServerState, WorkersHealth } from "../../http/health.ts";
import { openNativeSandbox } from "../../sandbox/native.ts";
import { createLogger, type Logger } from "../../telemetry/log.ts";
import { FLUSH_MS, Front } from "../front.ts";
import { guestListeners } from "../guest_listeners.ts";
import type { Listener } from "../listeners/listener.ts";
import { LogSender } from "./log_relay.ts";
import {
  applyChange,
  type FromWorker,
  type Numbered,
  sentError,
  type ToWorker,
  type WorkerStart,
} from "./protocol.ts";

const { config, engine, colour, logBytes } = workerData as WorkerStart;

function say(message: FromWorker): void {
  parentPort?.postMessage(message);
}

const sender = new LogSender(
  logBytes,
  (text) => say({ op: "log", text }),
  (lines) => log.warn(`${lines} log lines of a worker were lost: they came too fast`),
);
const log: Logger = createLogger({
  ...config.log,
  colour,
  write: (text) => sender.write(text),
});

function fail(thrown: unknown): void {
  say({ op: "failed", error: sentError(thrown) });
}

// The runtime would write it in its own words, between the lines of the log.
process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);

try {
  await start();
} catch (thrown) {
  fail(thrown);
}

async function start(): Promise<void> {
  const sandbox = await openNativeSandbox(engine);
  const listeners = guestListeners(log);
  let state: ServerState = "starting";
  let health: WorkersHealth | null = null;
  let listening: Promise<Listener> | null = null;
  const front = new Front({ config, log, state: () => state, workers: () => health });

  const take = (message: ToWorker): void => {
    switch (message.op) {
      case "state":
        state = message.state;
        return;
      case "health":
        health = message.workers;
        return;
      case "serve":
        listening = front.listen(message.port, true);
        listening.then(() => say({ op: "serving" }), fail);
        return;
      case "stop":
        state = "stopping";
        void stop(message.graceMs);
        return;
      default:
        applyChange(message, front.registry, sandbox, listeners);
    }
  };

  const stop = async (graceMs: number): Promise<void> => {
    const deadline = performance.now() + graceMs;
    const ended = await front.dispatcher.stop(graceMs);
    const listener = await listening?.catch(() => null);
    await listener?.stop(Math.max(FLUSH_MS, deadline - performance.now()));
    await sandbox.close();
    say({ op: "stopped", ended });
  };

  parentPort?.on("message", ({ number, message }: Numbered) => {
    take(message);
    say({ op: "heard", number });
  });
  say({ op: "hello" });
}
