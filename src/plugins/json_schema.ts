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

/**
 * Most characters of one documentation comment in a schema. A type's comment stands wherever the
 * type is used, so a long one would be there a thousand times.
 */
export const DOCS_MAX = 1024;

/** Most characters of the meanings of all cases of one enum, or of all flags of one set. */
const LISTING_MAX = 4 * DOCS_MAX;

/** Types are a graph, so their schemas are one too: a type that is used often is written once. */
const known = {
  input: new WeakMap<WitType, JsonSchema>(),
  output: new WeakMap<WitType, JsonSchema>(),
};

/** The schema of one type. */
export function typeSchema(type: WitType, direction: Direction): JsonSchema {
  const before = known[direction].get(type);
  if (before !== undefined) return before;
  const schema = documented(type, direction, type.docs);
  known[direction].set(type, schema);
  return schema;
}

/** The same with another comment than the type's own: a field's says more about the field. */
function documented(type: WitType, direction: Direction, docs: string | undefined): JsonSchema {
  switch (type.kind) {
    case "enum":
      return { ...describe(docs, listed(type.cases)), ...bare(type, direction) };
    case "flags":
      return { ...describe(docs, listed(type.flags)), ...bare(type, direction) };
    case "option":
      if (!isNestedOption(type)) {
        return optional(documented(type.some, direction, docs ?? type.some.docs));
      }
  }
  return { ...describe(docs), ...bare(type, direction) };
}

/** The schema of an object of named values: a function's arguments, or a record. */
export function objectSchema(fields: readonly Field[], direction: Direction): JsonSchema {
  const required = fields.filter((field) => direction === "output" || field.type.kind !== "option");
  return {
    type: "object",
    properties: Object.fromEntries(
      fields.map((field) => [
        jsonName(field.name),
        field.docs === undefined
          ? typeSchema(field.type, direction)
          : documented(field.type, direction, field.docs),
      ]),
    ),
    required: required.map((field) => jsonName(field.name)),
    additionalProperties: false,
  };
}

const lengths = new WeakMap<object, number>();

/**
 * Characters of a schema's JSON. It is not written out for that: what is small as a graph may be
 * longer than any string.
 */
export function jsonLength(value: unknown): number {
  if (typeof value !== "object" || value === null) return JSON.stringify(value).length;
  const before = lengths.get(value);
  if (before !== undefined) return before;
  const members: number[] = Array.isArray(value)
    ? value.map(jsonLength)
    : Object.entries(value).map(([key, each]) => jsonLength(key) + 1 + jsonLength(each));
  // Brackets, and a comma between each two.
  const length = members.reduce((sum, each) => sum + each, 2 + Math.max(0, members.length - 1));
  lengths.set(value, length);
  return length;
}

function describe(docs: string | undefined, meanings?: string): JsonSchema {
  const own = docs === undefined ? [] : [shortened(docs, DOCS_MAX)];
  const parts = meanings === undefined ? own : [...own, meanings];
  return parts.length === 0 ? {} : { description: parts.join("\n\n") };
}

/** The beginning of a text that is too long. */
export function shortened(text: string, most: number): string {
  if (text.length <= most) return text;
  // Half of a surrogate pair would be no text.
  return `${text.slice(0, most - 1).replace(/[\ud800-\udbff]$/, "")}…`;
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
      // A nested one; documented() makes the others out of the inner schema.
      return { anyOf: [oneKey("some", type.some, direction), { type: "null" }] };
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
      return { type: "string", enum: type.cases.map((item) => item.name) };
    case "flags":
      return {
        type: "array",
        items: { type: "string", enum: type.flags.map((flag) => flag.name) },
        uniqueItems: true,
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

/** What the inner schema accepts, or null. */
function optional(inner: JsonSchema): JsonSchema {
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

/** What the names mean, where the WIT says so; undefined where it says nothing. */
function listed(items: readonly Named[]): string | undefined {
  const lines: string[] = [];
  let length = 0;
  for (const { name, docs } of items) {
    if (docs === undefined) continue;
    const line = `- ${name}: ${shortened(docs, DOCS_MAX)}`;
    length += line.length + 1;
    if (length > LISTING_MAX) {
      lines.push("- …");
      break;
    }
    lines.push(line);
  }
  return lines.length === 0 ? undefined : lines.join("\n");
}
