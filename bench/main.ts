/**
 * Command: one bench by name, `deno task bench NAME [--runtime deno|bun] [--small] [--json]
 * [--compare] [--record]`, or the core's instruction counts, `deno task bench --baseline [--check]`.
 *
 * Owns: arguments, and starting itself again under the other runtime. NAME is the file's name
 * without `_bench.ts`. `--compare` prints the ratios that changed since the last record on such a
 * machine, whatever they are; `--record` keeps those of this run. `--baseline` counts and writes
 * `bench/baseline.json`, with `--check` it compares and fails when a path takes over 5 % more, or when
 * there are no counts by such a compiler and ATOLL_TEST_COMPLETE is set.
 */
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { currentRuntime, isComplete, runScript, type RuntimeName } from "../tests/runtimes.ts";
import { countInstructions, judge, readBaseline, writeBaseline } from "./baseline.ts";
import { Bench, BenchError, commit, type RunBench } from "./harness.ts";
import { appendRecord, historyFile, printChanges, readHistory, recordOf } from "./history.ts";
import { compilerSeries } from "./native/programs.ts";

const SUFFIX = "_bench.ts";

/** The benches there are, by name. */
export function benchNames(): string[] {
  return readdirSync(fileURLToPath(new URL("./", import.meta.url)))
    .filter((file) => file.endsWith(SUFFIX))
    .map((file) => file.slice(0, -SUFFIX.length))
    .sort();
}

/** The function that runs a bench. */
export async function loadBench(name: string): Promise<RunBench> {
  const module = await import(`./${name}${SUFFIX}`) as { readonly run: RunBench };
  return module.run;
}

interface BaselineArguments {
  readonly baseline: "write" | "check";
}

interface BenchArguments {
  readonly name: string;
  readonly runtime: RuntimeName;
  readonly small: boolean;
  readonly json: boolean;
  readonly record: boolean;
  readonly compare: boolean;
}

/** Reads the command line; a string is what is wrong with it. */
export function parseArguments(
  args: readonly string[],
): BenchArguments | BaselineArguments | string {
  if (args[0] === "--baseline") {
    if (args.length === 1) return { baseline: "write" };
    if (args.length === 2 && args[1] === "--check") return { baseline: "check" };
    return "--baseline stands alone or with --check";
  }
  let name: string | null = null;
  let runtime: string = currentRuntime;
  const flags = { small: false, json: false, record: false, compare: false };
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    const [flag, inline] = arg.split("=", 2);
    if (flag === "--runtime") runtime = inline ?? args[++i] ?? "";
    else if (arg === "--small") flags.small = true;
    else if (arg === "--json") flags.json = true;
    else if (arg === "--record") flags.record = true;
    else if (arg === "--compare") flags.compare = true;
    else if (arg.startsWith("-")) return `unknown flag "${arg}"`;
    else if (name !== null) return `one bench at a time, not "${name}" and "${arg}"`;
    else name = arg;
  }
  if (runtime !== "deno" && runtime !== "bun") return `--runtime is deno or bun, not "${runtime}"`;
  const names = benchNames();
  if (name === null) return `which bench? ${names.join(", ")}`;
  if (!names.includes(name)) return `no bench "${name}"; there are ${names.join(", ")}`;
  if (flags.small && (flags.record || flags.compare)) {
    return "--record and --compare need the full bench: figures of a small one mean nothing";
  }
  return { name, runtime, ...flags };
}

async function main(args: readonly string[]): Promise<number> {
  const parsed = parseArguments(args);
  if (typeof parsed === "string") {
    process.stderr.write(`bench: ${parsed}\n`);
    return 2;
  }
  try {
    if ("baseline" in parsed) return baseline(parsed.baseline);
    if (parsed.runtime !== currentRuntime) return await runUnder(parsed.runtime, args);
    return await benchOnce(parsed);
  } catch (error) {
    if (!(error instanceof BenchError)) throw error;
    process.stderr.write(`bench: ${error.message}\n`);
    return 1;
  }
}

async function benchOnce({ name, small, json, record, compare }: BenchArguments): Promise<number> {
  const file = historyFile(name);
  // Before the bench: nobody wants to learn after it that the records cannot be read.
  const history = record || compare ? readHistory(file) : [];
  const measured = commit();
  const run = await loadBench(name);
  const bench = new Bench(name, { small, json });
  await run(bench);
  const now = recordOf(bench, measured);
  if (compare) printChanges(bench, history, now);
  if (record) {
    appendRecord(file, now);
    bench.note(`\nrecorded in bench/history/${name}.jsonl`);
  }
  return 0;
}

function baseline(what: BaselineArguments["baseline"]): number {
  const stored = readBaseline();
  const by = compilerSeries();
  const now = countInstructions();
  for (const [path, count] of Object.entries(now)) {
    const before = stored.instructions[by]?.[path]?.toFixed(2) ?? "none";
    process.stdout.write(`${path.padEnd(20)} ${count.toFixed(2).padStart(8)}  before ${before}\n`);
  }
  if (what === "check") {
    const { ok, lines } = judge(stored, now, by);
    // Else the check would be skipped for good, unseen, where the compiler is another one.
    const failed = ok === false || (ok === null && isComplete());
    // Said so that the test command does not count it as passed.
    const start = ok !== null ? "" : failed ? "FAILED " : "skipped ";
    for (const line of lines) process.stdout.write(`${start}${line}\n`);
    return failed ? 1 : 0;
  }
  writeBaseline(now, by);
  process.stdout.write(`written to bench/baseline.json for ${by}\n`);
  return 0;
}

function runUnder(runtime: RuntimeName, args: readonly string[]): Promise<number> {
  const [program, ...rest] = runScript(runtime, fileURLToPath(import.meta.url));
  return new Promise((resolve, reject) => {
    const child = spawn(program!, [...rest, ...args], { stdio: "inherit", env: process.env });
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? 1));
  });
}

if (import.meta.main) process.exit(await main(process.argv.slice(2)));
