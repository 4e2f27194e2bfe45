/**
 * The library through `bun:ffi`.
 *
 * Owns: what is particular to Bun. Must not know anything else; loaded under Bun only.
 */
import { dlopen, type Pointer, toArrayBuffer } from "bun:ffi";
import { BUN_BUFFER_BYTES } from "./arena_info.ts";
import type { NativeLibrary, NativeSymbols } from "./library.ts";
import { BUN_SYMBOLS } from "./symbols.gen.ts";

/** Opens the library. */
export function openWithBun(path: string): NativeLibrary {
  const { symbols } = dlopen(path, BUN_SYMBOLS);
  // Without a finaliser of its own Bun may free memory that it does not own. This function takes
  // no arguments and changes nothing, so it is a harmless one.
  const finaliser = (symbols.atoll_abi_version as unknown as { readonly ptr: Pointer }).ptr;
  return {
    runtime: "bun",
    path,
    symbols: { ...symbols } as unknown as NativeSymbols,
    map: (address, bytes) =>
      bytes > BUN_BUFFER_BYTES ? null : mapMemory({ address, bytes, finaliser }),
  };
}

/** Names for the arguments of `toArrayBuffer`: a length in the offset's place gives an empty view. */
function mapMemory(o: { address: bigint; bytes: number; finaliser: Pointer }): ArrayBuffer {
  const pointer = toPointer(o.address);
  const context = undefined as unknown as Pointer;
  return toArrayBuffer(pointer, 0, o.bytes, context, o.finaliser);
}

/** Bun's pointers are numbers as long as they are safe integers; user space always is. */
function toPointer(address: bigint): Pointer {
  const number = Number(address);
  if (!Number.isSafeInteger(number) || number <= 0) {
    throw new RangeError(`Cannot map memory at 0x${address.toString(16)}`);
  }
  return number as Pointer;
}
