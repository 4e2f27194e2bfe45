/**
 * Files that an engine has compiled from a component: machine code that is never run from outside
 * of the cache.
 *
 * Owns: recognising them, so that both engines name them alike. Must not know components.
 */
import { AtollError } from "../core/errors.ts";

/** Wasmtime writes ELF; Atoll's cache puts a header of its own in front. */
const HEADERS = ["\x7fELF", "ATOLLCW"];

/** @throws AtollError component: the bytes begin as such a file does */
export function refusePrecompiled(plugin: string, bytes: Uint8Array): void {
  const start = String.fromCharCode(...bytes.subarray(0, 8));
  if (!HEADERS.some((header) => start.startsWith(header))) return;
  throw new AtollError(
    "component",
    `Cannot load plugin "${plugin}": it is a precompiled file, not a component: ` +
      "give Atoll the .wasm it was made from",
    { plugin },
  );
}
