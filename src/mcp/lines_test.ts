import assert from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { LineSplitter } from "./lines.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (line: Uint8Array | null) => line === null ? null : new TextDecoder().decode(line);

function split(
  limit: number,
  ...chunks: string[]
): { lines: (string | null)[]; rest: (string | null)[] } {
  const splitter = new LineSplitter(limit);
  const lines = chunks.flatMap((chunk) => [...splitter.push(encode(chunk))].map(decode));
  return { lines, rest: [...splitter.end()].map(decode) };
}

test("lines come out whole, however the bytes arrive", () => {
  const text = "one\ntwo\n\nthree\u20ac\n";
  const expected = ["one", "two", "", "three\u20ac"];
  assert.deepEqual(split(100, text).lines, expected);
  const splitter = new LineSplitter(100);
  const lines: (string | null)[] = [];
  for (const byte of encode(text)) {
    const chunk = Uint8Array.of(byte);
    lines.push(...[...splitter.push(chunk)].map(decode));
    // A stream may give the same memory again.
    chunk.fill(0x58);
  }
  assert.deepEqual(lines, expected);
});

test("a last line without a newline is kept", () => {
  assert.deepEqual(split(100, "one\ntw", "o"), { lines: ["one"], rest: ["two"] });
  assert.deepEqual(split(100, "one\n"), { lines: ["one"], rest: [] });
});

test("a line over the limit is dropped and the next one is read", () => {
  assert.deepEqual(split(3, "four\nabc\n", "12", "34", "5\nok\n"), {
    lines: [null, "abc", null, "ok"],
    rest: [],
  });
  assert.deepEqual(split(3, "12345").rest, [null]);
  assert.deepEqual(split(3, "123").rest, ["123"]);
});
