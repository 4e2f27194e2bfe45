import assert from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import type { Request } from "./envelope.ts";
import { decodeHeaderValue, headerMismatch } from "./request_headers.ts";

const call = (name: unknown): Request => ({
  kind: "request",
  id: 1,
  method: "tools/call",
  params: { name },
});

const headers = (fields: Record<string, string>) => new Headers(fields);
const b64 = (text: string) => `=?base64?${btoa(unescape(encodeURIComponent(text)))}?=`;

test("A3: Mcp-Method and Mcp-Name have to be there and equal the body", () => {
  const good = { "mcp-method": "tools/call", "mcp-name": "text_analyse" };
  assert.equal(headerMismatch(headers(good), call("text_analyse")), null);
  const wrong: [Record<string, string>, RegExp][] = [
    [{ "mcp-name": "text_analyse" }, /Mcp-Method header is missing/],
    [{ "mcp-method": "tools/call" }, /Mcp-Name header is missing/],
    [{ ...good, "mcp-method": "tools/list" }, /Mcp-Method is 'tools\/list'/],
    [{ ...good, "mcp-method": "TOOLS/CALL" }, /Mcp-Method/],
    [{ ...good, "mcp-name": "other" }, /Mcp-Name is 'other'/],
    [{ ...good, "mcp-name": "TEXT_analyse" }, /Mcp-Name/],
    [{ ...good, "mcp-name": "" }, /Mcp-Name/],
  ];
  for (const [fields, expected] of wrong) {
    assert.match(headerMismatch(headers(fields), call("text_analyse")) ?? "", expected);
  }
});

test("A3: a request without a name in header and body is a mismatch, not a wrong parameter", () => {
  for (const method of ["tools/call", "prompts/get", "resources/read"]) {
    const nameless: Request = { kind: "request", id: 1, method, params: {} };
    const fields = headers({ "mcp-method": method });
    assert.match(headerMismatch(fields, nameless) ?? "", /Mcp-Name header is missing/, method);
  }
});

test("A3: methods without a name need no Mcp-Name", () => {
  const list: Request = { kind: "request", id: 1, method: "tools/list", params: {} };
  assert.equal(headerMismatch(headers({ "mcp-method": "tools/list" }), list), null);
});

test("a resource is mirrored by its uri", () => {
  const read: Request = {
    kind: "request",
    id: 1,
    method: "resources/read",
    params: { uri: "file:///a", name: "b" },
  };
  const fields = { "mcp-method": "resources/read", "mcp-name": "file:///a" };
  assert.equal(headerMismatch(headers(fields), read), null);
});

test("a name in the base64 form is decoded before it is compared", () => {
  const fields = { "mcp-method": "tools/call", "mcp-name": b64("Hello, 世界") };
  assert.equal(headerMismatch(headers(fields), call("Hello, 世界")), null);
  assert.match(headerMismatch(headers(fields), call("Hello")) ?? "", /Mcp-Name/);
});

test("A3: a name beyond ASCII that is not encoded is refused even when it is equal", () => {
  const fields = headers({ "mcp-method": "tools/call", "mcp-name": "caf\u00e9" });
  assert.match(headerMismatch(fields, call("caf\u00e9")) ?? "", /invalid characters/);
});

test("values are decoded as the specification's table has them", () => {
  assert.equal(decodeHeaderValue("us-west1"), "us-west1");
  assert.equal(decodeHeaderValue("=?base64?SGVsbG8=?="), "Hello");
  assert.equal(decodeHeaderValue("=?base64?IHBhZGRlZCA=?="), " padded ");
  assert.equal(decodeHeaderValue("=?base64?bGluZTEKbGluZTI=?="), "line1\nline2");
  assert.equal(decodeHeaderValue("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="), "=?base64?literal?=");
  assert.equal(decodeHeaderValue("=?base64?SGVsbG8="), "=?base64?SGVsbG8=");
  assert.equal(decodeHeaderValue("SGVsbG8="), "SGVsbG8=");
  assert.equal(decodeHeaderValue("=?base64?SGVsbG8?="), null);
  assert.equal(decodeHeaderValue("=?base64?SGVs!!!bG8=?="), null);
  assert.equal(decodeHeaderValue("=?base64?/w==?="), null);
});
