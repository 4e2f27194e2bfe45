/**
 * Whether this machine can build the native libraries.
 *
 * Owns: the list of what is needed and the one line that says what is missing.
 * Must not know how the build goes.
 */
import { spawn } from "node:child_process";
import process from "node:process";

/** The oldest rustc that compiles wasmtime 48. */
export const RUSTC_OLDEST: readonly [number, number] = [1, 95];

/** First lines of the compilers' version output, or what is missing. */
export interface Toolchain {
  readonly cc: string;
  readonly rustc: string;
}

/** The C compiler that make uses. */
export function cCompiler(): string {
  try {
    return process.env.CC || "cc";
  } catch {
    // Deno without --allow-env=CC: make would not see it either.
    return "cc";
  }
}

/**
 * The compilers of this machine, or one line that says why the libraries cannot be built here and
 * what would change that.
 */
export async function inspectToolchain(
  platform: string = process.platform,
  arch: string = process.arch,
): Promise<Toolchain | string> {
  if (platform !== "linux" || (arch !== "x64" && arch !== "arm64")) {
    return `the native engine needs Linux on x86-64 or arm64, this is ${platform} on ${arch}`;
  }
  const compiler = cCompiler();
  const probes = [
    [compiler, ["--version"]],
    ["make", ["--version"]],
    ["cargo", ["--version"]],
    ["rustc", ["-V"]],
  ] as const;
  const lines = await Promise.all(probes.map(([program, args]) => firstLine(program, args)));
  const refused = probes.filter((_, i) => lines[i] === REFUSED).map(([program]) => program);
  if (refused.length > 0) {
    const programs = refused.length === probes.length ? "" : `=${refused.join(",")}`;
    return `Deno did not grant --allow-run${programs}, which a build needs`;
  }
  const [cc = null, make = null, cargo = null, rustc = null] = lines as (string | null)[];
  if (cc === null) return `no C compiler: "${compiler}" does not run; install gcc or clang`;
  if (make === null) return "no make: install make (Debian: apt-get install make)";
  const oldest = RUSTC_OLDEST.join(".");
  if (cargo === null || rustc === null) {
    return `no cargo: install Rust ${oldest} or newer from https://rustup.rs`;
  }
  return rustcObstacle(rustc) ?? { cc, rustc };
}

/** One line about a rustc that is too old, as `rustc -V` prints its version; null for a good one. */
export function rustcObstacle(version: string): string | null {
  const found = version.match(/^rustc (\d+)\.(\d+)\.\d+\S*/);
  const oldest = RUSTC_OLDEST.join(".");
  if (!found) return `cannot tell the version of rustc from "${version}"; ${oldest} is needed`;
  const [major, minor] = [Number(found[1]), Number(found[2])];
  const enough = major > RUSTC_OLDEST[0] || (major === RUSTC_OLDEST[0] && minor >= RUSTC_OLDEST[1]);
  if (enough) return null;
  return `${found[0]} is too old: wasmtime needs ${oldest} or newer; run rustup update`;
}

/** Deno may not start the program, so that it is not known whether it is there. */
const REFUSED = Symbol("refused");

/** The first line a program prints; null when it cannot be run or fails. */
function firstLine(
  program: string,
  args: readonly string[],
): Promise<string | null | typeof REFUSED> {
  return new Promise((resolve) => {
    const failed = (error: unknown) =>
      resolve(error instanceof Error && error.name === "NotCapable" ? REFUSED : null);
    try {
      const child = spawn(program, args, { stdio: ["ignore", "pipe", "ignore"] });
      let text = "";
      child.stdout.setEncoding("utf8");
      child.stdout.on("data", (part: string) => void (text += part));
      child.on("error", failed);
      child.on("close", (code) => resolve(code === 0 ? text.split("\n")[0] ?? "" : null));
    } catch (error) {
      // Deno throws at once.
      failed(error);
    }
  });
}
