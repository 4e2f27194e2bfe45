/**
 * One interface over the foreign function interfaces of Deno and Bun.
 *
 * Owns: opening `libatoll.so` in the runtime at hand, the check of the runtime's and the library's
 * versions, reading the library's error text. Must not know frames, clients or engines.
 *
 * The library is opened and never closed: views of its arena and the signal handlers of wasmtime
 * outlive every use.
 */
import process from "node:process";
import { ABI_VERSION, STATUS } from "./abi.gen.ts";
import { NativeError, statusCode } from "./errors.ts";
import { DENO_SYMBOLS, type SymbolName } from "./symbols.gen.ts";

type Arguments<P extends readonly string[]> = {
  -readonly [I in keyof P]: P[I] extends "buffer" ? Uint8Array<ArrayBuffer> : number;
};

/** The library's functions; a pointer is always passed as a view, a handle as a u32. */
export type NativeSymbols = {
  readonly [N in SymbolName]: (
    ...args: Arguments<(typeof DENO_SYMBOLS)[N]["parameters"]>
  ) => number;
};

/** `libatoll.so` as opened by one isolate. */
export interface NativeLibrary {
  readonly runtime: "deno" | "bun";
  readonly path: string;
  readonly symbols: NativeSymbols;
  /**
   * A view of native memory that stays mapped until the process ends, or null where the runtime
   * may call the library but not look at memory (Deno with `--allow-ffi=PATH`), and for more memory
   * than a buffer of the runtime can have (Bun above 4 GiB).
   */
  map(address: bigint, bytes: number): ArrayBuffer | null;
}

/** The oldest runtimes whose foreign function interface is sound enough. */
export const OLDEST_RUNTIME = {
  // Buffers of a non-blocking call could be freed before 2.9.
  deno: [2, 9, 0],
  // Callbacks from threads crashed before 1.4, and 1.4.0 ignored options of its server.
  bun: [1, 4, 1],
} as const;

/**
 * One line that says that a runtime is too old, or null.
 * @param versions as `process.versions` has them
 */
export function runtimeObstacle(
  versions: Readonly<Record<string, string | undefined>> = process.versions,
): string | null {
  for (const name of ["deno", "bun"] as const) {
    const version = versions[name];
    if (version === undefined) continue;
    const oldest = OLDEST_RUNTIME[name];
    const parts = version.split(/[.+-]/).map(Number);
    const difference = oldest.map((part, i) => (parts[i] ?? 0) - part).find((d) => d !== 0) ?? 0;
    if (difference >= 0) return null;
    const update = name === "deno" ? "deno upgrade" : "bun upgrade";
    return `${name} ${version} is too old: ${oldest.join(".")} or newer is needed; run ${update}`;
  }
  return "neither Deno nor Bun: start Atoll with deno run or bun run";
}

/**
 * Opens the library by its absolute path and checks that both sides speak the same ABI.
 * @throws NativeError unsupported: the runtime; io: the file cannot be opened; version: the ABI
 */
export async function openLibrary(path: string): Promise<NativeLibrary> {
  const obstacle = runtimeObstacle();
  if (obstacle) throw new NativeError(STATUS.UNSUPPORTED, obstacle);
  let library: NativeLibrary;
  try {
    library = "Deno" in globalThis
      ? (await import("./deno.ts")).openWithDeno(path)
      : (await import("./bun.ts")).openWithBun(path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const missing = cause instanceof Error && cause.name === "NotCapable";
    throw new NativeError(
      missing ? STATUS.DENIED : STATUS.IO,
      `Cannot open native library "${path}": ${reason}`,
      {},
      { cause },
    );
  }
  checkAbi(library.symbols.atoll_abi_version(), path);
  return library;
}

/** @throws NativeError version */
export function checkAbi(found: number, path: string): void {
  if (found === ABI_VERSION) return;
  throw new NativeError(
    STATUS.VERSION,
    `Cannot use native library "${path}": its ABI version is ${found}, supported is ${ABI_VERSION}`,
  );
}

const TEXT_BYTES = 1024;

/** What the library says about the last function that failed on this thread. */
export function errorText(symbols: NativeSymbols): string {
  const text = new Uint8Array(new ArrayBuffer(TEXT_BYTES));
  const length = symbols.atoll_error_text(text, TEXT_BYTES);
  return new TextDecoder().decode(text.subarray(0, Math.min(length, TEXT_BYTES)));
}

/**
 * Throws for every status but OK, with the library's own message.
 * @param what for a library that says nothing, as in `Cannot open a client`
 */
export function check(symbols: NativeSymbols, status: number, what: string): void {
  if (status === STATUS.OK) return;
  const text = errorText(symbols);
  const message = text.startsWith("Cannot ") ? text : `${what}: ${text || statusCode(status)}`;
  throw new NativeError(status, message);
}

/**
 * A byte argument for the library. An empty view has no address in some runtimes, so it is
 * replaced by one byte that the length argument leaves out.
 */
export function bytesArgument(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  if (bytes.length === 0) return new Uint8Array(new ArrayBuffer(1));
  // Shared memory could change, and a resizable buffer move, under the library while it reads.
  if (!(bytes.buffer instanceof ArrayBuffer) || bytes.buffer.resizable) {
    return new Uint8Array(bytes);
  }
  return bytes as Uint8Array<ArrayBuffer>;
}

/** An out-parameter. The buffer comes first: small arrays may be moved by Bun's compiler. */
export function outArgument(bytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(bytes));
}
