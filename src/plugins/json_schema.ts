/**
 * JSON Schemas (2020-12) of WIT types, in the mapping of the README's "WIT values in JSON".
 *
 * Owns the schemas; they accept what `src/sandbox/values.ts` and the native engine accept, except
 * for what JSON Schema cannot say: repeated keys of a map, integers beyond 2^53 written as numbers
 * (the schema asks for text there, since few JSON readers keep them), the range of decimal text.
 */
import { INTEGER_RANGES, isBytes, isNestedOption, jsonName } from "../sandbox/value_types.ts";
import type { Case, Field, Named, WitType } from "../sandbox/wit/model.ts";

/** A JSON Schema object. */
export interface JsonSchema {
  readonly [keyword: string]: unknown;
}

/** What a schema is for: arguments may be written in more ways than results are. */
export type Direction = "input" | "output";

/** The schema of one type. */
export function typeSchema(type: WitType, direction: Direction): JsonSchema {
  return { ...describe(type.docs), ...bare(type, direction) };
}

/** The schema of an object of named values: a function's arguments, or a record. */
export function objectSchema(fields: readonly Field[], direction: Direction): JsonSchema {
  const required = fields.filter((field) => direction === "output" || field.type.kind !== "option");
  return {
    type: "object",
    properties: Object.fromEntries(
      fields.map((field) => [
        jsonName(field.name),
        { ...typeSchema(field.type, direction), ...describe(field.docs) },
      ]),
    ),
    required: required.map((field) => jsonName(field.name)),
    additionalProperties: false,
  };
}

function describe(docs: string | undefined): JsonSchema {
  return docs === undefined ? {} : { description: docs };
}

function bare(type: WitType, direction: Direction): JsonSchema {
  switch (type.kind) {
    case "bool":
      return { type: "boolean" };
    case "u8":
    case "u16":
    case "u32":
    case "s8":
    case "s16":
    case "s32": {
      const [least, most] = INTEGER_RANGES[type.kind] ?? [0n, 0n];
      return { type: "integer", minimum: Number(least), maximum: Number(most) };
    }
    case "u64":
    case "s64":
      return wideInteger(type.kind);
    case "f32":
      return float({ exclusiveMinimum: -F32_BOUND, exclusiveMaximum: F32_BOUND });
    case "f64":
      return float({});
    case "char":
      return { type: "string", minLength: 1, maxLength: 1 };
    case "string":
      return { type: "string" };
    case "list":
      return isBytes(type) ? bytes(type.length) : list(type, direction);
    case "map":
      return map(type, direction);
    case "option":
      return option(type, direction);
    case "result":
      return oneOf([oneKey("ok", type.ok, direction), oneKey("error", type.error, direction)]);
    case "tuple":
      return {
        type: "array",
        prefixItems: type.items.map((item) => typeSchema(item, direction)),
        items: false,
        minItems: type.items.length,
      };
    case "record":
      return objectSchema(type.fields, direction);
    case "variant":
      return variant(type.cases, direction);
    case "enum":
      return { type: "string", enum: type.cases.map((item) => item.name), ...listed(type.cases) };
    case "flags":
      return {
        type: "array",
        items: { type: "string", enum: type.flags.map((flag) => flag.name) },
        uniqueItems: true,
        ...listed(type.flags),
      };
    default:
      // Streams, futures and resources have no JSON; functions with them become no tools.
      return { not: {} };
  }
}

/** Half a step above the largest f32: what is below is rounded to a finite one. */
const F32_BOUND = 3.4028235677973366e38;

/** A JSON number where it is exact, decimal text beyond. */
function wideInteger(kind: "u64" | "s64"): JsonSchema {
  const minimum = kind === "u64" ? 0 : Number.MIN_SAFE_INTEGER;
  const pattern = kind === "u64" ? "^[0-9]{1,20}$" : "^-?[0-9]{1,19}$";
  return {
    anyOf: [
      { type: "integer", minimum, maximum: Number.MAX_SAFE_INTEGER },
      { type: "string", pattern },
    ],
  };
}

