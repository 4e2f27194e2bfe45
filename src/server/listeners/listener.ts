/**
 * What a listener is: one HTTP server of a runtime behind one interface.
 *
 * Owns: the interface, the choice of the runtime, the error for an address in use. Must not know
 * routes. The fetch handler is given to the runtime's own server, never to `node:http`.
 */
import { createServer } from "node:net";
import { AtollError } from "../../core/errors.ts";

export interface ListenOptions {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  /**
   * Listeners of this process in other isolates have the same port, and the kernel spreads
   * connections over them (SO_REUSEPORT). Whether it is free is asked by {@link refuseTaken} before.
   */
  readonly shared?: boolean;
  readonly fetch: (request: Request) => Response | Promise<Response>;
  /** The response to something that `fetch` threw. */
  readonly onError: (error: unknown) => Response;
}

export interface Listener {
  /** Where it can be reached from this machine: never the address that stands for all of them. */
  readonly host: string;
  readonly port: number;
  /**
   * Refuses new connections and waits for the responses under way.
   * @param graceMs The longest wait in milliseconds; 0: connections are cut at once. What goes on
   * after it is cut on Bun and left to the end of the process on Deno.
   */
  stop(graceMs: number): Promise<void>;
}

/** What a runtime's server gives. */
export type BoundListener = Omit<Listener, "host">;

/** Listens with the server of the runtime this process is in. */
export async function listen(options: ListenOptions): Promise<Listener> {
  const runtime = "Deno" in globalThis ? await import("./deno.ts") : await import("./bun.ts");
  return { host: reachableHost(options.host), ...await runtime.listen(options) };
}

/**
 * The address under which a listener of this machine can be asked. One that listens everywhere is
 * on loopback too, and is refused under its own name: `0.0.0.0` in Host is a known way to rebind.
 */
export function reachableHost(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  return host === "::" || host === "[::]" ? "::1" : host;
}

/**
 * Refuses an address that somebody listens on. A shared listener would not notice: another one of
 * the same user that shares its port, too, would give half of its connections away. Who binds between
 * this and the listener is not noticed either.
 * @throws AtollError address_in_use, io
 */
export async function refuseTaken(host: string, port: number): Promise<void> {
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once("error", (error: NodeJS.ErrnoException) => {
      const taken = error.code === "EADDRINUSE";
      reject(taken ? addressInUse(host, port, error) : cannotListen(host, port, error));
    });
    probe.listen({ host: host.replace(/^\[(.*)\]$/, "$1"), port, exclusive: true }, resolve);
  });
  await new Promise<void>((resolve) => probe.close(() => resolve()));
}

/** The error for an address that another process has. */
export function addressInUse(host: string, port: number, cause: unknown): AtollError {
  return new AtollError(
    "address_in_use",
    `Cannot listen on ${host}:${port}: the port is in use; choose another with --port, or 0 for any`,
    { key: "port", value: port },
    { cause },
  );
}

/** The error for an address that cannot be listened on for another reason. */
export function cannotListen(host: string, port: number, cause: unknown): AtollError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new AtollError("io", `Cannot listen on ${host}:${port}: ${reason}`, {}, { cause });
}
