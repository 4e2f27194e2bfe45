/**
 * The listener on Deno: `Deno.serve`.
 *
 * Owns: its options and its graceful stop. Must not know routes.
 */
import { addressInUse, type BoundListener, cannotListen, type ListenOptions } from "./listener.ts";

/** @throws AtollError address_in_use, io */
export function listen(options: ListenOptions): Promise<BoundListener> {
  const { host, port, fetch, onError } = options;
  const abort = new AbortController();
  return new Promise((resolve, reject) => {
    try {
      const server = Deno.serve(
        {
          hostname: host,
          port,
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
