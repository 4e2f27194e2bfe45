/**
 * The programs that measure native code: Atoll's, in C, linked with the core's objects, and the peers'.
 *
 * Owns: how they are built into the cache and how one is run for a round. Must not know what they
 * measure. A program gets the case and the number of operations as arguments, warms up, and prints
 * one JSON object a line: `{"case": …, "value": …}`.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { cacheFolder, CHECKOUT } from "../../native/build/cache.ts";
import { type Contender, pinned } from "../harness.ts";

/** Where a program runs: one processor, or as many as its threads. */
export interface Place {
  readonly processor?: number;
}

let compilerFound: string | undefined;

/** The first line of what `cc` answers. */
function ask(flag: string): string {
  return execFileSync("cc", [flag], { encoding: "utf8" }).split("\n", 1)[0]!.trim();
}

/** What `cc` is and what it compiles for, as in `x86_64-linux-gnu, gcc (Debian 12.2.0-14) 12.2.0`. */
export function compiler(): string {
  // GCC's first word is the name by which it was called; clang's line has its own name.
  const version = () => ask("--version").replace(/^\S*cc (?=\()/, "gcc ");
  return compilerFound ??= `${ask("-dumpmachine")}, ${version()}`;
}

/**
 * The same without what hardly changes the code that it makes, as in `x86_64-linux-gnu, gcc 12`: a
 * series gets corrections only, and each distribution's build of it has a name of its own.
 */
export function compilerSeries(): string {
  const name = compiler().includes("clang") ? "clang" : "gcc";
  return `${ask("-dumpmachine")}, ${name} ${ask("-dumpversion").split(".", 1)[0]}`;
}

/**
 * Of this checkout and compiler: make judges by age, which says nothing about objects of another
 * one.
 */
function folder(): string {
  const origin = createHash("sha256").update(`${CHECKOUT}\n${compiler()}`).digest("hex");
  const path = join(cacheFolder(), "bench", "native", origin.slice(0, 16));
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return path;
}

const INCLUDE = join(CHECKOUT, "native/core/include");

function source(file: string): string {
  return fileURLToPath(new URL(`./${file}`, import.meta.url));
}

/**
 * `bench/native/NAME.c`, linked with the core.
 * @param flags for the compiler, behind everything else: libraries of peers
 */
export function coreProgram(name: string, flags: readonly string[] = []): string {
  const out = folder();
  const core = join(CHECKOUT, "native/core");
  execFileSync("make", ["-s", "-C", core, "CC=cc", `OUT=${out}`, join(out, "libatoll_core.a")], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const program = join(out, name);
  const includes = [`-I${INCLUDE}`, `-I${join(core, "src")}`];
  execFileSync("cc", [
    ...["-std=c11", "-D_GNU_SOURCE", "-O2", "-pthread", "-Wall", "-Wextra", ...includes],
    ...["-o", program, source(`${name}.c`), join(out, "libatoll_core.a"), "-ldl", ...flags],
  ], { stdio: ["ignore", "ignore", "inherit"] });
  return program;
}

/** `bench/native/NAME.c` as a shared library on its own, compiled when it or the ABI is newer. */
export function sharedLibrary(name: string): string {
  const from = source(`${name}.c`);
  const library = join(folder(), `lib${name}.so`);
  const made = existsSync(library) ? statSync(library).mtimeMs : 0;
  const sources = [from, ...readdirSync(INCLUDE).map((file) => join(INCLUDE, file))];
  if (sources.some((path) => statSync(path).mtimeMs > made)) {
    execFileSync("cc", [
      ...["-std=c11", "-D_GNU_SOURCE", "-O2", "-shared", "-fPIC", "-pthread", "-Wall", "-Wextra"],
      ...[`-I${INCLUDE}`, "-o", library, from, "-ldl"],
    ], { stdio: ["ignore", "ignore", "inherit"] });
    // The core refuses an engine that others may write.
    chmodSync(library, 0o700);
  }
  return library;
}

/**
 * A peer in C++: `bench/peers/FILE`, compiled when it is newer than the program.
 * @param flags for the compiler, behind everything else: libraries
 */
export function cppPeer(file: string, flags: readonly string[] = []): string {
  const from = source(`../peers/${file}`);
  const program = join(folder(), file.replace(/\.\w+$/, "_peer"));
  if (!existsSync(program) || statSync(program).mtimeMs < statSync(from).mtimeMs) {
    execFileSync("c++", ["-std=c++17", "-O2", "-pthread", "-o", program, from, ...flags], {
      stdio: ["ignore", "ignore", "inherit"],
    });
  }
  return program;
}

/** A program of the crate `bench/peers/native`, built by cargo. Full benches only. */
export function rustPeer(name: string): string {
  const target = join(cacheFolder(), "bench", "cargo");
  execFileSync("cargo", [
    ...["build", "--release", "--locked", "--quiet", "--bin", name, "--target-dir", target],
  ], { cwd: source("../peers/native"), stdio: ["ignore", "ignore", "inherit"] });
  return join(target, "release", name);
}

/** A contender that is one run of a program a round. */
export function byProgram(
  name: string,
  program: string,
  args: readonly string[],
  place: Place = {},
): Contender {
  const plain = [program, ...args];
  const command = place.processor === undefined ? plain : pinned(place.processor, plain);
  const wanted = args[0];
  return {
    name,
    measure: () => {
      const { RUST_BACKTRACE: _, ...env } = process.env;
      const text = execFileSync(command[0]!, command.slice(1), { encoding: "utf8", env });
      const lines = text.trim().split("\n").map((line) =>
        JSON.parse(line) as { case: string; value: number }
      );
      const own = lines.find((line) => line.case === wanted);
      if (!own) throw new Error(`${program} said nothing about ${wanted}:\n${text}`);
      return own.value;
    },
  };
}
