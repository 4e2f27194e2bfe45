/**
 * The native side of the wake bench in both runtimes.
 *
 * Owns: opening `wake.c`'s library. Must not know what is compared.
 */

/** The library, with its functions named for what they do. */
export interface WakeLibrary {
  listen(path: string): void;
  startSocket(wakes: number, gapUs: number): void;
  startCallback(pointer: unknown, wakes: number, gapUs: number): void;
  /** Takes the time of a wake; returns how many have come. */
  mark(): number;
  /** Ends the measurement; latencies in nanoseconds. */
  finish(wakes: number): Uint32Array;
  /** A callback that a native thread may call. */
  callback(body: () => void): { readonly pointer: unknown; close(): void };
}

interface Symbols {
  wake_mark(): number;
  wake_listen(path: Uint8Array<ArrayBuffer>, length: number): number;
  wake_by_socket(wakes: number, gapUs: number): number;
  wake_finish(to: Uint8Array<ArrayBuffer>, wakes: number): number;
}

/** Opens the library at an absolute path. */
export async function openWakeLibrary(path: string): Promise<WakeLibrary> {
  return "Deno" in globalThis ? openWithDeno(path) : await openWithBun(path);
}

function openWithDeno(path: string): WakeLibrary {
  const { symbols } = Deno.dlopen(path, {
    wake_mark: { parameters: [], result: "u32" },
    wake_listen: { parameters: ["buffer", "u32"], result: "u32" },
    wake_by_socket: { parameters: ["u32", "u32"], result: "u32" },
    wake_by_callback: { parameters: ["function", "u32", "u32"], result: "u32" },
    wake_finish: { parameters: ["buffer", "u32"], result: "u32" },
  });
  return {
    ...common(symbols),
    startCallback: (pointer, wakes, gapUs) =>
      check(symbols.wake_by_callback(pointer as Deno.PointerValue, wakes, gapUs)),
    callback: (body) => {
      const own = Deno.UnsafeCallback.threadSafe({ parameters: [], result: "void" }, body);
      return { pointer: own.pointer, close: () => own.close() };
    },
  };
}

async function openWithBun(path: string): Promise<WakeLibrary> {
  const { dlopen, JSCallback } = await import("bun:ffi");
  const { symbols } = dlopen(path, {
    wake_mark: { args: [], returns: "u32" },
    wake_listen: { args: ["buffer", "u32"], returns: "u32" },
    wake_by_socket: { args: ["u32", "u32"], returns: "u32" },
    wake_by_callback: { args: ["ptr", "u32", "u32"], returns: "u32" },
    wake_finish: { args: ["buffer", "u32"], returns: "u32" },
  });
  return {
    ...common(symbols as unknown as Symbols),
    startCallback: (pointer, wakes, gapUs) =>
      check(symbols.wake_by_callback(pointer as never, wakes, gapUs)),
    callback: (body) => {
      const own = new JSCallback(body, { args: [], returns: "void", threadsafe: true });
      return { pointer: own.ptr, close: () => own.close() };
    },
  };
}

function common(symbols: Symbols): Omit<WakeLibrary, "startCallback" | "callback"> {
  return {
    listen: (path) => {
      const bytes = new TextEncoder().encode(path);
      check(symbols.wake_listen(bytes, bytes.length));
    },
    startSocket: (wakes, gapUs) => check(symbols.wake_by_socket(wakes, gapUs)),
    mark: () => symbols.wake_mark(),
    finish: (wakes) => {
      const bytes = new Uint8Array(new ArrayBuffer(wakes * 4));
      check(symbols.wake_finish(bytes, wakes));
      return new Uint32Array(bytes.buffer);
    },
  };
}

function check(result: number): void {
  if (result !== 0) throw new Error(`the wake bench's library answered ${result}`);
}
