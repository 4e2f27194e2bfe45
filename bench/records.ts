/**
 * Command: writes `docs/reference/records.md`, the last recorded run of each bench as tables; with
 * `--check` fails when the page is not what it would write.
 *
 * Owns: that page, so that no figure is copied by hand, and the aims beside the figures. Must not
 * measure or record anything.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { historyFile, readHistory, type RunRecord } from "./history.ts";

const PAGE = new URL("../docs/reference/records.md", import.meta.url);
const FOLDER = new URL("./history/", import.meta.url);

/** What a ratio is to reach: bench, case and peer, a runtime where it is that one's alone. */
const AIMS: Readonly<Record<string, number>> = {
  "ffi_call fresh bare-async": 0.87,
  "mcp fresh typescript-sdk-v2 deno": 4,
  "mcp fresh typescript-sdk-v2 bun": 3,
  "mcp fresh bare-http": 0.25,
  "http hello wasmtime-serve": 1,
  "http hello wasmtime-serve-tuned": 1.2,
  "http two-workers one-worker": 1.6,
  "mcp two-workers one-worker": 1.6,
  "slab same-thread mimalloc": 1,
  "slab same-thread jemalloc": 1,
  "slab same-thread tcmalloc": 1,
  "slab cross-thread mimalloc": 1.5,
  "slab cross-thread jemalloc": 1.5,
  "slab cross-thread tcmalloc": 1.5,
  "queue mpmc-1x1 crossbeam ArrayQueue": 1,
  "queue mpmc-2x2 crossbeam ArrayQueue": 1,
  "queue spsc crossbeam ArrayQueue": 1,
  "queue spsc moodycamel ConcurrentQueue (not linearizable)": 1,
  "reclaim hazard haphazard": 1,
  "reclaim epoch crossbeam-epoch": 2,
  "crc32c header crc-fast": 1,
  "crc32c small crc-fast": 1,
  "crc32c large crc-fast": 0.95,
  "frame native rkyv checked": 0.67,
  "frame typescript msgpackr": 3,
};

type Case = RunRecord["cases"][number];

function aimOf(bench: string, { case: name, peer }: Case, runtime: string): string {
  // A case for one size has the aim of the case that sums the sizes up.
  for (const about of [name, name.replace(/-\d+$/, "")]) {
    const key = `${bench} ${about} ${peer}`;
    const aim = AIMS[`${key} ${runtime}`] ?? AIMS[key];
    if (aim !== undefined) return String(aim);
  }
  return "–";
}

/** Three digits, and all of those before the point. */
export function figure(value: number): string {
  const rounded = Number(value.toPrecision(3));
  return Math.abs(value) >= 1_000 ? Math.round(value).toLocaleString("en") : String(rounded);
}

function row(bench: string, one: Case, runtime: string): string {
  const { case: name, value, unit, peer, peer_value: peerValue, ratio } = one;
  const other = peerValue === null ? "–" : `${peer} ${figure(peerValue)}`;
  const shown = ratio === null ? "–" : ratio.toFixed(2);
  return `| ${name} | ${figure(value)} ${unit} | ${other} | ${shown} | ${
    aimOf(bench, one, runtime)
  } |`;
}

function section(run: RunRecord): string {
  const { cpu, cores, kernel } = run.machine;
  const commit = `${run.commit}${run.changes ? " with changes" : ""}`;
  return [
    `## ${run.bench}, ${run.runtime} ${run.version}`,
    "",
    `${run.date.slice(0, 10)}, ${commit}, ${cores} × ${cpu}, Linux ${kernel}.`,
    "",
    "| Case | Atoll | Peer | Ratio | Aim |",
    "|---|---|---|---|---|",
    ...run.cases.map((one) => row(run.bench, one, run.runtime)),
  ].join("\n");
}

/** The last run under each runtime, in the order in which they were recorded. */
export function lastRuns(history: readonly RunRecord[]): readonly RunRecord[] {
  return history.filter((run, i) =>
    !history.slice(i + 1).some((later) => later.runtime === run.runtime)
  ).toSorted((a, b) => b.runtime.localeCompare(a.runtime));
}

/** The page about these records, one list a bench. */
export function pageOf(histories: readonly (readonly RunRecord[])[]): string {
  return [
    "# Records: the last run of each bench",
    "",
    "Written by `deno task generate` from `bench/history/`; what the figures mean and how they are",
    "taken is told in `performance.md`. A ratio above 1 is Atoll's, whatever the unit; an aim is the",
    "least ratio that is wanted.",
    "",
    ...histories.flatMap((history) => lastRuns(history).map((run) => section(run) + "\n")),
  ].join("\n");
}

function page(): string {
  const benches = readdirSync(FOLDER).filter((name) => name.endsWith(".jsonl")).sort();
  return pageOf(benches.map((name) => readHistory(historyFile(name.replace(/\.jsonl$/, "")))));
}

if (import.meta.main) {
  const text = page();
  if (!process.argv.includes("--check")) writeFileSync(PAGE, text);
  else if (readFileSync(PAGE, "utf8") !== text) {
    console.error(`bench: ${fileURLToPath(PAGE)} is stale; run \`deno task generate\``);
    process.exitCode = 1;
  }
}
