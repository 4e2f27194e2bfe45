/**
 * The composition root: a configuration in, a running server out.
 *
 * Owns: what is made of what, the order of starting and stopping. Everything it joins lives
 * elsewhere.
 */
import process from "node:process";
import type { Config } from "../config/schema.ts";
import { toAtollError } from "../core/errors.ts";
import { ATOLL_VERSION } from "../core/version.ts";
import { Dispatcher } from "../dispatch/dispatcher.ts";
import { createApp } from "../http/app.ts";
import type { ServerState } from "../http/health.ts";
import { problem, problemOf } from "../http/problem.ts";
import { McpHttpHandler } from "../mcp/http_handler.ts";
import { McpServer } from "../mcp/server.ts";
import { openStdio, type StdioServing } from "../mcp/stdio.ts";
import { Registry } from "../plugins/registry.ts";
import type { Logger } from "../telemetry/log.ts";
import { type EngineStart, startEngine } from "./engines.ts";
import { Fleet } from "./fleet.ts";
import { listen, type Listener } from "./listeners/listener.ts";
import { ProgressLine } from "./progress_line.ts";
import { writeStdout } from "./stdout.ts";

export interface ServerOptions {
  readonly config: Config;
  readonly log: Logger;
  /** Speak MCP on standard input and output, and do not listen. */
  readonly stdio: boolean;
  /** Stops the server, while it starts too. */
  readonly signal?: AbortSignal;
}

export interface RunningServer {
  /** Where it listens; null with `stdio`. */
  readonly url: string | null;
  /** Refuses new work, waits for running work within `http.graceMs`, joins every thread. */
  stop(): Promise<void>;
  /** Resolves when it has stopped: after {@link stop}, or at the end of standard input. */
  readonly finished: Promise<void>;
}

/** How long the answers to calls that were cut may take on their way out. */
const FLUSH_MS = 500;

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
  readonly #registry = new Registry();
  readonly #dispatcher = new Dispatcher();
  readonly #progress = new ProgressLine();
  readonly #mcp: McpServer;
  readonly #stopping = new AbortController();
  readonly #done = Promise.withResolvers<void>();
  #state: ServerState = "starting";
  #fleet: Fleet | null = null;
  #listener: Listener | null = null;
  #stdio: StdioServing | null = null;
  #starting: Promise<void> = Promise.resolve();
  #upgrade: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | null = null;
  url: string | null = null;

  constructor(options: ServerOptions) {
    this.#options = options;
    const { config, log } = options;
    this.#mcp = new McpServer({
      registry: this.#registry,
      dispatcher: this.#dispatcher,
      info: { name: "atoll", title: "Atoll", version: ATOLL_VERSION },
      log,
      ttlMs: config.mcp.ttlMs,
      pageSize: config.mcp.pageSize,
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
      registry: this.#registry,
      log,
      announce: (line) => announce(line),
      show: (line) => this.#progress.show(line),
      stopping,
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
    if (engine.upgrade === null) fleet.stay();
    const loaded = fleet.load(engine.sandbox);
    await settled(loaded, SETTLE_MS, stopping);
    stopping.throwIfAborted();
    this.#state = "ready";
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
    const calls = this.#dispatcher.stop(config.http.graceMs);
    // A start that is under way ends at its next step; what it has opened is closed below.
    await this.#starting.catch(() => {});
    const ended = await calls;
    if (!ended) log.warn(`calls were still running after ${config.http.graceMs} ms and are cut`);
    const left = () => Math.max(FLUSH_MS, deadline - performance.now());
    await Promise.all([
      this.#listener?.stop(left()),
      this.#stdio && settled(this.#stdio.answered().catch(() => {}), left()),
    ]);
    // Before what goes on in the background is waited for: closed engines end loads and moves.
    await this.#fleet?.close();
    await settled(this.#upgrade, left());
    this.#progress.clear();
  }

  async #listen(): Promise<Listener> {
    const { config, log } = this.#options;
    const mcp = new McpHttpHandler({
      server: this.#mcp,
      bodyBytes: config.http.bodyBytes,
      refuse: problem,
    });
    const app = createApp({
      origin: { host: config.host, ...config.http },
      registry: this.#registry,
      dispatcher: this.#dispatcher,
      mcp,
      log,
      state: () => this.#state,
    });
    const listener = await listen({
      host: config.host,
      port: config.port,
      fetch: (request) => app.fetch(request),
      onError: (error) => problemOf(error, log),
    });
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
    } catch (thrown) {
      if (this.#stopping.signal.aborted) return;
      this.#fleet?.stay();
      const error = toAtollError(thrown);
      log.error(`staying on the portable engine: ${error.message}`);
    }
  }

  #serveStdio(): void {
    const { config, log } = this.#options;
    this.#stdio = openStdio({
      server: this.#mcp,
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
