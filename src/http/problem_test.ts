import assert from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { AtollError } from "../core/errors.ts";
import { problem, problemOf } from "./problem.ts";

const quiet = { error: () => {} };

test("A20: overloaded is 503 with retry-after", async () => {
  const error = new AtollError("overloaded", "Too many calls", { retryAfterSeconds: 0.4 });
  const response = problemOf(error, quiet);
  assert.equal(response.status, 503);
  assert.equal(response.headers.get("retry-after"), "1");
  assert.equal(response.headers.get("content-type"), "application/problem+json");
  assert.deepEqual(await response.json(), {
    type: "urn:atoll:problem:overloaded",
    title: "Service Unavailable",
    status: 503,
    detail: "Too many calls",
    code: "overloaded",
    retryAfterSeconds: 0.4,
  });
});

test("A20: calls that come too fast are 429 with retry-after", async () => {
  const data = { limit: "rate", value: 5, key: "limits.requestsPerSecond", retryAfterSeconds: 1 };
  const response = problemOf(new AtollError("rate_limited", "5 calls a second", data), quiet);
  assert.equal(response.status, 429);
  assert.equal(response.headers.get("retry-after"), "1");
  const body = await response.json();
  assert.equal(body.title, "Too Many Requests");
  for (const [key, value] of Object.entries(data)) assert.equal(body[key], value);
});

test("a limit is named with its key and value", async () => {
  const data = { limit: "memory", value: 65536, key: "limits.memoryBytes", plugin: "x" };
  const body = await problemOf(new AtollError("limit", "m", data), quiet).json();
  for (const [key, value] of Object.entries(data)) assert.equal(body[key], value);
});

test("a bug shows an id that the log has too, and nothing else", async () => {
  const lines: [string, Record<string, unknown> | undefined][] = [];
  const log = {
    error: (message: string, fields?: Record<string, unknown>) =>
      void lines.push([message, fields]),
  };
  const response = problemOf(new TypeError("secret path"), log);
  const text = await response.text();
  assert.equal(response.status, 500);
  assert.ok(!text.includes("secret"));
  const { id } = JSON.parse(text) as { id: string };
  assert.equal(lines.length, 1);
  assert.equal(lines[0]?.[1]?.id, id);
  assert.match(String(lines[0]?.[1]?.error), /secret path/);
});

test("a problem without an error has its status, title and headers", async () => {
  const response = problem(405, "POST only", { allow: "POST" });
  assert.equal(response.status, 405);
  assert.equal(response.headers.get("allow"), "POST");
  assert.deepEqual(await response.json(), {
    type: "about:blank",
    title: "Method Not Allowed",
    status: 405,
    detail: "POST only",
  });
});
