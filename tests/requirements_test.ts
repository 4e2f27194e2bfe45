/** Every requirement is cited by a test, in whichever language the test is written. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { citedIn } from "./citations.ts";
import { test } from "./harness.ts";
import { REQUIREMENTS } from "./requirements.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

test("every requirement is cited by a test", () => {
  const cited = new Set(
    testFiles().flatMap((path) => [
      ...citedIn(path, readFileSync(path, "utf8")),
    ]),
  );
  const missing = REQUIREMENTS
    .filter(({ id }) => !cited.has(id))
    .map(({ id, text }) => `${id}: ${text}`);
  assert.deepEqual(missing, []);
});

test("requirement ids are unique", () => {
  const ids = REQUIREMENTS.map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
});

const cited = (path: string, ...lines: string[]) => [...citedIn(path, lines.join("\n"))].sort();

test("an id counts at the beginning of a test's name", () => {
  const lines = [
    'test("A1: one", () => {});',
    "  check(`A2, A3 to A5: two`, async () => {",
    '    assert.ok(true, "A9: no name");',
    "test(",
    '  "A6: on the next line",',
    'test("see A7: elsewhere", () => {});',
    'other("A8: no test");',
  ];
  assert.deepEqual(cited("x_test.ts", ...lines), ["A1", "A2", "A3", "A5", "A6"]);
  assert.deepEqual(
    cited(
      "x_test.c",
      'TEST(stale, "A30: stale") {',
      '  CHECK("A31: no");',
      "}",
      "TEST(a32, ",
      '  "B1: next")',
    ),
    ["A30", "B1"],
  );
  assert.deepEqual(
    cited(
      "x.rs",
      "#[test]",
      "fn a22_file() {}",
      "#[test]",
      "#[cfg(unix)]",
      "fn b1_x() {}",
      "fn a9_y() {}",
    ),
    ["A22", "B1"],
  );
});

test("an id counts in a comment directly in front of a test, and in no other", () => {
  const lines = [
    "/** About A1. */",
    "",
    "// A2 is here,",
    "// and A3.",
    'test("one", () => {',
    "  // A4 in its body",
    "});",
    "/*",
    " * A5",
    " */",
    'test("two", () => {});',
  ];
  assert.deepEqual(cited("x_test.ts", ...lines), ["A2", "A3", "A5"]);
  assert.deepEqual(cited("x.rs", "/// A6", "#[test]", "fn x() {}", "/// A7", "fn y() {}"), ["A6"]);
});

function testFiles(): string[] {
  const found: string[] = [];
  for (const folder of ["src", "ffi", "native", "tests", "plugins"]) {
    walk(join(root, folder), (path) => {
      const isTest = path.endsWith("_test.ts") || /native\/.*tests?[/_.].*\.(rs|c)$/.test(path);
      if (isTest && !path.endsWith("requirements_test.ts")) found.push(path);
    });
  }
  return found;
}

function walk(folder: string, visit: (path: string) => void): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (["target", "node_modules"].includes(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) walk(path, visit);
    else visit(path);
  }
}
