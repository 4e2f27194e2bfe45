import assert from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { parseJson, parseMessage } from "./envelope.ts";
import { INVALID_REQUEST, PARSE_ERROR } from "./errors.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

test("A6: bytes that are not UTF-8 are a parse error, not repaired", () => {
  const parsed = parseJson(Uint8Array.of(0x22, 0xff, 0x22));
  assert.ok(!("value" in parsed));
  assert.equal(parsed.code, PARSE_ERROR);
  assert.match(parsed.message, /UTF-8/);
});

test("an overlong encoding and a lone surrogate are not UTF-8", () => {
  for (const wrong of [[0x22, 0xc0, 0xaf, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22]]) {
    assert.ok(!("value" in parseJson(Uint8Array.from(wrong))));
  }
});

test("text that is not JSON is a parse error", () => {
  for (const text of ["", "{", "{'a':1}", "undefined"]) {
    const parsed = parseJson(bytes(text));
    assert.ok(!("value" in parsed));
    assert.equal(parsed.code, PARSE_ERROR);
  }
});

test("A5: an id that is null, an object, an array or a boolean is refused", () => {
  for (const id of [null, {}, [], true]) {
    const message = parseMessage({ jsonrpc: "2.0", id, method: "ping" });
    assert.equal(message.kind, "malformed");
    assert.ok(message.kind === "malformed" && message.code === INVALID_REQUEST);
  }
});

test("an id beyond 2^53 is refused, since another one would be echoed", () => {
  const parsed = parseJson(bytes('{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}'));
  assert.ok("value" in parsed);
  assert.equal(parseMessage(parsed.value).kind, "malformed");
});

test("text and numbers are ids, and absent params an empty object", () => {
  for (const id of ["a", "", 0, -1, 1.5, 9007199254740991]) {
    assert.deepEqual(parseMessage({ jsonrpc: "2.0", id, method: "ping" }), {
      kind: "request",
      id,
      method: "ping",
      params: {},
    });
  }
});

test("a message without an id is a notification", () => {
  const message = parseMessage({ jsonrpc: "2.0", method: "notifications/initialized" });
  assert.equal(message.kind, "notification");
});

test("results and errors are answers", () => {
  assert.equal(parseMessage({ jsonrpc: "2.0", id: 1, result: {} }).kind, "answer");
  assert.equal(parseMessage({ jsonrpc: "2.0", id: 1, error: {} }).kind, "answer");
});

test("what is no message says why, with the id when it has one", () => {
  const cases: [unknown, RegExp, unknown][] = [
    [1, /object/, null],
    [null, /object/, null],
    [{ id: 7, method: "ping" }, /jsonrpc/, 7],
    [{ jsonrpc: "1.0", id: 7, method: "ping" }, /jsonrpc/, 7],
    [{ jsonrpc: "2.0", id: 7 }, /method/, 7],
    [{ jsonrpc: "2.0", id: "x", method: 1 }, /method/, "x"],
    [{ jsonrpc: "2.0", id: 7, method: "ping", params: [1] }, /params/, 7],
    [{ jsonrpc: "2.0", id: 7, method: "ping", params: null }, /params/, 7],
  ];
  for (const [value, expected, id] of cases) {
    const message = parseMessage(value);
    assert.ok(message.kind === "malformed");
    assert.match(message.message, expected);
    assert.equal(message.id, id);
  }
});

test("nesting has an end, brackets in strings do not count", () => {
  const deep = (levels: number) => bytes(`${"[".repeat(levels)}1${"]".repeat(levels)}`);
  assert.ok("value" in parseJson(deep(4_096)));
  for (const levels of [4_097, 1_000_000]) {
    const parsed = parseJson(deep(levels));
    assert.ok(!("value" in parsed));
    assert.match(parsed.message, /nested deeper/);
  }
  const text = JSON.stringify({ a: `${"[{".repeat(10_000)}\\"`, b: [[]] });
  assert.deepEqual(parseJson(bytes(text)), { value: JSON.parse(text) });
});

test("a number as id that JSON cannot write is refused", () => {
  for (const text of ["1e400", "-1e400", "9007199254740993"]) {
    const parsed = parseJson(bytes(`{"jsonrpc":"2.0","id":${text},"method":"ping"}`));
    assert.ok("value" in parsed);
    assert.equal(parseMessage(parsed.value).kind, "malformed", text);
  }
  assert.equal(parseMessage({ jsonrpc: "2.0", id: Infinity, method: "ping" }).kind, "malformed");
});
