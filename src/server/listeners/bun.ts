/**
 * The listener on Bun: `Bun.serve`.
 *
 * Owns: its options, its graceful stop, and giving memory back at rest. Must not know routes.
 */
import { AtollError } from "../../core/errors.ts";
import { addressInUse, type BoundListener, cannotListen, type ListenOptions } from "./listener.ts";

/** Bun's greatest idle time in seconds. */
const LONGEST_IDLE = 255;

/** How long no request comes before garbage is collected, and after how many it is worth it. */
const REST_MS = 1_000;
const REST_REQUESTS = 64;

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
    reusePort: boolean;
    fetch: (request: Request) => Response | Promise<Response>;
    error: (error: unknown) => Response;
  }): BunServer;
  gc(synchronous: boolean): void;
}

/** @throws AtollError address_in_use, io */
export function listen(options: ListenOptions): Promise<BoundListener> {
  const { host, port, shared = false, fetch, onError } = options;
  const { Bun } = globalThis as unknown as { Bun: BunRuntime };
  const rest = collectAtRest(Bun);
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
      reusePort: shared,
      // HTTP/1.0 may leave Host out; the URL is then a bare path, of which routes and the check of
      // names would take the first segment for the name.
      fetch: (request) => {
        rest.requests++;
        return request.url.startsWith("/") ? onError(nameless()) : fetch(request);
      },
      error: onError,
    });
    return Promise.resolve({
      port: server.port,
      stop: (graceMs) => {
        rest.end();
        return stop(server, graceMs);
      },
    });
  } catch (error) {
    rest.end();
    const taken = (error as { code?: string }).code === "EADDRINUSE";
    return Promise.reject(
      taken ? addressInUse(host, port, error) : cannotListen(host, port, error),
    );
  }
}

/**
 * Collects garbage once requests have come and none comes any more. Bun lets its heap grow as long
 * as there is memory: at rest a server would hold for good what a burst has left behind.
 */
function collectAtRest(Bun: BunRuntime): { requests: number; end(): void } {
  let seen = 0;
  let collected = 0;
  const counter = { requests: 0, end: () => clearInterval(timer) };
  const timer = setInterval(() => {
    const quiet = counter.requests === seen;
    seen = counter.requests;
    if (!quiet || seen - collected < REST_REQUESTS) return;
    collected = seen;
    Bun.gc(true);
  }, REST_MS);
  timer.unref();
  return counter;
}

function nameless(): AtollError {
  return new AtollError("invalid_argument", "Cannot serve a request without a Host field");
}

async function stop(server: BunServer, graceMs: number): Promise<void> {
  const timer = setTimeout(() => void server.stop(true), graceMs);
  await server.stop(false);
  clearTimeout(timer);
}
