import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "../tests/harness.ts";
import { dumpTotal, growths, judge, readBaseline, timePaths, writeBaseline } from "./baseline.ts";
import { parseArguments } from "./main.ts";
import { compiler, compilerSeries } from "./native/programs.ts";

function inFolder(body: (file: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "atoll-baseline-test-"));
  try {
    body(join(folder, "baseline.json"));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("bench/baseline.json has every path of the program, for each compiler", () => {
  const paths = Object.keys(timePaths("all", 256)).sort();
  assert.ok(paths.length > 0);
  for (const counts of Object.values(readBaseline().instructions)) {
    assert.deepEqual(Object.keys(counts).sort(), paths);
  }
});

test("a path that grew by more than 5 % is named with both counts and the way to keep it", () => {
  const baseline = { instructions: { "cc 1": { allocate: 100, read: 40 } } };
  const judged = judge(baseline, { allocate: 106, read: 42 }, "cc 1");
  assert.equal(judged.ok, false);
  assert.deepEqual(judged.lines, [
    "allocate takes 106 instructions an operation, before 100: 6.0 % more",
    "change bench/baseline.json in the same commit if that is meant: deno task bench --baseline",
  ]);
  assert.equal(judge(baseline, { allocate: 105, read: 42 }, "cc 1").ok, true);
});

test("paths that are new or gone need the file to be changed as well", () => {
  assert.deepEqual(growths({ old: 1, both: 2 }, { both: 2, new: 3 }), [
    { path: "old", before: 1, now: null },
    { path: "new", before: null, now: 3 },
  ]);
  const { ok, lines } = judge({ instructions: { cc: { old: 1 } } }, { new: 3 }, "cc");
  assert.equal(ok, false);
  assert.match(lines.join("\n"), /^old is .* not counted any more\nnew takes 3 .* is not in/);
});

test("a path that shrank is said, so that the gain can be kept", () => {
  const { ok, lines } = judge({ instructions: { cc: { read: 40 } } }, { read: 30 }, "cc");
  assert.equal(ok, true);
  assert.match(lines[0]!, /^read takes 30 instructions, before 40: keep that by deno task/);
});

test("counts by another compiler say nothing, and that is said", () => {
  const judged = judge({ instructions: { "cc 1": { read: 40 } } }, { read: 90 }, "cc 2");
  assert.deepEqual(judged, {
    ok: null,
    lines: ["no counts by cc 2, by cc 1 only: deno task bench --baseline adds them"],
  });
});

test("writing the counts of one compiler leaves those of others", () =>
  inFolder((file) => {
    writeFileSync(file, '{"instructions":{"cc 1":{"read":40}}}');
    writeBaseline({ read: 50 }, "cc 2", file);
    assert.deepEqual(readBaseline(file), {
      instructions: { "cc 1": { read: 40 }, "cc 2": { read: 50 } },
    });
    assert.ok(readFileSync(file, "utf8").endsWith("}\n"));
  }));

test("a broken file of counts is named, and stays as it is", () =>
  inFolder((file) => {
    for (const text of ["{", "null", '{"counts":{}}']) {
      writeFileSync(file, text);
      assert.throws(() => readBaseline(file), /Cannot read ".*baseline\.json": /);
      assert.throws(() => writeBaseline({ read: 50 }, "cc", file), /Cannot read/);
      assert.equal(readFileSync(file, "utf8"), text);
    }
  }));

test("callgrind's dumps", () => {
  assert.equal(dumpTotal("version: 1\nsummary: 12\n\ntotals: 4352\n"), 4352);
  assert.throws(() => dumpTotal("totals: 0\n"), /has no total/);
});

test("the command line of the counts, and the compiler's name", () => {
  assert.deepEqual(parseArguments(["--baseline"]), { baseline: "write" });
  assert.deepEqual(parseArguments(["--baseline", "--check"]), { baseline: "check" });
  assert.match(String(parseArguments(["--baseline", "slab"])), /stands alone or with --check/);
  assert.match(compiler(), /^[\w-]+, \S.*\d/);
  const [, machine, name, series] = /^([\w-]+), (gcc|clang) (\d+)$/.exec(compilerSeries()) ?? [];
  assert.match(compiler(), new RegExp(`^${machine}, .*${name}.* ${series}\\.`));
});
