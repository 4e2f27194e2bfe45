/**
 * The routes of the HTTP server: the MCP endpoint, plugins' handlers, health.
 *
 * Owns: which route is served by what, the check of Host and Origin before, errors after. Must not
 * know the protocol, the sandbox or the runtime.
 */
import { Hono } from "hono";
import { RegExpRouter } from "hono/router/reg-exp-router";
import { AtollError } from "../core/errors.ts";
import { ClientGone } from "../dispatch/client_gone.ts";
import type { Callee } from "../dispatch/dispatcher.ts";
import type { CallOptions, SandboxRequest, SandboxResponse } from "../sandbox/sandbox.ts";
import { isPreflight, preflightResponse, readableBy } from "./cors.ts";
import {
  liveResponse,
  type PluginHealth,
  type PluginsHealth,
  readyResponse,
  type ServerState,
  type WorkersHealth,
} from "./health.ts";
import { OriginGuard, type OriginOptions } from "./origin.ts";
import { targetOf, toResponse, toSandboxRequest, withSmallBody } from "./plugin_routes.ts";
import { problem, type ProblemLog, problemOf } from "./problem.ts";

/** A plugin that may have routes. */
export interface RoutedPlugin extends Callee, PluginHealth {
  readonly component: Callee["component"];
}

/** What the app needs of the registry. */
export interface PluginSource extends PluginsHealth {
  plugin(id: string): RoutedPlugin | undefined;
  plugins(): readonly RoutedPlugin[];
}

export interface AppOptions {
  readonly origin: OriginOptions;
  readonly registry: PluginSource;
  readonly dispatcher: {
    handleHttp(
      plugin: Callee,
      request: SandboxRequest,
      options?: CallOptions,
    ): SandboxResponse | Promise<SandboxResponse>;
  };
  /** The MCP endpoint; serves every method of its path. */
  readonly mcp: { handle(request: Request): Response | Promise<Response> };
  readonly log: ProblemLog;
  readonly state: () => ServerState;
  /** Of all workers of the server; null or absent where there is one. */
  readonly workers?: () => WorkersHealth | null;
}

/** What a listener serves. */
export interface App {
  fetch(request: Request): Response | Promise<Response>;
}

/** Serves a route. What it throws or rejects with is answered by the app. */
type Serve = (request: Request) => Response | Promise<Response>;

/** Builds the app. */
export function createApp(options: AppOptions): App {
  const guard = new OriginGuard(options.origin);
  const mcp: Serve = (request) => {
    const origin = request.headers.get("origin");
    const refusal = guard.refusal(request, origin);
    if (refusal !== null) return problem(403, refusal);
    return origin === null ? options.mcp.handle(request) : serveMcpPage(request, origin, options);
  };
  const http: Serve = (request) => {
    const refusal = guard.refusal(request, request.headers.get("origin"));
    return refusal === null ? servePlugin(request, options) : problem(403, refusal);
  };
  const routes = createRoutes(options, mcp, http);
  return {
    fetch(request) {
      const hot = hotRoute(request.url);
      if (hot === null || request.method === "HEAD") return routes.fetch(request);
      return answered(hot === "mcp" ? mcp : http, request, options.log);
    },
  };
}

/**
 * Calls to plugins are recognised before Hono makes a context for them, which is a fortieth of such
 * a request. Null: it has to look, as for a path with percent-encoded letters.
 */
function hotRoute(url: string): "mcp" | "http" | null {
  const path = url.indexOf("/", url.indexOf("//") + 2);
  if (url.startsWith("/http/", path)) return "http";
  if (!url.startsWith("/mcp", path)) return null;
  const end = path + "/mcp".length;
  return end === url.length || url.charAt(end) === "?" ? "mcp" : null;
}

function answered(serve: Serve, request: Request, log: ProblemLog): Response | Promise<Response> {
  try {
    const response = serve(request);
    return response instanceof Promise
      ? response.catch((error) => problemOf(error, log))
      : response;
  } catch (error) {
    return problemOf(error, log);
  }
}

/** Every route. */
function createRoutes(options: AppOptions, mcp: Serve, http: Serve): Hono {
  // Of Hono's routers this one finds fixed paths by a look-up, without any pattern.
  const app = new Hono({ router: new RegExpRouter() });
  app.all("/mcp", (c) => mcp(c.req.raw));
  // Probes ask by address, and there is nothing here to act on: no check of Host.
  app.get("/health/live", liveResponse);
  app.get(
    "/health/ready",
    () => readyResponse(options.state(), options.registry, options.workers?.() ?? null),
  );
  app.all(
    "/health/*",
    (c) =>
      c.req.path === "/health/live" || c.req.path === "/health/ready"
        ? problem(405, "Health routes take GET only", { allow: "GET, HEAD" })
        : problem(404, `There is nothing at ${c.req.path}`),
  );
  app.all("/http/*", (c) => http(c.req.raw));
  app.notFound((c) => problem(404, `There is nothing at ${c.req.path}`));
  app.onError((error) => problemOf(error, options.log));
  return app;
}

/** A page may read only what is marked as readable for it, an error too. */
async function serveMcpPage(
  request: Request,
  origin: string,
  options: AppOptions,
): Promise<Response> {
  if (isPreflight(request)) return preflightResponse(origin);
  try {
    return readableBy(origin, await options.mcp.handle(request));
  } catch (error) {
    return readableBy(origin, problemOf(error, options.log));
  }
}

function servePlugin(request: Request, options: AppOptions): Response | Promise<Response> {
  const target = targetOf(request.url);
  const plugin = target === null ? undefined : options.registry.plugin(target.id);
  if (target === null || plugin === undefined || plugin.httpRoute === null) {
    return noRoute(target?.id ?? "", options.registry);
  }
  const call = new ClientGone(request.headers);
  const serve = (sandboxRequest: SandboxRequest) => {
    const response = options.dispatcher.handleHttp(plugin, sandboxRequest, call);
    if (!(response instanceof Promise)) return toResponse(response, request.method);
    call.follow(request.signal);
    return response.then((done) => toResponse(done, request.method));
  };
  const sandboxRequest = toSandboxRequest(request, target);
  const small = withSmallBody(request, sandboxRequest);
  return small === null ? serve(sandboxRequest) : small.then(serve);
}

function noRoute(id: string, registry: PluginSource): Response {
  if (registry.pending().includes(id)) {
    return problem(503, `Plugin "${id}" is being built`, { "retry-after": "5" });
  }
  throw new AtollError("not_found", `No plugin "${id}" serves HTTP`);
}
