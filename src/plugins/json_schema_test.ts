/**
 * Schemas and the value codec say the same: what one accepts the other accepts, for values made at
 * random for types made at random, and for the vectors of the native engine.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { test } from "../../tests/harness.ts";
import { AtollError } from "../core/errors.ts";
import { parseArguments, writeValue } from "../sandbox/values.ts";
import type { WitFunction, WitType } from "../sandbox/wit/model.ts";
import { readWorld } from "../sandbox/wit/resolve.ts";
import { DOCS_MAX, jsonLength, objectSchema, typeSchema } from "./json_schema.ts";

const ajv = new Ajv2020({ strict: true, strictTypes: false, strictTuples: false });

function func(type: WitType): WitFunction {
  return { name: "f", kind: "free", async: false, params: [{ name: "v", type }], result: type };
}

function accepts(of: WitFunction, value: unknown): boolean {
  try {
    parseArguments(of, JSON.stringify({ v: value }));
    return true;
  } catch (thrown) {
    if (thrown instanceof AtollError && thrown.code === "invalid_argument") return false;
    throw thrown;
  }
}

interface Vectors {
  readonly wit: string;
  readonly cases: readonly { in: unknown; out?: unknown }[];
  readonly errors: readonly { in: unknown }[];
}

/** What JSON Schema cannot say; the codec refuses it all the same. */
const BEYOND_SCHEMA: Readonly<Record<string, (value: unknown) => boolean>> = {
  // Repeated keys.
  "map_other.json": Array.isArray,
  "map_string.json": Array.isArray,
  // The range of decimal text.
  "u64.json": (value) => typeof value === "string",
  "s64.json": (value) => typeof value === "string",
};

const folder = new URL("../../tests/corpus/values/", import.meta.url);
for (const file of readdirSync(folder).filter((name) => name.endsWith(".json")).sort()) {
  test(`JSON schema: agrees with the vectors of ${file}`, () => {
    const { wit, cases, errors } = JSON.parse(
      readFileSync(new URL(file, folder), "utf8"),
    ) as Vectors;
    const item = readWorld(wit).exports[0];
    assert.ok(item?.kind === "interface");
    const echo = item.functions[0];
    assert.ok(echo);
    const input = ajv.compile(objectSchema(echo.params, "input"));
    for (const { in: value } of cases) {
      assert.ok(input({ v: value }), `${JSON.stringify(value)}: ${ajv.errorsText(input.errors)}`);
    }
    for (const { in: value } of errors) {
      if (BEYOND_SCHEMA[file]?.(value)) continue;
      assert.ok(!input({ v: value }), `${JSON.stringify(value)} is valid`);
    }
    if (echo.result === null || echo.result.kind === "result") return;
    const output = ajv.compile(typeSchema(echo.result, "output"));
    for (const { in: value, out = value } of cases) {
      assert.ok(output(out), `${JSON.stringify(out)}: ${ajv.errorsText(output.errors)}`);
    }
  });
}

const PLAIN = [
  "bool",
  "u8",
  "s16",
  "u32",
  "u64",
  "s64",
  "f32",
  "f64",
  "char",
  "string",
] as const;

const names = fc.uniqueArray(fc.constantFrom("a", "b-c", "word", "x-y-z"), {
  minLength: 1,
  maxLength: 3,
});

/** A type of WIT. */
const types: fc.Arbitrary<WitType> = fc.letrec<{ type: WitType }>((tie) => ({
  type: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom(...PLAIN).map((kind): WitType => ({ kind })),
    fc.constant<WitType>({ kind: "list", element: { kind: "u8" } }),
    fc.constant<WitType>({ kind: "list", element: { kind: "u8" }, length: 5 }),
    tie("type").map((element): WitType => ({ kind: "list", element })),
    fc.record({ element: tie("type"), length: fc.integer({ min: 1, max: 3 }) })
      .map((list): WitType => ({ kind: "list", ...list })),
    tie("type").map((some): WitType => ({ kind: "option", some })),
    fc.tuple(tie("type"), tie("type")).map((items): WitType => ({ kind: "tuple", items })),
    fc.tuple(tie("type"), tie("type"))
      .map(([ok, error]): WitType => ({ kind: "result", ok, error })),
    fc.tuple(names, tie("type"), tie("type"), tie("type")).map(([all, ...inner]): WitType => ({
      kind: "record",
      name: "r",
      fields: all.map((name, i) => ({ name, type: inner[i % 3] ?? { kind: "bool" } })),
    })),
    fc.tuple(names, tie("type")).map(([all, type]): WitType => ({
      kind: "variant",
      name: "v",
      cases: all.map((name, i) => ({ name, type: i % 2 === 0 ? null : type })),
    })),
    names.map((all): WitType => ({
      kind: "enum",
      name: "e",
      cases: all.map((name) => ({ name })),
    })),
    names.map((all): WitType => ({
      kind: "flags",
      name: "f",
      flags: all.map((name) => ({ name })),
    })),
    tie("type").map((value): WitType => ({ kind: "map", key: { kind: "string" }, value })),
  ),
})).type;

/** JSON that may or may not be a value of the type. */
function nearly(type: WitType): fc.Arbitrary<unknown> {
  const json = fc.oneof(
    fc.constantFrom(
      null,
      true,
      0,
      -1,
      1.5,
      256,
      2 ** 53,
      1e39,
      "",
      "a",
      "NaN",
      "AAA=",
      "AQ==",
      "12",
    ),
    fc.constantFrom([], {}, [1], { some: null }, { ok: 1 }, { a: null }, ["a", "a"], "word"),
  );
  return fc.oneof({ arbitrary: json, weight: 1 }, { arbitrary: inside(type), weight: 6 });
}

