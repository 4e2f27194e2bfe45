import assert from "node:assert/strict";
import { Ajv2020 } from "ajv/dist/2020.js";
import { test } from "../../tests/harness.ts";
import { legacyOutputSchema, type OutputShape, type Schema } from "./output_schema.ts";

const STATS = {
  type: "object",
  properties: { words: { type: "integer" }, chars: { type: "integer" } },
  required: ["words", "chars"],
  additionalProperties: false,
};

function accepts(schema: Schema | undefined, value: unknown): boolean {
  assert.ok(schema !== undefined);
  return new Ajv2020({ strict: false }).compile(schema)(value) as boolean;
}

test("a function without a value has no output schema", () => {
  assert.equal(legacyOutputSchema({ wrapsResult: true }), undefined);
});

test("an object that cannot fail is published as it is", () => {
  assert.equal(legacyOutputSchema({ outputSchema: STATS, wrapsResult: false }), STATS);
});

test("a value that is no object is wrapped, its definitions stay at the root", () => {
  const outputSchema = { $ref: "#/$defs/a", $defs: { a: { type: "number" } } };
  const schema = legacyOutputSchema({ outputSchema, wrapsResult: true });
  assert.ok(accepts(schema, { result: 1 }));
  assert.ok(!accepts(schema, { result: "1" }));
  assert.ok(!accepts(schema, {}));
});

test("value and error are both accepted, nothing else, and properties stay readable", () => {
  const shape: OutputShape = {
    outputSchema: STATS,
    errorSchema: { type: "string" },
    wrapsResult: false,
  };
  const schema = legacyOutputSchema(shape);
  assert.equal(schema?.type, "object");
  assert.ok(Object.hasOwn(schema?.properties as object, "words"));
  assert.ok(accepts(schema, { words: 1, chars: 2 }));
  assert.ok(accepts(schema, { result: "empty" }));
  assert.ok(!accepts(schema, { words: 1 }));
  assert.ok(!accepts(schema, { words: "1", chars: 2 }));
  assert.ok(!accepts(schema, { result: 3 }));
});

test("a wrapped value and a wrapped error of different types share their property", () => {
  const schema = legacyOutputSchema({
    outputSchema: { type: "number" },
    errorSchema: { type: "string" },
    wrapsResult: true,
  });
  assert.ok(accepts(schema, { result: 1 }));
  assert.ok(accepts(schema, { result: "no" }));
  assert.ok(!accepts(schema, { result: true }));
});

test("an error that is a union of objects is accepted beside the value", () => {
  const variant = (name: string) => ({
    type: "object",
    properties: { case: { const: name } },
    required: ["case"],
  });
  const errorSchema = { type: "object", oneOf: [variant("a"), variant("b")] };
  const schema = legacyOutputSchema({ outputSchema: STATS, errorSchema, wrapsResult: false });
  assert.equal(schema?.type, "object");
  assert.ok(accepts(schema, { case: "a" }));
  assert.ok(accepts(schema, { words: 1, chars: 2 }));
  assert.ok(!accepts(schema, { case: "c" }));
});
