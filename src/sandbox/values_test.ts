/**
 * The JSON mapping against the vectors that the native engine's tests read too, and against values
 * made at random: what is decoded and written again is the same value.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { test } from "../../tests/harness.ts";
import { AtollError } from "../core/errors.ts";
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { parseArguments, resultSides, writeValue } from "./values.ts";
import type { WitFunction, WitType } from "./wit/model.ts";
import { readWorld } from "./wit/resolve.ts";

interface Vectors {
  readonly wit: string;
  readonly type: string;
  readonly cases: readonly { in: unknown; out?: unknown; side?: "ok" | "error" }[];
  readonly errors: readonly { in: unknown; path: string; expected: string }[];
}

const folder = new URL("../../tests/corpus/values/", import.meta.url);

function echo(wit: string): WitFunction {
  const item = readWorld(wit).exports[0];
  assert.equal(item?.kind, "interface");
  const found = item.kind === "interface" ? item.functions[0] : undefined;
  assert.ok(found);
  return found;
}

/** What a guest that gives its argument back would answer. */
function roundTrip(func: WitFunction, json: string): { side: "ok" | "error"; text: string } {
  const value = parseArguments(func, json)[0];
  const sides = resultSides(func);
  if (!sides.fallible) return { side: "ok", text: writeValue(sides.ok, value, 1e6) };
  const { tag, val } = value as { tag: string; val?: unknown };
  return tag === "ok"
    ? { side: "ok", text: writeValue(sides.ok, val, 1e6) }
    : { side: "error", text: writeValue(sides.error, val, 1e6) };
}

for (const file of readdirSync(folder).filter((name) => name.endsWith(".json")).sort()) {
  const vectors = JSON.parse(readFileSync(new URL(file, folder), "utf8")) as Vectors;
  test(`values: ${file} is read, written and refused as the vectors say`, () => {
    const func = echo(vectors.wit);
    for (const { in: value, out = value, side = "ok" } of vectors.cases) {
      const answer = roundTrip(func, JSON.stringify({ v: value }));
      assert.deepEqual(JSON.parse(answer.text), out, JSON.stringify(value));
      assert.equal(answer.side, side);
    }
    for (const { in: value, path, expected } of vectors.errors) {
      assert.throws(() => parseArguments(func, JSON.stringify({ v: value })), (thrown) => {
        assert.ok(thrown instanceof AtollError, String(thrown));
        assert.equal(thrown.code, "invalid_argument");
        assert.deepEqual(
          { path: thrown.data.path, expected: thrown.data.expected ?? "" },
          { path, expected },
          `${JSON.stringify(value)}: ${thrown.message}`,
        );
        return true;
      });
    }
  });
}

function func(params: Record<string, WitType>): WitFunction {
  const fields = Object.entries(params).map(([name, type]) => ({ name, type }));
  return { name: "f", kind: "free", async: false, params: fields, result: null };
}

function refused(of: WitFunction, json: string): string {
  try {
    parseArguments(of, json);
  } catch (thrown) {
    if (thrown instanceof AtollError && thrown.code === "invalid_argument") return thrown.message;
    throw thrown;
  }
  return assert.fail(`${json} was accepted`);
}

test("values: what JSON.parse would lose is kept or refused", () => {
  const u64 = func({ n: { kind: "u64" } });
  assert.deepEqual(parseArguments(u64, '{"n":"18446744073709551615"}'), [18446744073709551615n]);
  assert.deepEqual(parseArguments(u64, '{"n":9007199254740991}'), [9007199254740991n]);
  assert.match(refused(u64, '{"n":9007199254740992}'), /^arguments\.n: .* give it as a string/);
  assert.match(refused(u64, '{"n":1,"n":2}'), /^arguments\.n: given twice/);
  assert.match(refused(u64, '{"n":1}x'), /^arguments: malformed JSON: trailing characters/);
  assert.match(refused(u64, '{"n":"\\ud800"}'), /lone surrogate/);
  assert.match(refused(u64, "[".repeat(100_000)), /nested deeper than 128 levels/);
  assert.match(refused(u64, '{"n":1e999}'), /number out of range for u64/);
});

test("values: a wrong name is answered with the nearest right one", () => {
  const f = func({ "unit-price": { kind: "f64" }, items: { kind: "u8" } });
  assert.equal(
    refused(f, '{"unit_prise":1}'),
    'arguments.unit_prise: unknown parameter; did you mean "unit_price"?',
  );
  assert.equal(refused(f, '{"items":1}'), "arguments.unit_price: missing argument, expected f64");
});

test("values: an output longer than its limit is refused at any depth", () => {
  const list: WitType = { kind: "list", element: { kind: "string" } };
  const text = JSON.stringify(["ä", "€", "😀", '"']);
  const bytes = new TextEncoder().encode(text).length;
  assert.equal(writeValue(list, ["ä", "€", "😀", '"'], bytes), text);
  assert.throws(() => writeValue(list, ["ä", "€", "😀", '"'], bytes - 1), {
    name: "OutputTooLarge",
  });
});

test("values: base64 is strict and agrees with Buffer", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
    assert.deepEqual(decodeBase64(encodeBase64(bytes)), new Uint8Array(bytes));
  }));
  for (const text of ["A", "AA", "AAA", "AA=A", "====", "A===", "AB==", "AAB=", "AA A", "AA-_"]) {
    assert.equal(typeof decodeBase64(text), "string", text);
  }
});

test("values: f32 is written as the shortest text that reads back", () => {
  fc.assert(fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (value) => {
    const text = writeValue({ kind: "f32" }, value, 100);
    assert.ok(Object.is(Math.fround(Number(text)), value), text);
    assert.ok(text.replace(/e.*$/, "").replace(/[-.]/g, "").replace(/^0+|0+$/g, "").length <= 9);
  }));
});
