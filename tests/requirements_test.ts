/** Every requirement is cited by a test, in whichever language the test is written. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "./harness.ts";
import { REQUIREMENTS } from "./requirements.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

test("every requirement is cited by a test", () => {
  const texts = testFiles().map((path) => readFileSync(path, "utf8"));
  const missing = REQUIREMENTS
    .filter(({ id }) => !texts.some((text) => new RegExp(`\\b${id}\\b`).test(text)))
    .map(({ id, text }) => `${id}: ${text}`);
  assert.deepEqual(missing, []);
});

test("requirement ids are unique", () => {
  const ids = REQUIREMENTS.map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
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
