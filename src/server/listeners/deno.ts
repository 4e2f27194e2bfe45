/**
 * The listener on Deno: `Deno.serve`.
 *
 * Owns: its options and its graceful stop. Must not know routes.
 */
import { AtollError } from "../../core/errors.ts";
import { addressInUse, type BoundListener, cannotListen, type ListenOptions } from "./listener.ts";

/** @throws AtollError address_in_use, io; unsupported: a port cannot be shared */
export function listen(options: ListenOptions): Promise<BoundListener> {
  const { host, port, shared = false, fetch, onError } = options;
  if (shared) refuseWithoutUnstable();
  const abort = new AbortController();
  return new Promise((resolve, reject) => {
    try {
      const server = Deno.serve(
        {
          hostname: host,
          port,
          reusePort: shared,
          signal: abort.signal,
          onError,
          onListen: (address) =>
            resolve({
              port: address.port,
              stop: (graceMs) => stop(server, abort, graceMs),
            }),
        },
        // Named parameters only: a handler that takes the connection's facts makes Deno build them.
        (request) => fetch(request),
      );
    } catch (error) {
      const taken = error instanceof Deno.errors.AddrInUse;
      reject(taken ? addressInUse(host, port, error) : cannotListen(host, port, error));
    }
  });
}

/**
 * Deno 2.9 counts shared ports as unstable and ends the process where one is asked for without leave.
 * Another function that comes by the same leave tells whether it is there.
 */
function refuseWithoutUnstable(): void {
  if ("listenDatagram" in Deno) return;
  throw new AtollError(
    "unsupported",
    "Cannot share a port among workers: Deno was started without Atoll's deno.json, which allows " +
      "it; add --unstable-net, or set http.workers to 1",
    { key: "http.workers" },
  );
}

/** Aborting after `shutdown()` throws inside of Deno: one or the other. */
async function stop(
  server: Deno.HttpServer,
  abort: AbortController,
  graceMs: number,
): Promise<void> {
  if (graceMs <= 0) {
    abort.abort();
    return await server.finished;
  }
  let timer: ReturnType<typeof setTimeout> | undefined;
  const expired = new Promise<void>((resolve) => timer = setTimeout(resolve, graceMs));
  await Promise.race([server.shutdown(), expired]);
  clearTimeout(timer);
}
