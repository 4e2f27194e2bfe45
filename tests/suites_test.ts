import { deepEqual } from "node:assert/strict";
import { test } from "./harness.ts";
import { allSuites, countsOf, skipsOf, type Suite } from "./suites.ts";

const suites = allSuites("/nowhere");

function suite(name: string): Suite {
  const found = suites.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no suite ${name}`);
  return found;
}

const CORE = suite("C core");
const COUNTS = suite("C core: instruction counts");

test("a test that says it was skipped is told with its reason and counted neither way", () => {
  const output = "ok one\nskipped two: libx is missing\nok three\n2 passed, 0 failed\n";
  deepEqual(skipsOf(CORE, output), ["two: libx is missing"]);
  deepEqual(countsOf(CORE, output, 0), { passed: 2, failed: 0 });
  // Of a suite that skips nothing such a line is anybody's output.
  const types = suite("types: TypeScript");
  deepEqual(skipsOf(types, "skipped nothing\n"), []);
  deepEqual(countsOf(types, "skipped nothing\n", 0), { passed: 1, failed: 0 });
});

test("a suite that is one check and skips it has not passed", () => {
  deepEqual(countsOf(COUNTS, "no path takes more\n", 0), { passed: 1, failed: 0 });
  const skipped = "skipped no instruction counts by cc 2, by cc 1 only\n";
  deepEqual(countsOf(COUNTS, skipped, 0), { passed: 0, failed: 0 });
  deepEqual(countsOf(COUNTS, skipped, 1), { passed: 0, failed: 1 });
});

test("a suite that counts nothing, or ends with an error, has failed", () => {
  deepEqual(countsOf(CORE, "", 0), { passed: 0, failed: 1 });
  deepEqual(countsOf(CORE, "0 passed, 0 failed\n", 0), { passed: 0, failed: 1 });
  deepEqual(countsOf(CORE, "skipped all: why\n0 passed, 0 failed\n", 0), { passed: 0, failed: 0 });
  deepEqual(countsOf(CORE, "3 passed, 0 failed\n", 1), { passed: 3, failed: 1 });
});
