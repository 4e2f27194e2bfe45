/**
 * The composition root: a configuration in, a running server out.
 *
 * Owns: what is made of what, the order of starting and stopping. Everything it joins lives
 * elsewhere.
 */
import process from "node:process";
import { unreachableLimits } from "../config/reachable.ts";
import type { Config } from "../config/schema.ts";
import { toAtollError } from "../core/errors.ts";
import type { ServerState, WorkersHealth } from "../http/health.ts";
import { openStdio, type StdioServing } from "../mcp/stdio.ts";
import type { NativeSandbox } from "../sandbox/native.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Logger } from "../telemetry/log.ts";
import { type EngineStart, startEngine } from "./engines.ts";
import { Fleet } from "./fleet.ts";
import { FLUSH_MS, Front } from "./front.ts";
import type { Learning } from "./learning.ts";
import { type Listener, refuseTaken } from "./listeners/listener.ts";
import { ProgressLine } from "./progress_line.ts";
import { writeStdout } from "./stdout.ts";
import { workerCount } from "./workers/count.ts";
import type { Workers } from "./workers/workers.ts";

export interface ServerOptions {
  readonly config: Config;
  readonly log: Logger;
  /** Speak MCP on standard input and output, and do not listen. */
  readonly stdio: boolean;
  /** Stops the server, while it starts too. */
  readonly signal?: AbortSignal;
  /** Told what plugins ask for; stopped with the server. */
  readonly learning?: Learning | undefined;
}

export interface RunningServer {
  /** Where it listens; null with `stdio`. */
  readonly url: string | null;
  /** Refuses new work, waits for running work within `http.graceMs`, joins every thread. */
  stop(): Promise<void>;
  /** Resolves when it has stopped: after {@link stop}, or at the end of standard input. */
  readonly finished: Promise<void>;
}

/** Plugins that load faster are ready before the first request; slower ones follow. */
const SETTLE_MS = 1_500;

