/**
 * What the output of make and cargo says about how far a build is.
 *
 * Owns: the progress record and its derivation from output lines. Must not know how it is shown.
 */
import { readFileSync } from "node:fs";

/** How far a build is; `done` and `total` count compiled files or crates of the phase. */
export interface BuildProgress {
  readonly phase: "core" | "sandbox";
  readonly done: number;
  /** An estimate until the phase ends: a lock file also lists crates of other platforms. */
  readonly total: number;
  /** The file or crate that was begun last. */
  readonly crate?: string;
}

// Names of crates that are in the lock file for other platforms only.
const ELSEWHERE = /^(windows|winapi|winx|wasm-bindgen|js-sys|web-sys|redox|hermit|core-foundation)/;

/** Packages in a Cargo.lock that this platform can be expected to compile. */
export function lockedCrates(lockFile: string): number {
  const names = readFileSync(lockFile, "utf8").matchAll(/^name = "([^"]+)"$/gm);
  return [...names].filter(([, name]) => !ELSEWHERE.test(name ?? "")).length;
}

/**
 * Turns cargo's lines into progress: `Compiling NAME vVERSION` begins a crate, `Finished` ends the
 * phase. A line that says nothing about progress gives null.
 */
export function cargoProgress(total: number): (line: string) => BuildProgress | null {
  let done = 0;
  return (line) => {
    const begun = line.match(/^\s*Compiling (\S+) v/);
    if (begun?.[1]) {
      // What was begun before is counted as done; the estimate never falls behind that.
      const progress = { done, total: Math.max(total, done + 1), crate: begun[1] };
      done++;
      return { phase: "sandbox", ...progress };
    }
    if (/^\s*Finished /.test(line)) {
      const end = Math.max(total, done);
      return { phase: "sandbox", done: end, total: end };
    }
    return null;
  };
}

/** The same for the core's make output: one compiled .c file a line. */
export function makeProgress(total: number): (line: string) => BuildProgress | null {
  let done = 0;
  return (line) => {
    const file = line.match(/\s-c\b.*?([\w-]+\.c)\b/)?.[1] ?? line.match(/^\s*CC\s+(\S+)/)?.[1];
    if (!file) return null;
    const progress = { done, total: Math.max(total, done + 1), crate: file };
    done++;
    return { phase: "core", ...progress };
  };
}
