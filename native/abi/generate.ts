/**
 * Writes what is derived from `atoll_abi.json`: the C header, the Rust declarations and the
 * TypeScript tables. `--check` writes nothing and fails when a file is stale.
 *
 * Owns: which file comes from which emitter. Must not know any target language.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { emitHeader } from "./emit_c.ts";
import { emitRust } from "./emit_rust.ts";
import { emitAbi, emitSymbols } from "./emit_typescript.ts";
import { readAbi } from "./model.ts";

const ROOT = new URL("../../", import.meta.url);

/** A generated file: its path from the project's root and the text it shall have. */
export interface Generated {
  readonly path: string;
  readonly text: string;
}

/** All generated files; throws an `Error` when the description is inconsistent. */
export function generate(): Generated[] {
  const abi = readAbi(new URL("./atoll_abi.json", import.meta.url));
  return [
    { path: "native/core/include/atoll.h", text: emitHeader(abi) },
    { path: "native/sandbox/src/abi.gen.rs", text: emitRust(abi) },
    { path: "ffi/symbols.gen.ts", text: emitSymbols(abi) },
    { path: "ffi/abi.gen.ts", text: emitAbi(abi) },
  ];
}

/** Paths of the generated files whose content differs from what it shall be, or that are missing. */
export function stale(): string[] {
  return generate().filter((file) => read(file.path) !== file.text).map((file) => file.path);
}

function read(path: string): string | null {
  try {
    return readFileSync(new URL(path, ROOT), "utf8");
  } catch {
    return null;
  }
}

function main(): number {
  if (process.argv.includes("--check")) {
    const paths = stale();
    for (const path of paths) console.error(`${path} is stale: run native/abi/generate.ts`);
    return paths.length === 0 ? 0 : 1;
  }
  for (const file of generate()) {
    const url = new URL(file.path, ROOT);
    mkdirSync(new URL("./", url), { recursive: true });
    // Unchanged files keep their time stamp, so that make and cargo do not rebuild.
    if (read(file.path) !== file.text) writeFileSync(url, file.text);
  }
  return 0;
}

if (import.meta.main) process.exitCode = main();