function inside(type: WitType): fc.Arbitrary<unknown> {
  switch (type.kind) {
    case "list":
      return fc.array(nearly(type.element), { maxLength: 4 });
    case "option":
      return fc.oneof(
        fc.constant(null),
        nearly(type.some),
        nearly(type.some).map((some) => ({ some })),
      );
    case "tuple":
      return fc.tuple(...type.items.map(nearly));
    case "result":
      return fc.oneof(
        nearly(type.ok ?? { kind: "bool" }).map((ok) => ({ ok })),
        nearly(type.error ?? { kind: "bool" }).map((error) => ({ error })),
      );
    case "record":
      return fc.record(
        Object.fromEntries(
          type.fields.map((field) => [field.name.replaceAll("-", "_"), nearly(field.type)]),
        ),
        { requiredKeys: [] },
      );
    case "variant":
      return fc.oneof(
        ...type.cases.map((item) =>
          nearly(item.type ?? { kind: "bool" }).map((value) => ({
            [item.name]: item.type === null ? null : value,
          }))
        ),
        fc.constantFrom(...type.cases.map((item) => item.name)),
      );
    case "enum":
      return fc.constantFrom(...type.cases.map((item) => item.name));
    case "flags":
      return fc.array(fc.constantFrom(...type.flags.map((flag) => flag.name)), { maxLength: 3 });
    case "map":
      return fc.dictionary(fc.constantFrom("k", "l"), nearly(type.value));
    case "bool":
      return fc.boolean();
    case "char":
      return fc.string({ unit: "grapheme", maxLength: 2 });
    case "string":
      return fc.string();
    case "f32":
    case "f64":
      return fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constant("NaN"));
    default:
      return fc.integer({ min: -(2 ** 33), max: 2 ** 33 });
  }
}

test("JSON schema: accepts exactly what the codec accepts", () => {
  let accepted = 0;
  const sample = types.chain((type) => fc.tuple(fc.constant(type), nearly(type)));
  fc.assert(
    fc.property(sample, ([type, raw]) => {
      const value: unknown = JSON.parse(JSON.stringify(raw));
      const of = func(type);
      const schema = objectSchema(of.params, "input");
      assert.equal(jsonLength(schema), JSON.stringify(schema).length);
      const valid = ajv.compile(schema)({ v: value });
      const codec = accepts(of, value);
      assert.equal(valid, codec, `${JSON.stringify(value)} against ${JSON.stringify(schema)}`);
      if (!codec) return;
      accepted += 1;
      // What comes back is described by the schema of results.
      const [decoded] = parseArguments(of, JSON.stringify({ v: value }));
      const output: unknown = JSON.parse(writeValue(type, decoded, 1e6));
      const check = ajv.compile(typeSchema(type, "output"));
      assert.ok(check(output), `${JSON.stringify(output)}: ${ajv.errorsText(check.errors)}`);
      assert.ok(accepts(of, output), `${JSON.stringify(output)} is not read again`);
    }),
    { numRuns: 600 },
  );
  assert.ok(accepted > 50, `only ${accepted} samples were valid`);
});

/** The parameters of the first function of an interface. */
function parameters(body: string) {
  const wit = `package root:component; world root { export api: interface { ${body} } }`;
  const item = readWorld(wit).exports[0];
  assert.ok(item?.kind === "interface" && item.functions[0] !== undefined);
  return item.functions[0].params;
}

test("JSON schema: documentation of a type and of its cases stand together", () => {
  const schema = objectSchema(
    parameters(`
      /// How much is said.
      enum level {
        /// Nothing at all.
        off,
        on,
      }
      /// Who may.
      flags may { /// Looking.
        look, touch }
      record where {
        /// Of this place.
        level: level,
        may: option<may>,
      }
      f: func(level: level, %where: where);`),
    "input",
  );
  const { level, where } = schema["properties"] as Record<string, Record<string, unknown>>;
  assert.equal(level?.["description"], "How much is said.\n\n- off: Nothing at all.");
  const fields = where?.["properties"] as Record<string, Record<string, unknown>>;
  assert.equal(fields["level"]?.["description"], "Of this place.\n\n- off: Nothing at all.");
  assert.equal(fields["may"]?.["description"], "Who may.\n\n- look: Looking.");
});

test("JSON schema: long documentation is cut between characters", () => {
  const docs = `${"x".repeat(DOCS_MAX - 2)}\u{1f30a} and more`;
  const [field] = parameters(`\n/// ${docs}\ntype t = u8; f: func(t: t);`);
  assert.ok(field);
  const { description } = typeSchema(field.type, "input");
  assert.equal(description, `${"x".repeat(DOCS_MAX - 2)}…`);
  const cases = Array.from({ length: 30 }, (_, i) => `\n/// ${"y".repeat(900)}\nc${i},`).join("");
  const [many] = parameters(`enum e { ${cases} } f: func(e: e);`);
  assert.ok(many);
  const listing = String(typeSchema(many.type, "input")["description"]);
  assert.ok(listing.length < 6_000 && listing.endsWith("\n- …"), listing.slice(-20));
});
