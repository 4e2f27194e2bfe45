/** Positions in JSON texts; what is accepted is what JSON.parse accepts, but for doubled keys. */
import { deepEqual, equal, ok } from "node:assert/strict";
import * as fc from "fast-check";
import { test } from "../../tests/harness.ts";
import { scanJson } from "./json_text.ts";

const BROKEN: [text: string, line: number, column: number, message: string][] = [
  ["", 1, 1, "expected a value, found the end of the file"],
  ['{\n  "a": 1,\n}', 3, 1, "comma before the closing brace"],
  ["[1, 2,]", 1, 7, "comma before the closing bracket"],
  ['{"a" 1}', 1, 6, 'expected ":", found "1"'],
  ["{\n  a: 1}", 2, 3, 'expected a quoted key, found "a"'],
  ['{"a": 1 "b": 2}', 1, 9, 'expected "," or "}", found "\\""'],
  ['{"a": 1} x', 1, 10, 'unexpected "x" after the value'],
  ['{"a": "x\n"}', 1, 7, "string is not closed, or has a bad escape"],
  ['{"a": 1,\n "a": 2}', 2, 2, 'key "a" is there twice'],
  ["{ // no\n}", 1, 3, "comments are not part of JSON"],
  ["[01]", 1, 3, 'expected "," or "]", found "1"'],
];

test("a syntax error has its line, column and reason", () => {
  for (const [text, line, column, message] of BROKEN) {
    deepEqual(scanJson(text), { ok: false, message, position: { line, column } }, text);
  }
});

test("a text that nests without end is refused instead of exhausting the stack", () => {
  const scan = scanJson("[".repeat(100_000));
  equal(scan.ok ? "" : scan.message, "nested too deep");
});

test("members are found by their path", () => {
  const scan = scanJson('\ufeff{\n  "http": {\n    "x": [1, true]\n  }\n}');
  ok(scan.ok);
  deepEqual(scan.position(["http"]), { line: 2, column: 3 });
  deepEqual(scan.position(["http", "x"]), { line: 3, column: 5 });
  deepEqual(scan.position(["http", "x", 1]), { line: 3, column: 14 });
  equal(scan.position(["http", "y"]), null);
});

test("each JSON value is read as JSON.parse reads it", () => {
  fc.assert(fc.property(fc.json({ maxDepth: 5 }), (text) => {
    const scan = scanJson(text);
    ok(scan.ok);
    deepEqual(scan.value, JSON.parse(text));
  }));
});

test("what JSON.parse refuses is refused", () => {
  fc.assert(fc.property(fc.json({ maxDepth: 3 }), fc.nat(), fc.string(), (text, at, junk) => {
    const changed = text.slice(0, at % text.length) + junk + text.slice(at % text.length + 1);
    let valid = true;
    try {
      JSON.parse(changed);
    } catch {
      valid = false;
    }
    const scan = scanJson(changed);
    ok(valid || !scan.ok, changed);
    ok(!valid || scan.ok || scan.message.endsWith("is there twice"), changed);
  }));
});
