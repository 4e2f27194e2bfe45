/**
 * What earlier runs of a bench gave, and what has changed since.
 *
 * Owns: `bench/history/NAME.jsonl`, a line a run, only ever appended to: two branches that record
 * do not rewrite each other's runs, and nothing that goes wrong can lose one. Must not know what is
 * measured. Only ratios are compared: they were taken in one run, values depend on the hour.
 */
import { appendFileSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import * as v from "valibot";
import { type Bench, BenchError, machine } from "./harness.ts";

const CASE = v.object({
  case: v.string(),
  value: v.number(),
  unit: v.string(),
  peer: v.nullable(v.string()),
  peer_value: v.nullable(v.number()),
  /** Above 1 where Atoll is better. */
  ratio: v.nullable(v.number()),
});

const RECORD = v.object({
  bench: v.string(),
  /** UTC, ISO 8601. */
  date: v.pipe(v.string(), v.isoTimestamp()),
  machine: v.object({
    cpu: v.string(),
    cores: v.number(),
    memory_gib: v.number(),
    kernel: v.string(),
  }),
  runtime: v.picklist(["deno", "bun"]),
  version: v.string(),
  commit: v.string(),
  /** Whether the working tree had changes that no commit has. */
  changes: v.boolean(),
  cases: v.array(CASE),
});

/** One run of a bench. */
export type RunRecord = v.InferOutput<typeof RECORD>;

/** A ratio that is not what it was. */
export interface Change {
  readonly case: string;
  readonly peer: string | null;
  /** Null: there was, or is, no such case. */
  readonly before: number | null;
  readonly now: number | null;
}

/** Ratios of one machine differ by less from run to run. */
const CHANGE_MIN = 0.1;

const FOLDER = fileURLToPath(new URL("./history/", import.meta.url));

export function historyFile(bench: string, folder = FOLDER): string {
  return join(folder, `${bench}.jsonl`);
}

/**
 * The runs in the order in which they were recorded; none where there is no file.
 * @throws BenchError that names file and line
 */
export function readHistory(file: string): readonly RunRecord[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return [];
    throw error;
  }
  return text.split("\n").flatMap((line, i) => {
    if (line.trim() === "") return [];
    try {
      return [v.parse(RECORD, JSON.parse(line))];
    } catch (error) {
      const reason = error instanceof v.ValiError
        ? `${v.getDotPath(error.issues[0]) ?? "the record"}: ${error.issues[0].message}`
        : (error as Error).message;
      throw new BenchError(`Cannot read "${file}", line ${i + 1}: ${reason}`, { cause: error });
    }
  });
}

/** Adds a run at the end, whatever stands before. */
export function appendRecord(file: string, record: RunRecord): void {
  mkdirSync(dirname(file), { recursive: true });
  // A last line that was cut short must not take this one with it.
  appendFileSync(file, `${endsLine(file) ? "" : "\n"}${JSON.stringify(record)}\n`);
}

function endsLine(file: string): boolean {
  try {
    const bytes = readFileSync(file);
    return bytes.length === 0 || bytes.at(-1) === 10;
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return true;
    throw error;
  }
}

/**
 * The run that a bench has just finished.
 * @param of what was measured: the checkout as it was before, for a full bench takes a while
 */
export function recordOf(bench: Bench, of: Pick<RunRecord, "commit" | "changes">): RunRecord {
  return {
    bench: bench.name,
    date: new Date().toISOString(),
    machine: machine(),
    runtime: bench.runtime,
    version: process.versions[bench.runtime] ?? "unknown",
    ...of,
    cases: bench.results.map(({ bench: _, runtime: __, ...rest }) => rest),
  };
}

/** The last run on such a machine, under the same runtime. */
export function lastLike(history: readonly RunRecord[], run: RunRecord): RunRecord | null {
  return history.findLast((one) =>
    one.machine.cpu === run.machine.cpu && one.machine.cores === run.machine.cores &&
    one.runtime === run.runtime
  ) ?? null;
}

/** The ratios that changed by more than 10 %, or are in one of the two only. */
export function changesBetween(before: RunRecord, now: RunRecord): readonly Change[] {
  const ratios = (run: RunRecord): Map<string, number | null> =>
    new Map(run.cases.map((one) => [JSON.stringify([one.case, one.peer]), one.ratio]));
  const [old, fresh] = [ratios(before), ratios(now)];
  return [...new Set([...old.keys(), ...fresh.keys()])].flatMap((key) => {
    const [name, peer] = JSON.parse(key) as [string, string | null];
    const change = {
      case: name,
      peer,
      before: old.get(key) ?? null,
      now: fresh.get(key) ?? null,
    };
    return hasChanged(change) ? [change] : [];
  });
}

function hasChanged({ before, now }: Change): boolean {
  if (before === null || now === null) return before !== now;
  return Math.abs(now / before - 1) > CHANGE_MIN;
}

/** Prints what changed since the last run on such a machine. */
export function printChanges(bench: Bench, history: readonly RunRecord[], now: RunRecord): void {
  const { cpu, cores } = now.machine;
  const before = lastLike(history, now);
  if (before === null) {
    bench.note(`\nThere is no record of ${now.bench} under ${now.runtime} on ${cores} x ${cpu}.`);
    return;
  }
  const changes = changesBetween(before, now);
  const since = `${before.date.slice(0, 10)} (${before.commit}${
    before.changes ? " with changes" : ""
  })`;
  if (changes.length === 0) {
    bench.note(`\nNo ratio changed by more than 10 % since ${since}.`);
    return;
  }
  bench.note(`\nChanged by more than 10 % since ${since}:`);
  for (const change of changes) {
    bench.note(`  ${changeText(change)}`);
    bench.object({
      bench: now.bench,
      case: change.case,
      runtime: now.runtime,
      peer: change.peer,
      ratio_before: change.before,
      ratio: change.now,
      date_before: before.date,
      commit_before: before.commit,
    });
  }
}

function changeText({ case: name, peer, before, now }: Change): string {
  const shown = (ratio: number | null): string => ratio === null ? "none" : ratio.toFixed(2);
  const part = before !== null && now !== null
    ? `, ${now > before ? "+" : ""}${((now / before - 1) * 100).toFixed(0)} %`
    : "";
  return `${name} against ${peer}: ratio ${shown(before)} before, ${shown(now)} now${part}`;
}
