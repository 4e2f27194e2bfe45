import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "../../tests/harness.ts";
import { ProgressLine } from "./main.ts";
import { cargoProgress, lockedCrates, makeProgress } from "./progress.ts";

test("cargo's lines become progress", () => {
  const progress = cargoProgress(3);
  assert.equal(progress("    Updating crates.io index"), null);
  assert.equal(progress("  Downloaded serde v1.0.0"), null);
  assert.deepEqual(progress("   Compiling serde v1.0.0"), {
    phase: "sandbox",
    done: 0,
    total: 3,
    crate: "serde",
  });
  assert.deepEqual(progress("   Compiling wasmtime v48.0.8"), {
    phase: "sandbox",
    done: 1,
    total: 3,
    crate: "wasmtime",
  });
  assert.equal(progress("warning: unused variable: `Compiling`"), null);
  assert.deepEqual(progress("    Finished `release` profile [optimized] target(s) in 5m 2s"), {
    phase: "sandbox",
    done: 3,
    total: 3,
  });
});

test("an estimate that was too low grows instead of being passed", () => {
  const progress = cargoProgress(1);
  progress("   Compiling a v1.0.0");
  const second = progress("   Compiling b v1.0.0");
  assert.deepEqual([second?.done, second?.total], [1, 2]);
});

test("make's lines become progress", () => {
  const progress = makeProgress(2);
  assert.deepEqual(progress("cc -O2 -c src/arena.c -o build/arena.o"), {
    phase: "core",
    done: 0,
    total: 2,
    crate: "arena.c",
  });
  assert.equal(progress("make: Nothing to be done"), null);
});

test("crates of other platforms are not counted", () => {
  const folder = mkdtempSync(join(tmpdir(), "atoll-progress-"));
  try {
    const lock = join(folder, "Cargo.lock");
    const names = ["serde", "windows-sys", "winapi", "wasmtime", "js-sys"];
    writeFileSync(lock, names.map((name) => `[[package]]\nname = "${name}"\n`).join("\n"));
    assert.equal(lockedCrates(lock), 2);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a terminal sees one line rewritten, a file a line every few seconds", () => {
  const written: string[] = [];
  const write = (text: string): void => void written.push(text);
  const terminal = new ProgressLine({ write, isTTY: true });
  terminal.show({ phase: "sandbox", done: 1, total: 9, crate: "a-long-name" });
  terminal.show({ phase: "sandbox", done: 2, total: 9, crate: "b" });
  terminal.end();
  assert.match(written[0]!, /^\rbuilding .* 1\/9 a-long-name$/);
  // The rest of the longer line is painted over.
  assert.equal(written[1]!.length, written[0]!.length);
  assert.equal(written[2], "\n");

  written.length = 0;
  let now = 0;
  const file = new ProgressLine({ write }, () => now);
  for (let done = 0; done < 100; done++) {
    now += 100;
    file.show({ phase: "sandbox", done, total: 100 });
  }
  file.end();
  assert.equal(written.length, 2);
  assert.ok(written.every((line) => line.endsWith("\n") && !line.includes("\r")));
});
