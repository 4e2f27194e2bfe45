/**
 * The listener on Bun: `Bun.serve`.
 *
 * Owns: its options and its graceful stop. Must not know routes.
 */
import { addressInUse, cannotListen, type Listener, type ListenOptions } from "./listener.ts";

/** Bun's greatest idle time in seconds. */
const LONGEST_IDLE = 255;

/** The part of Bun's server that is used here. */
interface BunServer {
  readonly port: number;
  stop(closeActiveConnections?: boolean): Promise<void>;
}

/** The part of `Bun` that is used here; its own types and Deno's do not live in one program. */
interface BunRuntime {
  serve(options: {
    hostname: string;
    port: number;
    idleTimeout: number;
    maxRequestBodySize: number;
    development: false;
    reusePort: false;
    fetch: (request: Request) => Response | Promise<Response>;
    error: (error: unknown) => Response;
  }): BunServer;
}

/** @throws AtollError address_in_use, io */
export function listen(options: ListenOptions): Promise<Listener> {
  const { host, port, fetch, onError } = options;
  const { Bun } = globalThis as unknown as { Bun: BunRuntime };
  try {
    const server = Bun.serve({
      hostname: host,
      port,
      idleTimeout: LONGEST_IDLE,
      // Routes have limits of their own; Bun's would cut streamed bodies.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      development: false,
      // Outside of development Bun shares ports unless it is told not to: a second server would
      // start beside the first and take half of its connections.
      reusePort: false,
      // HTTP/1.0 may leave Host out; the URL is then a bare path, of which routes and the check of
      // names would take the first segment for the name.
      fetch: (request) =>
        request.url.startsWith("/") ? new Response(null, { status: 400 }) : fetch(request),
      error: onError,
    });
    return Promise.resolve({
      host,
      port: server.port,
      stop: (graceMs) => stop(server, graceMs),
    });
  } catch (error) {
    const taken = (error as { code?: string }).code === "EADDRINUSE";
    return Promise.reject(
      taken ? addressInUse(host, port, error) : cannotListen(host, port, error),
    );
  }
}

async function stop(server: BunServer, graceMs: number): Promise<void> {
  const timer = setTimeout(() => void server.stop(true), graceMs);
  await server.stop(false);
  clearTimeout(timer);
}
