/** The page of records: the last run of each runtime, with figures a person can read and the aims. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "../tests/harness.ts";
import type { RunRecord } from "./history.ts";
import { figure, lastRuns, pageOf } from "./records.ts";

function run(runtime: "deno" | "bun", commit: string, ratio: number): RunRecord {
  const one = { value: 9.8765, unit: "us", peer: "bare-async", peer_value: 8561.2, ratio };
  return {
    bench: "ffi_call",
    date: "2026-11-25T10:00:00.000Z",
    machine: { cpu: "CPU", cores: 2, memory_gib: 24, kernel: "6.18" },
    runtime,
    version: "1.0.0",
    commit,
    changes: commit === "c3",
    cases: [{ case: "fresh", ...one }, { case: "fresh-64", ...one }, { case: "hop", ...one }],
  };
}

test("the last run under each runtime is shown, Deno's first", () => {
  const history = [run("bun", "b1", 1), run("deno", "d1", 1), run("bun", "b2", 2)];
  deepEqual(lastRuns(history).map(({ commit }) => commit), ["d1", "b2"]);
});

test("a row has what was measured, the ratio, and the aim of its case whatever the size", () => {
  const page = pageOf([[run("deno", "c3", 0.8668)]]);
  ok(page.includes("c3 with changes, 2 × CPU"), page);
  ok(page.includes("| fresh | 9.88 us | bare-async 8,561 | 0.87 | 0.87 |"), page);
  ok(page.includes("| fresh-64 | 9.88 us | bare-async 8,561 | 0.87 | 0.87 |"), page);
  ok(page.includes("| hop | 9.88 us | bare-async 8,561 | 0.87 | – |"), page);
});

test("figures have three digits, or all of those before the point", () => {
  equal(
    [0.012345, 5.2999, 81.96, 999.6, 26714.4].map(figure).join(" "),
    "0.0123 5.3 82 1000 26,714",
  );
});
