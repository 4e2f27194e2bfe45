/**
 * The way of a request in one isolate: a listener, the app and the protocol over a registry.
 *
 * Owns: what is made of what on that way. A server has one on its own thread, and one in each
 * further worker. Must not know how plugins get into the registry.
 */
import type { Config } from "../config/schema.ts";
import { ATOLL_VERSION } from "../core/version.ts";
import { Dispatcher } from "../dispatch/dispatcher.ts";
import { createApp } from "../http/app.ts";
import type { ServerState, WorkersHealth } from "../http/health.ts";
import { problem, problemOf } from "../http/problem.ts";
import { McpHttpHandler } from "../mcp/http_handler.ts";
import { McpServer } from "../mcp/server.ts";
import { Registry } from "../plugins/registry.ts";
import type { Logger } from "../telemetry/log.ts";
import { listen, type Listener } from "./listeners/listener.ts";

export interface FrontOptions {
  readonly config: Config;
  readonly log: Logger;
  readonly state: () => ServerState;
  /** Of all workers; null where there is one. */
  readonly workers: () => WorkersHealth | null;
}

/** How long the answers to calls that were cut may take on their way out. */
export const FLUSH_MS = 500;

export class Front {
  readonly registry = new Registry();
  readonly dispatcher = new Dispatcher();
  readonly mcp: McpServer;
  readonly #options: FrontOptions;

  constructor(options: FrontOptions) {
    const { config, log } = options;
    this.#options = options;
    this.mcp = new McpServer({
      registry: this.registry,
      dispatcher: this.dispatcher,
      info: { name: "atoll", title: "Atoll", version: ATOLL_VERSION },
      log,
      ttlMs: config.mcp.ttlMs,
      pageSize: config.mcp.pageSize,
    });
  }

  /**
   * @param shared Whether other isolates listen on the same port.
   * @throws AtollError address_in_use, io, unsupported
   */
  listen(port: number, shared: boolean): Promise<Listener> {
    const { config, log, state, workers } = this.#options;
    const mcp = new McpHttpHandler({
      server: this.mcp,
      bodyBytes: config.http.bodyBytes,
      refuse: problem,
    });
    const app = createApp({
      origin: { host: config.host, ...config.http },
      registry: this.registry,
      dispatcher: this.dispatcher,
      mcp,
      log,
      state,
      workers,
    });
    return listen({
      host: config.host,
      port,
      shared,
      fetch: (request) => app.fetch(request),
      onError: (error) => problemOf(error, log),
    });
  }
}
