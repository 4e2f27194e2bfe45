/** Manifests: what is accepted, and messages for what is not. */
import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { AtollError } from "../core/errors.ts";
import { parseManifest } from "./manifest.ts";

const BASE = { id: "text", version: "0.1.0" };

function reason(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  try {
    parseManifest(text, "/p/plugin.json");
  } catch (thrown) {
    if (!(thrown instanceof AtollError)) throw thrown;
    equal(thrown.code, "manifest");
    return thrown.message.replace('Cannot read manifest "/p/plugin.json": ', "");
  }
  throw new Error("the manifest was accepted");
}

test("a rust and a typescript manifest are read with their defaults", () => {
  const rust = parseManifest(
    JSON.stringify({ $schema: "../../plugin.schema.json", ...BASE, build: { kind: "rust" } }),
    "x",
  );
  deepEqual([rust.build, rust.isolation, rust.routes, rust.limits], [
    { kind: "rust" },
    { mode: "call" },
    { http: true },
    {},
  ]);
  const typescript = parseManifest(
    JSON.stringify({ ...BASE, source: "src/a.ts", build: { kind: "typescript" }, prefix: null }),
    "x",
  );
  deepEqual(typescript.build, { kind: "typescript", wit: "wit", wasi: false });
  equal(typescript.prefix, null);
});

test("an isolation is read with its defaults", () => {
  const of = (isolation: unknown) =>
    parseManifest(JSON.stringify({ ...BASE, component: "a.wasm", isolation }), "x").isolation;
  deepEqual(of("call"), { mode: "call" });
  deepEqual(of({ mode: "call" }), { mode: "call" });
  deepEqual(of({ mode: "reuse" }), {
    mode: "reuse",
    calls: 1_000,
    idleMs: 60_000,
    shared: false,
  });
  deepEqual(of({ mode: "actor", idleMs: 5, shared: true }), {
    mode: "actor",
    idleMs: 5,
    shared: true,
  });
  deepEqual(of({ mode: "actor" }), { mode: "actor", idleMs: null, shared: false });
});

const REFUSED: [value: unknown, reason: string][] = [
  [
    { ...BASE, component: "a.wasm", prefx: "a" },
    'line 1: prefx: unknown key; did you mean "prefix"?',
  ],
  [{ version: "1.0.0", component: "a.wasm" }, "id: is missing"],
  [{ ...BASE, id: "Text", component: "a.wasm" }, "line 1: id: expected a small letter"],
  [
    { ...BASE, version: "1.0", component: "a" },
    'version: expected a semantic version such as "0.1.0"',
  ],
  [BASE, "either component or build is needed"],
  [{ ...BASE, component: "a.wasm", build: { kind: "rust" } }, "build: cannot be there beside"],
  [{ ...BASE, component: "a.wasm", source: "." }, "source: cannot be there beside component"],
  [{ ...BASE, component: "../a.wasm" }, "component: expected a relative path inside the plugin's"],
  [{ ...BASE, component: "/etc/a.wasm" }, "component: expected a relative path inside"],
  [{ ...BASE, build: { kind: "typescript" } }, "source: is missing: a typescript build needs"],
  [
    { ...BASE, build: { kind: "go" } },
    'build.kind: expected one of "rust", "typescript", "command"',
  ],
  [
    { ...BASE, build: { kind: "rust", feature: [] } },
    'build.feature: unknown key; did you mean "features"?',
  ],
  [
    { ...BASE, build: { kind: "command", command: [], output: "o" } },
    "build.command: expected a program",
  ],
  [
    { ...BASE, component: "a", isolation: "actor" },
    'line 1: isolation: expected "call" or an object whose mode is "call", "reuse" or "actor", ' +
    'got the string "actor"',
  ],
  [
    { ...BASE, component: "a", isolation: { mode: "x" } },
    'isolation.mode: expected one of "call", "reuse", "actor", got the string "x"',
  ],
  [{ ...BASE, component: "a", isolation: {} }, "isolation.mode: "],
  [
    { ...BASE, component: "a", isolation: { mode: "reuse", calls: 0 } },
    "isolation.calls: expected at least 1, got the number 0",
  ],
  [
    { ...BASE, component: "a", isolation: { mode: "reuse", idlMs: 5 } },
    'isolation.idlMs: unknown key; did you mean "idleMs"?',
  ],
  [
    { ...BASE, component: "a", isolation: { mode: "actor", shared: 1 } },
    "isolation.shared: expected true or false, got the number 1",
  ],
  [
    { ...BASE, component: "a", wants: { env: { A: "b" } } },
    "wants.env: expected an array, got an object",
  ],
  [{ ...BASE, component: "a", grants: { env: {} } }, "grants: unknown key"],
  [{ ...BASE, component: "a", limits: { wallMs: -1 } }, "limits.wallMs: expected at least 1"],
  ["[]", "expected an object, got an array"],
  ["null", "expected an object, got null"],
  ['{"id": "a",\n}', "line 2, column 1: comma before the closing brace"],
];

test("each mistake is named with its place", () => {
  for (const [value, expected] of REFUSED) {
    const got = reason(value);
    equal(got.includes(expected), true, `${got} does not have: ${expected}`);
  }
});

test("an id that is a key of every object is not taken for a known one", () => {
  throws(
    () => parseManifest('{"__proto__": {"id": "a"}, "version": "1.0.0"}', "x"),
    /id: is missing/,
  );
});