function float(range: JsonSchema): JsonSchema {
  return {
    anyOf: [{ type: "number", ...range }, { enum: ["NaN", "Infinity", "-Infinity"] }],
  };
}

/** Ends of base64 text for 0, 1 and 2 bytes beyond whole groups; unused bits are zero. */
const BASE64_ENDS = ["", "[A-Za-z0-9+/][AQgw]==", "[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]="] as const;

function bytes(length: number | undefined): JsonSchema {
  const text = { type: "string", contentEncoding: "base64" };
  if (length === undefined) {
    const ends = `(?:${BASE64_ENDS[1]}|${BASE64_ENDS[2]})?`;
    return { ...text, pattern: `^(?:[A-Za-z0-9+/]{4})*${ends}$` };
  }
  const characters = Math.ceil(length / 3) * 4;
  const end = BASE64_ENDS[length % 3] ?? "";
  return {
    ...text,
    pattern: `^[A-Za-z0-9+/]*${end}$`,
    minLength: characters,
    maxLength: characters,
  };
}

function list(type: WitType & { readonly kind: "list" }, direction: Direction): JsonSchema {
  const items = typeSchema(type.element, direction);
  return type.length === undefined
    ? { type: "array", items }
    : { type: "array", items, minItems: type.length, maxItems: type.length };
}

function map(type: WitType & { readonly kind: "map" }, direction: Direction): JsonSchema {
  const value = typeSchema(type.value, direction);
  const pairs = {
    type: "array",
    items: {
      type: "array",
      prefixItems: [typeSchema(type.key, direction), value],
      items: false,
      minItems: 2,
    },
  };
  if (type.key.kind !== "string") return pairs;
  const object = { type: "object", additionalProperties: value };
  return direction === "output" ? object : { anyOf: [object, pairs] };
}

function option(type: WitType & { readonly kind: "option" }, direction: Direction): JsonSchema {
  if (isNestedOption(type)) {
    return { anyOf: [oneKey("some", type.some, direction), { type: "null" }] };
  }
  const inner = typeSchema(type.some, direction);
  const simple = inner["enum"] === undefined && inner["oneOf"] === undefined;
  if (typeof inner["type"] === "string" && simple) {
    return { ...inner, type: [inner["type"], "null"] };
  }
  const { description, ...rest } = inner;
  const outer = typeof description === "string" ? { description } : {};
  const choices = Array.isArray(rest["anyOf"]) && Object.keys(rest).length === 1
    ? rest["anyOf"]
    : [rest];
  return { ...outer, anyOf: [...choices, { type: "null" }] };
}

/** An object with exactly one key; without a type its value is null. */
function oneKey(
  name: string,
  type: WitType | null,
  direction: Direction,
  docs?: string,
): JsonSchema {
  return {
    ...describe(docs),
    type: "object",
    properties: { [name]: type === null ? { type: "null" } : typeSchema(type, direction) },
    required: [name],
    additionalProperties: false,
  };
}

function oneOf(choices: readonly JsonSchema[]): JsonSchema {
  return { type: "object", oneOf: choices };
}

function variant(cases: readonly Case[], direction: Direction): JsonSchema {
  const objects = cases.map((item) => oneKey(item.name, item.type, direction, item.docs));
  const plain = cases.filter((item) => item.type === null).map((item) => item.name);
  if (direction === "output" || plain.length === 0) return oneOf(objects);
  return { oneOf: [...objects, { type: "string", enum: plain }] };
}

/** What the names mean, where the WIT says so. */
function listed(items: readonly Named[]): JsonSchema {
  const lines = items.filter((item) => item.docs !== undefined)
    .map((item) => `- ${item.name}: ${item.docs}`);
  return lines.length === 0 ? {} : { description: lines.join("\n") };
}
