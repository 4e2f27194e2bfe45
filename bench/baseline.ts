/**
 * How many instructions the hot paths of the core take, and whether they have become more.
 *
 * Owns: `bench/baseline.json` and how callgrind counts. Must not know what the paths do:
 * `bench/native/baseline.c` does. A count says less than a time, but it is the same on a busy machine,
 * so that a test may judge by it.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { BenchError } from "./harness.ts";
import { compilerSeries, coreProgram, sharedLibrary } from "./native/programs.ts";

/** One number a path, by its name. */
export type ByPath = Readonly<Record<string, number>>;

/** Instructions an operation, by compiler, as `compilerSeries` names it, and path. */
export interface Baseline {
  readonly instructions: Readonly<Record<string, ByPath>>;
}

/** How a path compares with the file. */
export interface Growth {
  readonly path: string;
  /** Null: it is not in the file, or not in the program any more. */
  readonly before: number | null;
  readonly now: number | null;
}

export const BASELINE_FILE = fileURLToPath(new URL("./baseline.json", import.meta.url));

/** Growth up to this part is let pass: an instruction more in a path of thirty. */
const GROWTH_MAX = 0.05;
const OPERATIONS = 4096;
const REWRITE = "deno task bench --baseline";

/**
 * What else decides how many instructions run, forced to what every machine has: the copying function
 * that the C library picks for the processor, the variant of the checksum, and the fences, which
 * depend on whether this valgrind knows membarrier.
 */
const FORCED = {
  GLIBC_TUNABLES: "glibc.cpu.hwcaps=-AVX_Fast_Unaligned_Load,-ERMS,-FSRM",
  ATOLL_CRC32C: "scalar",
  ATOLL_FENCES: "full",
};

let built: readonly [string, string] | undefined;

/** The program and its engine, built once a process. */
function program(): readonly [string, string] {
  return built ??= [coreProgram("baseline"), sharedLibrary("baseline_engine")];
}

/** Nanoseconds an operation of a path, or of each with "all", in a tight loop. */
export function timePaths(path: string, operations: number): ByPath {
  const [file, engine] = program();
  const text = execFileSync(file, [path, String(operations), engine], { encoding: "utf8" });
  return Object.fromEntries(linesOf(text).map((line) => [line.case, line.value]));
}

interface Line {
  readonly case: string;
  readonly value: number;
  readonly operations: number;
}

function linesOf(text: string): readonly Line[] {
  return text.trim().split("\n").map((line) => JSON.parse(line) as Line);
}

/**
 * Instructions an operation of every path, by callgrind.
 * @throws BenchError when valgrind is missing
 */
export function countInstructions(): ByPath {
  const [file, engine] = program();
  const folder = mkdtempSync(join(tmpdir(), "atoll-baseline-"));
  try {
    const out = join(folder, "out");
    const lines = linesOf(callgrind(out, [file, "all", String(OPERATIONS), engine]));
    // The dumps are numbered in the order of the lines.
    const counts = lines.map((line, i) => {
      const total = dumpTotal(readFileSync(`${out}.${i + 1}`, "utf8"));
      return [line.case, Math.round(total / line.operations * 100) / 100] as const;
    });
    return Object.fromEntries(counts);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs a command under callgrind, which counts inside of `measured()`; what it prints. */
function callgrind(out: string, command: readonly string[]): string {
  const options = ["--collect-atstart=no", "--toggle-collect=measured", "--dump-after=measured"];
  options.push(`--callgrind-out-file=${out}`);
  try {
    return execFileSync("valgrind", ["-q", "--tool=callgrind", ...options, ...command], {
      encoding: "utf8",
      env: { ...process.env, ...FORCED },
    });
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOENT") throw error;
    throw new BenchError("Cannot count instructions: valgrind is missing (Debian: valgrind)", {
      cause: error,
    });
  }
}

/** The sum of a dump of callgrind. */
export function dumpTotal(text: string): number {
  const total = Number(text.match(/^totals: (\d+)/m)?.[1]);
  if (!(total > 0)) throw new Error("Cannot count instructions: callgrind's dump has no total");
  return total;
}

/** @throws BenchError that names the file */
export function readBaseline(file = BASELINE_FILE): Baseline {
  try {
    const baseline = JSON.parse(readFileSync(file, "utf8")) as Partial<Baseline>;
    if (typeof baseline?.instructions !== "object" || baseline.instructions === null) {
      throw new Error('it has no "instructions"');
    }
    return baseline as Baseline;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new BenchError(`Cannot read "${file}": ${reason}`, { cause: error });
  }
}

/** Puts the counts of this compiler into the file; those of others stay. */
export function writeBaseline(counts: ByPath, by = compilerSeries(), file = BASELINE_FILE): void {
  const instructions = { ...readBaseline(file).instructions, [by]: counts };
  writeFileSync(file, JSON.stringify({ instructions }, null, 2) + "\n");
}

/** The paths that grew by more than 5 %, are new, or are gone. */
export function growths(before: ByPath, now: ByPath): readonly Growth[] {
  const paths = [...new Set([...Object.keys(before), ...Object.keys(now)])];
  return paths
    .map((path) => ({ path, before: before[path] ?? null, now: now[path] ?? null }))
    .filter((one) =>
      one.before === null || one.now === null || one.now > one.before * (1 + GROWTH_MAX)
    );
}

function growthText({ path, before, now }: Growth): string {
  if (now === null) return `${path} is in bench/baseline.json and not counted any more`;
  if (before === null) return `${path} takes ${now} instructions and is not in bench/baseline.json`;
  const more = ((now / before - 1) * 100).toFixed(1);
  return `${path} takes ${now} instructions an operation, before ${before}: ${more} % more`;
}

/** What the check says, line by line; `ok` false: a path grew, null: there is nothing to compare with. */
export function judge(
  baseline: Baseline,
  now: ByPath,
  by: string,
): { readonly ok: boolean | null; readonly lines: readonly string[] } {
  const before = baseline.instructions[by];
  if (before === undefined) {
    // Another compiler makes other code of the same source; that is no fault of the source.
    const known = Object.keys(baseline.instructions).join("; ") || "none";
    return {
      ok: null,
      lines: [`no counts by ${by}, by ${known} only: ${REWRITE} adds them`],
    };
  }
  const grown = growths(before, now);
  if (grown.length > 0) {
    const meant = `change bench/baseline.json in the same commit if that is meant: ${REWRITE}`;
    return { ok: false, lines: [...grown.map(growthText), meant] };
  }
  // Else what was gained could be lost again unseen.
  const shrunk = Object.keys(now)
    .filter((path) => now[path]! < before[path]! * (1 - GROWTH_MAX))
    .map((path) =>
      `${path} takes ${now[path]} instructions, before ${before[path]}: keep that by ${REWRITE}`
    );
  const lines = [...shrunk, `no path takes over 5 % more instructions than before by ${by}`];
  return { ok: true, lines };
}
