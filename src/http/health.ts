/**
 * Health routes: `/health/live` says that the process answers, `/health/ready` what it can serve.
 *
 * Owns: the JSON of both. Must not know how plugins are loaded.
 */
import type { EngineKind } from "../sandbox/sandbox.ts";

/** What readiness needs of a plugin. */
export interface PluginHealth {
  readonly id: string;
  readonly version: string;
  readonly httpRoute: string | null;
  readonly component: { readonly engine: EngineKind };
  readonly tools: readonly unknown[];
}

/** What readiness needs of the registry. */
export interface PluginsHealth {
  plugins(): readonly PluginHealth[];
  /** Ids that are being built or loaded. */
  pending(): readonly string[];
  failed(): readonly { readonly id: string; readonly error: { readonly message: string } }[];
}

/** Isolates that serve requests, where there are several. */
export interface WorkersHealth {
  /** How many there are to be. */
  readonly wanted: number;
  /** How many listen. */
  readonly serving: number;
  /** How many times one had to be started again. */
  readonly restarts: number;
}

/** Where the process is in its life. */
export type ServerState = "starting" | "ready" | "stopping";

const JSON_INIT = { headers: { "content-type": "application/json" } };
const LIVE = '{"status":"live"}';

export function liveResponse(): Response {
  return new Response(LIVE, JSON_INIT);
}

/**
 * 200 while requests are served, 503 before and while stopping. A plugin that failed or is still
 * being built is named but does not take the others out of service, nor does a worker that starts
 * anew.
 */
export function readyResponse(
  state: ServerState,
  registry: PluginsHealth,
  workers: WorkersHealth | null,
): Response {
  const body = {
    status: state,
    plugins: registry.plugins().map((plugin) => ({
      id: plugin.id,
      version: plugin.version,
      engine: plugin.component.engine,
      tools: plugin.tools.length,
      http: plugin.httpRoute,
    })),
    pending: registry.pending(),
    failed: registry.failed().map(({ id, error }) => ({ id, error: error.message })),
    ...(workers === null ? {} : { workers }),
  };
  return new Response(JSON.stringify(body), {
    status: state === "ready" ? 200 : 503,
    headers: { "content-type": "application/json", "cache-control": "no-store" },
  });
}
