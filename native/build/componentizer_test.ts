import assert from "node:assert/strict";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { test } from "../../tests/harness.ts";
import { cacheFolder, CHECKOUT } from "./cache.ts";
import { runCommand } from "./command.ts";
import { componentizer } from "./componentizer.ts";

const WIT = join(CHECKOUT, "tests/fixtures/lang/wit");

/** What the program ended with, run in a folder that is gone afterwards. */
async function inFolder(
  body: (folder: string, call: (...args: string[]) => Promise<string>) => Promise<void>,
): Promise<void> {
  const program = await componentizer();
  const folder = mkdtempSync(join(tmpdir(), "atoll-componentizer-"));
  try {
    await body(folder, async (...args) => {
      const { status, tail } = await runCommand([program, ...args], { cwd: folder });
      return [status, ...tail].join("\n");
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("bindings of C and Go are whole: what a compiler needs beside the program", async () => {
  await inFolder(async (folder, call) => {
    assert.equal(await call("bindings", "c", WIT, "lang", "c"), "0");
    const text = (path: string) => readFileSync(join(folder, path), "utf8");
    assert.match(text("c/lang.h"), /void exports_lang_greet\(lang_string_t \*name, /);
    assert.match(text("c/lang.c"), /__export_name__\("greet"\)/);
    assert.ok(statSync(join(folder, "c/lang_component_type.o")).size > 0);

    assert.equal(await call("bindings", "go", WIT, "lang", "go"), "0");
    assert.match(text("go/wit_exports.go"), /\/\/go:wasmexport greet/);
    assert.match(text("go/go.mod"), /^replace go\.bytecodealliance\.org\/pkg => \.\/pkg$/m);
    assert.match(text("go/pkg/go.mod"), /^go 1\.25$/m);
    for (const part of ["LICENSE", "wit/runtime/runtime.go", "wit/types/result.go"]) {
      assert.ok(text(`go/pkg/${part}`) !== "", part);
    }
  });
});

test("a program with a start becomes a component that exports it", async () => {
  const { componentWit, parse } = await import("@bytecodealliance/jco-transpile/wasm-tools");
  const core = await parse('(module (memory (export "memory") 1) (func (export "_start")))');
  await inFolder(async (folder, call) => {
    writeFileSync(join(folder, "core.wasm"), core);
    assert.equal(await call("command", "core.wasm", "component.wasm"), "0");
    const wit = await componentWit(new Uint8Array(readFileSync(join(folder, "component.wasm"))));
    assert.match(wit, /export wasi:cli\/run@0\.2\.\d+;/);
  });
});

test("what cannot be done is refused with its reason", async () => {
  await inFolder(async (_, call) => {
    assert.match(await call("bindings", "cobol", WIT, "lang", "out"), /^1\n.* for c and go, not /);
    assert.match(await call("bindings", "c", WIT, "tongue", "out"), /^1\n.*tongue/s);
    const nothing = join(WIT, "lang.wit");
    assert.match(await call("component", nothing, "out.wasm"), /^1\nCannot make a component of/);
    assert.match(await call("component", "none.wasm", "out.wasm"), /^1\nCannot read "none.wasm"/);
    assert.match(await call(), /^1\nusage: atoll-componentize bindings/);
  });
});

test("a program that others could replace is not given away", async () => {
  const cache = mkdtempSync(join(tmpdir(), "atoll-componentizer-"));
  try {
    const program = await componentizer();
    const copy = join(cache, relative(cacheFolder(), program));
    mkdirSync(dirname(copy), { recursive: true, mode: 0o700 });
    copyFileSync(program, copy);
    assert.equal(await componentizer(cache), copy);
    chmodSync(dirname(copy), 0o777);
    await assert.rejects(componentizer(cache), { code: "denied", message: /run chmod go-w/ });
  } finally {
    rmSync(cache, { recursive: true });
  }
});