/**
 * Starts an engine, the plugins and a listener. What the signal stopped meanwhile is returned as a
 * server that has finished.
 * @throws AtollError config, address_in_use, unsupported, build, io: nothing is left running
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const server = new Server(options);
  const { signal } = options;
  signal?.addEventListener("abort", () => void server.stop(), { once: true });
  if (signal?.aborted) void server.stop();
  try {
    await server.start();
  } catch (thrown) {
    await server.stop();
    if (signal?.aborted !== true) throw thrown;
  }
  return server;
}

class Server implements RunningServer {
  readonly #options: ServerOptions;
  readonly #front: Front;
  readonly #progress = new ProgressLine();
  /** That many isolates are to serve, this one too. */
  readonly #count: number;
  readonly #stopping = new AbortController();
  readonly #done = Promise.withResolvers<void>();
  #state: ServerState = "starting";
  #fleet: Fleet | null = null;
  #listener: Listener | null = null;
  #workers: Workers | null = null;
  #stdio: StdioServing | null = null;
  #starting: Promise<void> = Promise.resolve();
  #upgrade: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | null = null;
  url: string | null = null;

  constructor(options: ServerOptions) {
    this.#options = options;
    const { config, log, stdio } = options;
    this.#count = stdio ? 1 : workerCount(config);
    this.#front = new Front({
      config,
      log,
      state: () => this.#state,
      workers: () => this.#health(),
    });
  }

  get finished(): Promise<void> {
    return this.#done.promise;
  }

  start(): Promise<void> {
    this.#starting = this.#start();
    return this.#starting;
  }

  async #start(): Promise<void> {
    const { config, log, stdio } = this.#options;
    const stopping = this.#stopping.signal;
    stopping.throwIfAborted();
    const lines: string[] = [];
    let announce: (line: string) => void = (line) => lines.push(line);
    const fleet = new Fleet({
      config,
      registry: this.#front.registry,
      log,
      announce: (line) => announce(line),
      ...(this.#count === 1 ? {} : { told: async () => await this.#workers?.told() }),
      show: (line) => this.#progress.show(line),
      stopping,
      learning: this.#options.learning,
    });
    this.#fleet = fleet;
    fleet.find();
    // Then the port: a server that cannot listen must not begin to build.
    if (!stdio) this.#listener = await this.#listen();
    const engine = await startEngine(
      config,
      log,
      (line) => this.#progress.show(line),
      stopping,
    );
    for (const line of unreachableLimits(config, engine.instances)) log.warn(line);
    if (engine.upgrade === null) fleet.stay();
    const loaded = fleet.load(engine.sandbox);
    await Promise.all([
      settled(loaded, SETTLE_MS, stopping),
      this.#startWorkers(engine.sandbox, engine.upgrade !== null),
    ]);
    stopping.throwIfAborted();
    this.#state = "ready";
    await this.#workers?.changed();
    if (this.url !== null) this.#say(`listening on ${this.url}`);
    for (const line of lines) this.#say(line);
    announce = (line) => this.#say(line);
    this.#upgrade = this.#followUp(loaded, engine);
    if (stdio) this.#serveStdio();
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
      .catch((thrown) => {
        this.#options.log.error(`Cannot stop in order: ${toAtollError(thrown).message}`);
      })
      .finally(() => this.#done.resolve());
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const { config, log } = this.#options;
    this.#state = "stopping";
    this.#stopping.abort();
    const deadline = performance.now() + config.http.graceMs;
    const calls = this.#front.dispatcher.stop(config.http.graceMs);
    // They drain at the same time; those of a start that is under way are stopped after it.
    const workers = this.#workers?.stop(config.http.graceMs) ?? true;
    // A start that is under way ends at its next step; what it has opened is closed below.
    await this.#starting.catch(() => {});
    const ended = [await calls, await workers].every((each) => each);
    if (!ended) log.warn(`calls were still running after ${config.http.graceMs} ms and are cut`);
    const left = () => Math.max(FLUSH_MS, deadline - performance.now());
    await Promise.all([
      this.#workers?.stop(left()),
      this.#listener?.stop(left()),
      this.#stdio && settled(this.#stdio.answered().catch(() => {}), left()),
    ]);
    // Before what goes on in the background is waited for: closed engines end loads and moves.
    await this.#fleet?.close();
    await settled(this.#upgrade, left());
    this.#options.learning?.stop();
    this.#progress.clear();
  }

  async #listen(): Promise<Listener> {
    const { host: wanted, port } = this.#options.config;
    const shared = this.#count > 1;
    if (shared && port !== 0) await refuseTaken(wanted, port);
    const listener = await this.#front.listen(port, shared);
    const host = listener.host.includes(":") ? `[${listener.host}]` : listener.host;
    this.url = `http://${host}:${listener.port}`;
    return listener;
  }

  /** What goes on after the server is ready: slow plugins, then the native engine. */
  async #followUp(loaded: Promise<void>, engine: EngineStart): Promise<void> {
    const { log } = this.#options;
    try {
      await loaded;
      this.#progress.show(null);
      if (engine.upgrade === null || this.#stopping.signal.aborted) return;
      const sandbox = await engine.upgrade(this.#stopping.signal);
      if (this.#stopping.signal.aborted) return await sandbox.close();
      await this.#fleet?.moveTo(sandbox);
      await this.#startLateWorkers(sandbox);
    } catch (thrown) {
      if (this.#stopping.signal.aborted) return;
      this.#fleet?.stay();
      const error = toAtollError(thrown);
      log.error(`staying on the portable engine: ${error.message}`);
    }
  }

  /**
   * Starts the further workers, where there are to be any and the engine is one for several isolates.
   * @param later Another engine is to come.
   */
  async #startWorkers(sandbox: Sandbox, later: boolean): Promise<void> {
    const { config, log } = this.#options;
    if (this.#count === 1 || this.#listener === null) return;
    if (!isNative(sandbox)) {
      const until = later ? " until the native one is there" : "";
      log.warn(
        `one worker instead of ${this.#count}: the portable engine is in one thread${until}`,
      );
      return;
    }
    const { Workers } = await import("./workers/workers.ts");
    if (this.#stopping.signal.aborted) return;
    this.#workers = new Workers({
      config,
      log,
      registry: this.#front.registry,
      sandbox,
      count: this.#count,
      port: this.#listener.port,
      state: () => this.#state,
    });
    await this.#workers.start();
  }

  /** Plugins have moved to the engine; one that could not is on another, which only one can call. */
  async #startLateWorkers(sandbox: Sandbox): Promise<void> {
    const { log } = this.#options;
    const stayed = this.#front.registry.plugins().find(({ component }) =>
      component.engine !== sandbox.kind
    );
    if (this.#count > 1 && stayed !== undefined) {
      log.warn(`one worker instead of ${this.#count}: plugin "${stayed.id}" is on another engine`);
      return;
    }
    try {
      await this.#startWorkers(sandbox, false);
      await this.#workers?.told();
    } catch (thrown) {
      if (this.#stopping.signal.aborted) return;
      await this.#workers?.stop(0);
      this.#workers = null;
      log.error(`serving with one worker: ${toAtollError(thrown).message}`);
    }
  }

  #health(): WorkersHealth | null {
    if (this.#count === 1) return null;
    return this.#workers?.health() ?? { wanted: this.#count, serving: 1, restarts: 0 };
  }

  #serveStdio(): void {
    const { config, log } = this.#options;
    this.#stdio = openStdio({
      server: this.#front.mcp,
      input: process.stdin,
      write: writeStdout,
      lineBytes: config.http.bodyBytes,
    });
    this.#stdio.ended.catch((error) =>
      log.error(`standard input or output failed: ${toAtollError(error).message}`)
    )
      .then(() => this.stop());
  }

  #say(line: string): void {
    this.#progress.clear();
    process.stderr.write(`atoll: ${line}\n`);
  }
}

function isNative(sandbox: Sandbox): sandbox is NativeSandbox {
  return sandbox.kind === "native";
}

/** Waits for a promise, but not longer than `ms`, nor beyond the signal. */
async function settled(promise: Promise<void>, ms: number, signal?: AbortSignal): Promise<void> {
  const { promise: expired, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const expire = () => resolve();
  signal?.addEventListener("abort", expire);
  if (signal?.aborted === true) resolve();
  try {
    await Promise.race([promise, expired]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", expire);
  }
}
