/**
 * The further workers of a server: isolates that listen on its port and call the components that its
 * own thread has loaded, each by a client of its own of the one native engine.
 *
 * Owns: what they are told of the server, and how they are. Must not know how a thread is kept
 * alive (`threads.ts`) or what one does (`worker.ts`).
 */
import type { Config } from "../../config/schema.ts";
import type { ServerState, WorkersHealth } from "../../http/health.ts";
import type { Registry } from "../../plugins/registry.ts";
import type { NativeSandbox } from "../../sandbox/native.ts";
import { type Logger, terminalColours } from "../../telemetry/log.ts";
import { lineWritten } from "./log_relay.ts";
import { messageOf, type ToWorker, type WorkerStart } from "./protocol.ts";
import { WorkerThreads } from "./threads.ts";

export interface WorkersOptions {
  readonly config: Config;
  readonly log: Logger;
  readonly registry: Registry;
  readonly sandbox: NativeSandbox;
  /** Workers altogether, that of the server's own thread too. */
  readonly count: number;
  /** Where the server listens. */
  readonly port: number;
  readonly state: () => ServerState;
  /** What a thread runs; absent: `worker.ts`. */
  readonly module?: URL;
}

export class Workers {
  readonly #options: WorkersOptions;
  readonly #threads: WorkerThreads;

  constructor(options: WorkersOptions) {
    const { config, log, registry, sandbox, count } = options;
    const { module = new URL("./worker.ts", import.meta.url) } = options;
    this.#options = options;
    const colour = config.log.format === "auto" && terminalColours();
    this.#threads = new WorkerThreads({
      module,
      count: count - 1,
      data: (): WorkerStart => ({
        config,
        engine: sandbox.options,
        colour,
        logBytes: new SharedArrayBuffer(4),
      }),
      greeting: () => this.#greeting(),
      log,
      onLog: (lines, data) => {
        log.relay(lines);
        lineWritten((data as WorkerStart).logBytes, lines);
      },
      onChange: () => this.#threads.tell({ op: "health", workers: this.health() }),
    });
    registry.watch((change) => this.#threads.tell(messageOf(change, sandbox)));
  }

  /**
   * Starts them.
   * @returns when all listen; rejects when one cannot
   */
  start(): Promise<void> {
    return this.#threads.start();
  }

  /** Resolves when all know what the registry and the server's state are now. */
  told(): Promise<void> {
    return this.#threads.told();
  }

  /** Tells them that the server's state has changed. */
  changed(): Promise<void> {
    this.#threads.tell({ op: "state", state: this.#options.state() });
    return this.told();
  }

  health(): WorkersHealth {
    const { serving, restarts } = this.#threads;
    return { wanted: this.#options.count, serving: serving + 1, restarts };
  }

  /**
   * Refuses new work in all, waits for running work, joins the threads.
   * @returns false when calls were still running at the end of the grace time
   */
  stop(graceMs: number): Promise<boolean> {
    this.#options.registry.watch(null);
    return this.#threads.stop(graceMs);
  }

  #greeting(): readonly ToWorker[] {
    const { registry, sandbox, port, state } = this.#options;
    return [
      { op: "state", state: state() },
      { op: "health", workers: this.health() },
      ...registry.changes().map((change) => messageOf(change, sandbox)),
      { op: "serve", port },
    ];
  }
}
