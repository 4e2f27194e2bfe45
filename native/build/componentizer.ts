/**
 * The program that writes bindings for plugins in C and Go and makes components of what their
 * compilers give (`native/tools/componentize`): found in the cache, or built into it.
 *
 * Owns: its place `<cache>/tools/<key>/atoll-componentize` and its build. Must not know the compilers
 * of those languages.
 */
import { chmodSync, copyFileSync, existsSync, mkdirSync, renameSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import {
  cacheFolder,
  CHECKOUT,
  componentizerKey,
  NativeBuildError,
  writableByOthers,
} from "./cache.ts";
import { cargoArtefact, isCargoMessage } from "./cargo.ts";
import { cancelled, runCommand } from "./command.ts";
import { takeLock } from "./lock.ts";

const PROGRAM = "atoll-componentize";

/** Lines for people that an error shows. */
const TAIL_LINES = 20;

/**
 * The path of the program, built now if its sources changed; half a minute of a processor's time.
 * @throws NativeBuildError unsupported: no cargo; build: what the compiler said; denied: others could
 * replace the program
 */
export async function componentizer(
  cache: string = cacheFolder(),
  checkout: string = CHECKOUT,
  signal?: AbortSignal,
): Promise<string> {
  const program = join(cache, "tools", componentizerKey(checkout), PROGRAM);
  const folder = dirname(program);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const lock = await takeLock(`${folder}.lock`, signal).catch((error) => {
    throw signal?.aborted ? cancelled() : error;
  });
  try {
    if (!existsSync(program)) await build(checkout, join(cache, "cargo"), program, signal);
  } finally {
    lock.release();
  }
  const obstacle = writableByOthers([cache, join(cache, "tools"), folder, program]);
  if (obstacle !== null) throw new NativeBuildError("denied", obstacle);
  return program;
}

async function build(
  checkout: string,
  target: string,
  program: string,
  signal?: AbortSignal,
): Promise<void> {
  const source = join(checkout, "native/tools/componentize");
  const options = ["--release", "--locked", "--bin", PROGRAM, "--target-dir", target];
  options.push("--color", "never", "--message-format", "json-render-diagnostics");
  // Checkouts share the target folder, and cargo compares times of files only.
  const cfg = `atoll_sources="${componentizerKey(checkout)}"`;
  const tail: string[] = [];
  let made: string | undefined;
  const onLine = (line: string): void => {
    if (isCargoMessage(line)) {
      made = cargoArtefact(line)?.filenames.find((file) => basename(file) === PROGRAM) ?? made;
      return;
    }
    tail.push(line);
    if (tail.length > TAIL_LINES) tail.shift();
  };
  const command = ["cargo", "rustc", ...options, "--", "--cfg", cfg];
  const { status } = await runCommand(command, { cwd: source, onLine, signal });
  // The shell's status for a program that is not there (POSIX, 2.8.2).
  if (status === 127) {
    const why = "cargo is not installed; see https://rustup.rs";
    throw new NativeBuildError("unsupported", `Cannot build ${PROGRAM}: ${why}`);
  }
  if (status !== 0 || made === undefined) {
    throw new NativeBuildError("build", `Cannot build ${PROGRAM}\n${tail.join("\n")}`);
  }
  const unfinished = `${program}.${process.pid}`;
  copyFileSync(made, unfinished);
  chmodSync(unfinished, 0o700);
  renameSync(unfinished, program);
}
