/**
 * The wake: how native threads tell the event loop that completions are waiting.
 *
 * Owns: the connection to a client's wake socket in the runtime at hand. Must not know what the
 * completions are. One byte stands for a whole batch, so what is read is only counted as a wake.
 *
 * A socket read by the runtime's ordinary I/O needs no call from a foreign thread into the
 * runtime. Which I/O it is follows `bench/wake_bench.ts`: node:net under Deno, `Bun.connect`
 * under Bun.
 */
import { connect } from "node:net";

/** An open wake connection. It keeps the process alive until `unref`. */
export interface WakeSource {
  /** Keeps the process alive: a completion is awaited. */
  ref(): void;
  /** Lets the process end: nothing is awaited. */
  unref(): void;
  /** Ends the connection; `onEnd` is not called for it. */
  close(): void;
}

export interface WakeHandlers {
  /** At least one completion may be waiting. */
  readonly onWake: () => void;
  /** The library closed the connection. */
  readonly onEnd: () => void;
}

/** Connects to a wake socket and presents the nonce. */
export type ConnectWake = (
  path: string,
  nonce: Uint8Array,
  handlers: WakeHandlers,
) => Promise<WakeSource>;

/** `node:net`; the faster one under Deno. */
export const connectByNet: ConnectWake = (path, nonce, handlers) =>
  new Promise((resolve, reject) => {
    let open = true;
    const end = (): void => {
      if (!open) return;
      open = false;
      handlers.onEnd();
    };
    const socket = connect(path);
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      socket.on("error", end);
      socket.on("close", end);
      socket.on("data", handlers.onWake);
      socket.write(nonce);
      resolve({
        ref: () => void socket.ref(),
        unref: () => void socket.unref(),
        close: () => {
          open = false;
          socket.destroy();
        },
      });
    });
  });

/** What is used of `Bun.connect`; its own types are not there when Deno checks this file. */
interface BunConnect {
  connect(options: {
    unix: string;
    socket: { data(): void; close(): void; error(): void };
  }): Promise<{
    write(bytes: Uint8Array): number;
    ref(): void;
    unref(): void;
    terminate(): void;
  }>;
}

/** `Bun.connect`; the faster one under Bun. */
export const connectByBun: ConnectWake = async (path, nonce, handlers) => {
  const { Bun } = globalThis as unknown as { Bun: BunConnect };
  let open = true;
  const end = (): void => {
    if (!open) return;
    open = false;
    handlers.onEnd();
  };
  const socket = await Bun.connect({
    unix: path,
    socket: { data: handlers.onWake, close: end, error: end },
  });
  socket.write(nonce);
  return {
    ref: () => socket.ref(),
    unref: () => socket.unref(),
    close: () => {
      open = false;
      socket.terminate();
    },
  };
};

/** The wake connection of this runtime. */
export const connectWake: ConnectWake = "Bun" in globalThis ? connectByBun : connectByNet;
