import assert from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { AtollError, type ErrorCode } from "../core/errors.ts";
import { httpStatus, METHOD_NOT_FOUND, NOT_SERVED, protocolCode } from "./errors.ts";
import { R2025_06_18, R2025_11_25, R2026_07_28, STDIO_REVISIONS } from "./revisions.ts";

const code = (name: ErrorCode, revision = R2026_07_28) =>
  protocolCode(new AtollError(name, "x"), revision);

test("arguments that do not fit are a result since 2025-11-25, a protocol error before", () => {
  assert.equal(code("invalid_argument", R2026_07_28), null);
  assert.equal(code("invalid_argument", R2025_11_25), null);
  assert.equal(code("invalid_argument", R2025_06_18), -32602);
});

test("what a guest did is a result in every revision", () => {
  for (const revision of STDIO_REVISIONS) {
    for (const name of ["limit", "trap", "deadline"] as const) {
      assert.equal(code(name, revision), null);
    }
  }
});

test("A20: overloaded is -32000", () => {
  for (const revision of STDIO_REVISIONS) assert.equal(code("overloaded", revision), NOT_SERVED);
});

test("A5: an unknown method is 404 since 2026-07-28", () => {
  assert.equal(httpStatus(METHOD_NOT_FOUND, R2026_07_28), 404);
  assert.equal(httpStatus(METHOD_NOT_FOUND, R2025_11_25), 200);
});
