import assert from "node:assert/strict";
import process from "node:process";
import { test } from "../../tests/harness.ts";
import { inspectToolchain, rustcObstacle } from "./toolchain.ts";

test("an old rustc is named with what to do", () => {
  assert.equal(
    rustcObstacle("rustc 1.94.1 (abc 2026-01-01)"),
    "rustc 1.94.1 is too old: wasmtime needs 1.95 or newer; run rustup update",
  );
  assert.equal(rustcObstacle("rustc 1.95.0 (59807616e 2026-04-14)"), null);
  assert.equal(rustcObstacle("rustc 1.100.0-nightly (abc 2026-09-01)"), null);
  assert.equal(rustcObstacle("rustc 2.0.0"), null);
  assert.match(rustcObstacle("gcc 14") ?? "", /cannot tell the version/);
});

test("another platform is refused before any compiler is looked for", async () => {
  assert.equal(
    await inspectToolchain("darwin", "arm64"),
    "the native engine needs Linux on x86-64 or arm64, this is darwin on arm64",
  );
  assert.match(String(await inspectToolchain("linux", "riscv64")), /riscv64/);
});

test("this machine's compilers are found", async () => {
  const found = await inspectToolchain("linux", "x64");
  assert.ok(typeof found !== "string", String(found));
  assert.match(found.rustc, /^rustc \d/);
  assert.notEqual(found.cc, "");
});

test("a missing compiler is named with what to do", async () => {
  const { CC, PATH } = process.env;
  try {
    process.env.CC = "atoll-no-such-compiler";
    const compiler = await inspectToolchain("linux", "x64");
    assert.equal(
      compiler,
      'no C compiler: "atoll-no-such-compiler" does not run; install gcc or clang',
    );
    delete process.env.CC;
    // Only what Debian's base system has: no cargo there.
    process.env.PATH = "/usr/bin:/bin";
    const cargo = await inspectToolchain("linux", "x64");
    if (typeof cargo === "string") assert.match(cargo, /no cargo: install Rust 1\.95/);
    else assert.match(cargo.rustc, /^rustc/);
  } finally {
    if (CC !== undefined) process.env.CC = CC;
    else delete process.env.CC;
    process.env.PATH = PATH;
  }
});
