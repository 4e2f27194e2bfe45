/**
 * The generated files are fresh, and C, Rust and TypeScript agree on sizes and offsets.
 *
 * Owns: nothing. Must not know how the library works.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as abi from "../../ffi/abi.gen.ts";
import { BUN_SYMBOLS, DENO_SYMBOLS, HOT_SYMBOLS } from "../../ffi/symbols.gen.ts";
import { test } from "../../tests/harness.ts";
import { generate, stale } from "./generate.ts";
import { bareName, readAbi } from "./model.ts";

const description = readAbi(new URL("./atoll_abi.json", import.meta.url));
const include = fileURLToPath(new URL("../core/include/", import.meta.url));

/** Runs a program in a folder and returns what it wrote; throws with its errors when it fails. */
function run(program: string, args: string[], cwd: string): string {
  const result = spawnSync(program, args, { cwd, encoding: "utf8" });
  if (result.error !== undefined) throw result.error;
  assert.equal(result.status, 0, `${program} ${args.join(" ")}:\n${result.stderr}`);
  return result.stdout;
}

/** Calls `body` with a folder that is gone afterwards. */
function inFolder<T>(body: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "atoll-abi-"));
  try {
    return body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function hasProgram(program: string): boolean {
  const result = spawnSync(program, ["--version"], { encoding: "utf8" });
  return result.error === undefined && result.status === 0;
}

test("generated files are fresh", () => {
  assert.deepEqual(stale(), []);
});

test("generating twice gives the same text", () => {
  assert.deepEqual(generate(), generate());
});

test("C, the description and TypeScript agree on sizes and offsets", () => {
  const lines: string[] = [];
  for (const struct of description.structs) {
    lines.push(`printf("\\"${struct.name}\\":%zu,", sizeof(${struct.name}));`);
    for (const field of struct.fields) {
      const key = `${struct.name}.${field.name}`;
      lines.push(`printf("\\"${key}\\":%zu,", offsetof(${struct.name}, ${field.name}));`);
    }
  }
  const source = `#include <stdio.h>\n#include "atoll.h"\nint main(void) {\nprintf("{");\n${
    lines.join("\n")
  }\nprintf("\\"\\":0}");\nreturn 0;\n}\n`;
  const measured = inFolder((folder) => {
    writeFileSync(join(folder, "layout.c"), source);
    run("cc", ["-std=c11", "-Wall", "-Werror", "-I", include, "-o", "layout", "layout.c"], folder);
    return JSON.parse(run(join(folder, "layout"), [], folder)) as Record<string, number>;
  });
  const typescript = abi as unknown as Record<string, number | Record<string, number>>;
  for (const struct of description.structs) {
    const name = bareName(struct.name).toUpperCase();
    assert.equal(measured[struct.name], struct.size, struct.name);
    assert.equal(typescript[`${name}_SIZE`], struct.size, `${name}_SIZE`);
    const offsets = typescript[name] as Record<string, number>;
    assert.equal(Object.keys(offsets).length, struct.fields.length, name);
    for (const field of struct.fields) {
      assert.equal(measured[`${struct.name}.${field.name}`], field.offset, field.name);
      assert.equal(offsets[field.name], field.offset, `${name}.${field.name}`);
    }
  }
});

test("the C header compiles as strict C11 and as C++", () => {
  const flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I", include];
  inFolder((folder) => {
    writeFileSync(join(folder, "use.c"), '#include "atoll.h"\n');
    run("cc", ["-std=c11", ...flags, "use.c"], folder);
    if (hasProgram("c++")) run("c++", ["-std=c++17", ...flags, "-x", "c++", "use.c"], folder);
  });
});

test("the Rust declarations hold an assertion for each size and offset", () => {
  const text = readFileSync(new URL("../sandbox/src/abi.gen.rs", import.meta.url), "utf8");
  const asserts = text.match(/^const _: \(\) = assert!\(/gm)?.length ?? 0;
  let expected = 0;
  for (const struct of description.structs) expected += 1 + struct.fields.length;
  for (const table of description.tables) expected += 1 + table.functions.length;
  assert.equal(asserts, expected);
  if (!hasProgram("rustc")) return;
  inFolder((folder) => {
    writeFileSync(join(folder, "abi.rs"), text);
    const args = [
      "--edition",
      "2024",
      "--crate-type",
      "lib",
      "--emit",
      "metadata",
      "-D",
      "warnings",
    ];
    run("rustc", [...args, "abi.rs"], folder);
    if (hasProgram("rustfmt")) run("rustfmt", ["--edition", "2024", "--check", "abi.rs"], folder);
  });
});

test("the symbol tables of both runtimes agree, hot functions take u32 only", () => {
  assert.deepEqual(Object.keys(DENO_SYMBOLS), Object.keys(BUN_SYMBOLS));
  assert.deepEqual(Object.keys(DENO_SYMBOLS), description.functions.map((item) => item.name));
  for (const name of Object.keys(DENO_SYMBOLS) as (keyof typeof DENO_SYMBOLS)[]) {
    assert.deepEqual(DENO_SYMBOLS[name].parameters, BUN_SYMBOLS[name].args, name);
    assert.equal(DENO_SYMBOLS[name].result, BUN_SYMBOLS[name].returns, name);
  }
  for (const name of HOT_SYMBOLS) {
    assert.ok(DENO_SYMBOLS[name].parameters.every((type) => type === "u32"), name);
  }
});

test("each status has its own number and code", () => {
  const codes = Object.entries(abi.STATUS_CODES);
  assert.equal(codes.length, Object.keys(abi.STATUS).length);
  assert.equal(new Set(codes.map(([, code]) => code)).size, codes.length);
  for (const [name, number] of Object.entries(abi.STATUS)) {
    assert.equal(abi.STATUS_CODES[number], name.toLowerCase());
  }
});

test("a description whose fields leave a gap is refused with the field's name", () => {
  inFolder((folder) => {
    const broken = structuredClone(description) as unknown as {
      structs: { fields: { offset: number }[] }[];
    };
    const field = broken.structs[0]?.fields[1];
    assert.ok(field !== undefined);
    field.offset += 1;
    const file = join(folder, "abi.json");
    writeFileSync(file, JSON.stringify(broken));
    assert.throws(() => readAbi(new URL(`file://${file}`)), /field "version" is at 3, expected 2/);
  });
});
