import assert from "node:assert/strict";
import { test } from "../tests/harness.ts";
import { Bench, median, percentile, type ResultLine } from "./harness.ts";
import { benchNames, loadBench, parseArguments } from "./main.ts";

function silent(name: string): { bench: Bench; human: string[]; json: string[] } {
  const human: string[] = [];
  const json: string[] = [];
  const bench = new Bench(name, { small: true, json: true }, {
    human: (text) => void human.push(text),
    json: (text) => void json.push(text),
  });
  return { bench, human, json };
}

for (const name of benchNames()) {
  test(`the bench ${name} runs in its small mode`, async () => {
    const { bench, human, json } = silent(name);
    const run = await loadBench(name);
    await run(bench);
    assert.ok(bench.results.length > 0);
    for (const line of bench.results) {
      assert.equal(line.bench, name);
      assert.ok(line.value > 0 && Number.isFinite(line.value), JSON.stringify(line));
    }
    assert.deepEqual(json.map((text) => JSON.parse(text) as ResultLine), bench.results);
    assert.match(human.join(""), /machine: .*\n {2}runtime: .*\n {2}commit: /);
    if (name === "mcp" || name === "ffi_call") {
      assert.match(human.join(""), /share of a .*: allocator .* %.*, framing .* %/);
    }
  });
}

test("ffi_call has its three cases", async () => {
  const { bench } = silent("ffi_call");
  await (await loadBench("ffi_call"))(bench);
  assert.deepEqual(bench.results.map((line) => line.case), ["fresh", "warm", "hop"]);
});

test("contenders alternate, and a ratio above 1 is Atoll's", async () => {
  const { bench } = silent("made-up");
  const order: string[] = [];
  const contender = (name: string, values: number[]) => ({
    name,
    measure: () => {
      order.push(name);
      return values[order.filter((each) => each === name).length - 1]!;
    },
  });
  await bench.ask({
    case: "time",
    unit: "us",
    better: "lower",
    rounds: 3,
    atoll: contender("atoll", [10, 30, 20]),
    peers: [contender("slow", [40, 40, 40]), contender("fast", [5, 5, 5])],
  });
  assert.deepEqual(order, [
    "atoll",
    "slow",
    "fast",
    "slow",
    "fast",
    "atoll",
    "fast",
    "atoll",
    "slow",
  ]);
  order.length = 0;
  await bench.ask({
    case: "rate",
    unit: "calls/s",
    better: "higher",
    rounds: 1,
    atoll: contender("atoll", [300]),
    peers: [contender("slow", [100])],
  });
  const shown = bench.results.map(({ peer, value, peer_value, ratio }) => ({
    peer,
    value,
    peer_value,
    ratio,
  }));
  assert.deepEqual(shown, [
    { peer: "slow", value: 20, peer_value: 40, ratio: 2 },
    { peer: "fast", value: 20, peer_value: 5, ratio: 0.25 },
    { peer: "slow", value: 300, peer_value: 100, ratio: 3 },
  ]);
});

test("medians and percentiles by the nearest rank", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  const sorted = Array.from({ length: 100 }, (_, i) => i + 1);
  assert.deepEqual([0, 0.5, 0.9, 0.99, 1].map((p) => percentile(sorted, p)), [1, 50, 90, 99, 100]);
});

test("the command line of the benches", () => {
  assert.ok(benchNames().includes("ffi_call"));
  const parsed = parseArguments(["ffi_call", "--runtime", "bun", "--small", "--json"]);
  const flags = { small: true, json: true, record: false, compare: false };
  assert.deepEqual(parsed, { name: "ffi_call", runtime: "bun", ...flags });
  const kept = parseArguments(["wake", "--record", "--compare"]);
  assert.ok(typeof kept !== "string" && "record" in kept && kept.record && kept.compare);
  assert.match(String(parseArguments(["wake", "--small", "--record"])), /need the full bench/);
  assert.match(String(parseArguments([])), /which bench\? .*ffi_call/);
  assert.match(String(parseArguments(["ffi"])), /no bench "ffi"; there are .*wake/);
  assert.match(String(parseArguments(["wake", "--runtime", "node"])), /deno or bun, not "node"/);
  assert.match(String(parseArguments(["wake", "--fast"])), /unknown flag "--fast"/);
  assert.match(String(parseArguments(["wake", "ffi_call"])), /one bench at a time/);
});
