import assert from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { AtollError } from "../core/errors.ts";
import { targetOf, toResponse, toSandboxRequest } from "./plugin_routes.ts";

test("the guest's path is what follows the plugin", () => {
  const cases: [string, string, string][] = [
    ["http://h/http/a/", "a", "/"],
    ["http://h/http/a", "a", "/"],
    ["http://h:1/http/a?x=1", "a", "/?x=1"],
    ["http://h/http/a/b/c?d=/e", "a", "/b/c?d=/e"],
    ["http://h/http/a//b", "a", "//b"],
    ["http://h/http/a/%2e%2e/b", "a", "/%2e%2e/b"],
  ];
  for (const [url, id, path] of cases) assert.deepEqual(targetOf(url), { id, path });
});

test("paths that name no plugin have no target", () => {
  for (const url of ["http://h/http/", "http://h/http//a", "http://h/", "http://h", "http://h/x"]) {
    assert.equal(targetOf(url), null);
  }
});

test("the guest sees its own root, the prefix beside it and no field of the connection", () => {
  const request = new Request("http://tools.example:8080/http/a/b?c=1", {
    headers: { accept: "text/plain", "x-forwarded-prefix": "/forged", te: "trailers" },
  });
  const { url, fields } = toSandboxRequest(request, { id: "a", path: "/b?c=1" });
  assert.equal(url, "http://tools.example:8080/b?c=1");
  const names = fields.map(([name]) => name);
  assert.ok(!names.includes("te"));
  assert.deepEqual(fields.filter(([name]) => name === "x-forwarded-prefix"), [
    ["x-forwarded-prefix", "/http/a"],
  ]);
  assert.deepEqual(fields.find(([name]) => name === "accept"), ["accept", "text/plain"]);
});

test("fields of the connection, and those it names, do not reach the client", () => {
  const response = toResponse({
    status: 200,
    fields: [
      ["connection", "x-private, close"],
      ["x-private", "1"],
      ["transfer-encoding", "chunked"],
      ["set-cookie", "a=1"],
      ["set-cookie", "b=2"],
      ["x-shown", "1"],
    ],
    body: null,
  }, "GET");
  assert.deepEqual([...response.headers].sort(), [
    ["set-cookie", "a=1"],
    ["set-cookie", "b=2"],
    ["x-shown", "1"],
  ]);
});

test("HEAD and statuses without a body send none, and the guest's body is given up", async () => {
  for (const [status, method] of [[200, "HEAD"], [204, "GET"], [304, "GET"]] as const) {
    let cancelled = false;
    const body = new ReadableStream<Uint8Array>({ cancel: () => void (cancelled = true) });
    const response = toResponse({ status, fields: [["content-length", "5"]], body }, method);
    assert.equal(response.body, null);
    assert.equal(response.headers.get("content-length"), "5");
    await new Promise((resolve) => setTimeout(resolve, 0));
    assert.ok(cancelled);
  }
});

test("a status that is not final is an error of the guest", () => {
  for (const status of [0, 100, 101, 199, 600, 999]) {
    assert.throws(
      () => toResponse({ status, fields: [], body: null }, "GET"),
      (error) => error instanceof AtollError && error.code === "trap",
    );
  }
});
