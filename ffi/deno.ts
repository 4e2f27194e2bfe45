/**
 * The library through `Deno.dlopen`.
 *
 * Owns: what is particular to Deno. Must not know anything else; loaded under Deno only.
 */
import type { NativeLibrary } from "./library.ts";
import { DENO_SYMBOLS } from "./symbols.gen.ts";

/** Opens the library. Needs `--allow-ffi`; with `--allow-ffi=PATH` alone, `map` gives null. */
export function openWithDeno(path: string): NativeLibrary {
  const { symbols } = Deno.dlopen(path, DENO_SYMBOLS);
  return { runtime: "deno", path, symbols: { ...symbols }, map };
}

function map(address: bigint, bytes: number): ArrayBuffer | null {
  try {
    const pointer = Deno.UnsafePointer.create(address);
    return pointer === null ? null : Deno.UnsafePointerView.getArrayBuffer(pointer, bytes);
  } catch (error) {
    // A grant for the library's path covers its functions, not looking at memory.
    if (error instanceof Deno.errors.NotCapable) return null;
    throw error;
  }
}
