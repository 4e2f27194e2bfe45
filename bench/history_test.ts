import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "../tests/harness.ts";
import { Bench, commit } from "./harness.ts";
import {
  appendRecord,
  changesBetween,
  historyFile,
  lastLike,
  printChanges,
  readHistory,
  recordOf,
  type RunRecord,
} from "./history.ts";

const RUN: RunRecord = {
  bench: "made-up",
  date: "2026-11-25T05:00:00.000Z",
  machine: { cpu: "A", cores: 2, memory_gib: 8, kernel: "6.18" },
  runtime: "deno",
  version: "2.9.6",
  commit: "abc1234",
  changes: false,
  cases: [],
};

function run(ratios: Readonly<Record<string, number | null>>, more: Partial<RunRecord> = {}) {
  const cases = Object.entries(ratios).map(([name, ratio]) => ({
    case: name,
    value: 1,
    unit: "ns",
    peer: ratio === null ? null : "peer",
    peer_value: ratio,
    ratio,
  }));
  return { ...RUN, cases, ...more };
}

function inFolder(body: (file: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "atoll-history-test-"));
  try {
    body(historyFile("made-up", join(folder, "history")));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function printed(history: readonly RunRecord[], now: RunRecord) {
  const human: string[] = [];
  const json: string[] = [];
  const bench = new Bench("made-up", { small: true, json: true }, {
    human: (text) => void human.push(text),
    json: (text) => void json.push(text),
  });
  printChanges(bench, history, now);
  return { human: human.join("").trim(), json: json.map((text) => JSON.parse(text) as unknown) };
}

test("runs are kept a line each, in order, with what is not compared as well", () =>
  inFolder((file) => {
    assert.deepEqual(readHistory(file), []);
    const runs = [run({ a: 1.5 }), run({ a: null, b: 2 }, { changes: true })];
    for (const one of runs) appendRecord(file, one);
    assert.deepEqual(readHistory(file), runs);
    assert.equal(readFileSync(file, "utf8").split("\n").length, 3);
  }));

test("a run is recorded with machine, runtime, commit and every case", async () => {
  const bench = new Bench("made-up", { small: true, json: false }, {
    human: () => {},
    json: () => {},
  });
  const by = (name: string, value: number) => ({ name, measure: () => value });
  await bench.ask({
    case: "time",
    unit: "us",
    better: "lower",
    atoll: by("atoll", 10),
    peers: [by("slow", 40)],
  });
  const record = recordOf(bench, commit());
  assert.deepEqual(record.cases, [
    { case: "time", value: 10, unit: "us", peer: "slow", peer_value: 40, ratio: 4 },
  ]);
  assert.ok(record.machine.cores > 0 && record.machine.cpu !== "" && record.version !== "");
  inFolder((file) => {
    appendRecord(file, record);
    assert.deepEqual(readHistory(file), [record]);
  });
});

test("a broken history is refused with file and line, and loses nothing", () =>
  inFolder((file) => {
    appendRecord(file, run({ a: 1 }));
    const good = readFileSync(file, "utf8");
    const cut = good.slice(0, 40);
    writeFileSync(file, good + "\n" + cut);
    assert.throws(() => readHistory(file), /Cannot read ".*made-up\.jsonl", line 3: /);
    // A run that ends meanwhile is added all the same, on a line of its own.
    appendRecord(file, run({ a: 2 }));
    assert.equal(readFileSync(file, "utf8").split("\n")[2], cut);
    assert.throws(() => readHistory(file), /line 3: /);
    writeFileSync(file, readFileSync(file, "utf8").replace(`${cut}\n`, ""));
    assert.deepEqual(readHistory(file).map((one) => one.cases[0]?.ratio), [1, 2]);
    writeFileSync(file, good.replace('"deno"', '"node"'));
    assert.throws(() => readHistory(file), /line 1: runtime: /);
    writeFileSync(file, good.replace('"ratio":1', '"ratio":"1"'));
    assert.throws(() => readHistory(file), /line 1: cases\.0\.ratio: /);
  }));

test("a run is compared with the last one of the same processor, cores and runtime", () => {
  const other = { ...RUN.machine, cpu: "B" };
  const larger = { ...RUN.machine, cores: 4 };
  const kernel = { ...RUN.machine, kernel: "6.19", memory_gib: 4 };
  const history = [
    run({ a: 1 }),
    run({ a: 2 }, { version: "2.9.5", machine: kernel }),
    run({ a: 3 }, { machine: other }),
    run({ a: 4 }, { machine: larger }),
    run({ a: 5 }, { runtime: "bun" }),
  ];
  assert.equal(lastLike(history, RUN), history[1]);
  assert.equal(lastLike(history.slice(2), RUN), null);
});

test("changes of more than 10 % in either direction, and cases that come or go", () => {
  const before = run({ same: 1, less: 1, more: 2, edge: 1, gone: 3, value: null });
  const now = run({ same: 1.09, less: 0.89, more: 2.3, edge: 0.91, new: 4, value: null });
  assert.deepEqual(changesBetween(before, now), [
    { case: "less", peer: "peer", before: 1, now: 0.89 },
    { case: "more", peer: "peer", before: 2, now: 2.3 },
    { case: "gone", peer: "peer", before: 3, now: null },
    { case: "new", peer: "peer", before: null, now: 4 },
  ]);
});

test("what changed is printed a line a case, for people and as objects", () => {
  const { human, json } = printed([run({ a: 2 }, { changes: true })], run({ a: 1.5 }));
  assert.equal(
    human,
    "Changed by more than 10 % since 2026-11-25 (abc1234 with changes):\n" +
      "  a against peer: ratio 2.00 before, 1.50 now, -25 %",
  );
  assert.deepEqual(json, [{
    bench: "made-up",
    case: "a",
    runtime: "deno",
    peer: "peer",
    ratio_before: 2,
    ratio: 1.5,
    date_before: RUN.date,
    commit_before: "abc1234",
  }]);
});

test("nothing changed and no record are said in a sentence", () => {
  assert.deepEqual(printed([run({ a: 2 })], run({ a: 2.1 })), {
    human: "No ratio changed by more than 10 % since 2026-11-25 (abc1234).",
    json: [],
  });
  assert.deepEqual(printed([], RUN), {
    human: "There is no record of made-up under deno on 2 x A.",
    json: [],
  });
});
