/**
 * JSON to the values that a transpiled component takes.
 *
 * Owns what is accepted and the wording of refusals; both follow the native engine's `values/`, so
 * that a caller sees no difference. Values are jco's: records with camelCase fields, variants
 * `{tag, val}`, flags as booleans by name, options `undefined`, 64-bit integers as bigints.
 */
import { nearest } from "../core/nearest.ts";
import { type Json, JsonNumber, JsonObject } from "./argument_json.ts";
import { decodeBase64 } from "./base64.ts";
import { INTEGER_RANGES, isBytes, isNestedOption, jsonName, typeName } from "./value_types.ts";
import { isTagged, jsMemberName, noValue } from "./value_names.ts";
import type { Field, Named, WitType } from "./wit/model.ts";

/** Arguments that do not fit; becomes `invalid_argument`. */
export class ArgumentError extends Error {
  override readonly name = "ArgumentError";

  constructor(
    /** As in `arguments.items[3].price`. */
    readonly path: string,
    /** The WIT type wanted there; undefined where a name is unknown. */
    readonly expected: string | undefined,
    readonly problem: string,
  ) {
    super(`${path}: ${problem}`);
  }
}

/** Sets of names up to this size are listed in a message. */
const KNOWN_MAX = 8;

/** Longest part of a caller's text that a message repeats, in characters. */
const QUOTE_MAX = 64;

/** Integers up to this size are exact when written as `3.0` or `3e2`. */
const EXACT_MAX = 2 ** 53;

/** Decodes the object of named arguments into positional ones. */
export function decodeArguments(params: readonly Field[], json: Json): unknown[] {
  const path = "arguments";
  if (!(json instanceof JsonObject)) {
    const expected = "a JSON object";
    throw new ArgumentError(path, expected, `expected ${expected}, got ${describe(json)}`);
  }
  const values = members(json, params, path, "parameter");
  return params.map((param) =>
    values.has(param) ? values.get(param) : absent(param, path, "argument")
  );
}

/** The values of an object whose keys are a fixed set of names. */
function members(
  json: JsonObject,
  fields: readonly Field[],
  path: string,
  noun: "parameter" | "field",
): Map<Field, unknown> {
  const byName = new Map(fields.map((field) => [jsonName(field.name), field]));
  const values = new Map<Field, unknown>();
  for (const [key, value] of json.members) {
    const field = byName.get(key);
    const place = step(path, key);
    if (field === undefined) {
      throw new ArgumentError(place, undefined, `unknown ${noun}${hint(key, [...byName.keys()])}`);
    }
    if (values.has(field)) throw new ArgumentError(place, typeName(field.type), "given twice");
    values.set(field, decodeValue(field.type, value, place));
  }
  return values;
}

/** An argument or a field that is not there: nothing for an option, else a refusal. */
function absent(field: Field, path: string, noun: "argument" | "field"): unknown {
  if (field.type.kind === "option") return noValue(field.type);
  const expected = typeName(field.type);
  const place = step(path, jsonName(field.name));
  throw new ArgumentError(place, expected, `missing ${noun}, expected ${expected}`);
}

/** Decodes one value. */
export function decodeValue(type: WitType, json: Json, path: string): unknown {
  if (type.kind === "option") return decodeOption(type, json, path);
  if (typeof json === "boolean") {
    if (type.kind === "bool") return json;
  } else if (json instanceof JsonNumber) {
    return decodeNumber(type, json, path);
  } else if (typeof json === "string") {
    return decodeText(type, json, path);
  } else if (json instanceof JsonObject) {
    return decodeObject(type, json, path);
  } else if (json !== null) {
    return decodeArray(type, json as readonly Json[], path);
  }
  return wrong(type, path, describe(json));
}

function decodeOption(
  type: WitType & { readonly kind: "option" },
  json: Json,
  path: string,
): unknown {
  if (json === null) return noValue(type);
  if (!isNestedOption(type)) {
    return decodeValue(type.some, json, path);
  }
  if (!(json instanceof JsonObject)) return wrong(type, path, describe(json));
  const [, value] = onlyMember(type, json, [{ name: "some", type: type.some }], path);
  return isTagged(type) ? { tag: "some", val: value } : value;
}

function decodeNumber(type: WitType, json: JsonNumber, path: string): number | bigint {
  const float = Number(json.text);
  const expected = typeName(type);
  if (type.kind === "f32" || type.kind === "f64") {
    const value = type.kind === "f32" ? Math.fround(float) : float;
    if (Number.isFinite(value)) return value;
    const message = Number.isFinite(float)
      ? `${json.text} is out of range for ${expected}`
      : `number out of range for ${expected}`;
    throw new ArgumentError(path, expected, message);
  }
  if (INTEGER_RANGES[type.kind] === undefined) return wrong(type, path, "a number");
  if (!Number.isFinite(float)) {
    throw new ArgumentError(path, expected, `number out of range for ${expected}`);
  }
  if (json.isInteger) return exact(type, BigInt(json.text), path);
  if (!Number.isInteger(float)) return wrong(type, path, String(float));
  if (Math.abs(float) > EXACT_MAX) return outOfRange(type, String(BigInt(float)), path);
  return exact(type, BigInt(float), path);
}

/**
 * An integer that was a JSON number. Beyond what a double holds exactly it may have been rounded
 * on its way by whoever read the text before, so a 64-bit integer of that size has to be a string.
 */
function exact(type: WitType, value: bigint, path: string): number | bigint {
  const wide = type.kind === "u64" || type.kind === "s64";
  if (wide && !Number.isSafeInteger(Number(value))) {
    const message = `${value} is beyond what a JSON number holds exactly; give it as a string`;
    throw new ArgumentError(path, typeName(type), message);
  }
  return integer(type, value, path);
}

function integer(type: WitType, value: bigint, path: string): number | bigint {
  const [least, most] = INTEGER_RANGES[type.kind] ?? [0n, 0n];
  if (value < least || value > most) return outOfRange(type, String(value), path);
  return type.kind === "u64" || type.kind === "s64" ? value : Number(value);
}

function decodeText(type: WitType, text: string, path: string): unknown {
  switch (type.kind) {
    case "string":
      return text;
    case "list":
      return isBytes(type) ? bytes(type, text, path) : wrong(type, path, "a string");
    case "char":
      if (text === "") return wrong(type, path, "an empty string");
      return [...text].length === 1
        ? text
        : wrong(type, path, "a string of more than one character");
    case "enum":
      return knownCase(type, type.cases, text, path).name;
    case "variant": {
      const item = knownCase(type, type.cases, text, path);
      if (item.type === null) return { tag: item.name };
      const message = `the case ${quote(text)} needs a value of ${typeName(item.type)}`;
      throw new ArgumentError(path, typeName(type), message);
    }
    case "u64":
    case "s64":
      return decimal(type, text, path);
    case "f32":
    case "f64":
      if (text === "NaN" || text === "Infinity" || text === "-Infinity") return Number(text);
      return wrong(type, path, "a string");
    default:
      return wrong(type, path, "a string");
  }
}

/** u64 and s64 as decimal text: digits only, with `-` for s64. */
function decimal(type: WitType, text: string, path: string): number | bigint {
  const pattern = type.kind === "s64" ? /^-?[0-9]+$/ : /^[0-9]+$/;
  if (!pattern.test(text)) return wrong(type, path, `the string ${quote(text)}`);
  // 2^64 has 20 digits; leading zeros aside, longer text is out of range without being read.
  if (text.length > 40) return outOfRange(type, quote(text), path);
  return integer(type, BigInt(text), path);
}

function bytes(
  type: WitType & { readonly kind: "list" },
  text: string,
  path: string,
): Uint8Array | number[] {
  const decoded = decodeBase64(text);
  if (typeof decoded === "string") {
    const expected = typeName(type);
    const message = `expected ${expected} as base64 text: ${decoded}`;
    throw new ArgumentError(path, expected, message);
  }
  if (type.length === undefined) return decoded;
  if (decoded.length !== type.length) return wrong(type, path, `${decoded.length} bytes`);
  return decoded;
}

function decodeArray(type: WitType, items: readonly Json[], path: string): unknown {
  switch (type.kind) {
    case "list": {
      if (isBytes(type)) return wrong(type, path, "an array");
      if (type.length !== undefined && items.length !== type.length) {
        return wrong(type, path, elements(items.length, type.length));
      }
      return items.map((item, index) => decodeValue(type.element, item, `${path}[${index}]`));
    }
    case "tuple":
      if (items.length !== type.items.length) {
        return wrong(type, path, elements(items.length, type.items.length));
      }
      return type.items.map((each, index) => {
        return decodeValue(each, items[index] ?? null, `${path}[${index}]`);
      });
    case "flags":
      return flags(type, items, path);
    case "map":
      return pairs(type, items, path);
    default:
      return wrong(type, path, "an array");
  }
}

function elements(count: number, wanted: number): string {
  return count > wanted ? `more than ${wanted} elements` : `${count} elements`;
}

function flags(
  type: WitType & { readonly kind: "flags" },
  items: readonly Json[],
  path: string,
): Record<string, boolean> {
  const names = type.flags.map((flag) => flag.name);
  const set = new Set<string>();
  for (const [index, item] of items.entries()) {
    const place = `${path}[${index}]`;
    const expected = typeName(type);
    if (typeof item !== "string") return wrong(type, place, describe(item));
    if (!names.includes(item)) {
      const message = `${quote(item)} is not one of the flags${hint(item, names)}`;
      throw new ArgumentError(place, expected, message);
    }
    if (set.has(item)) {
      throw new ArgumentError(place, expected, `the flag ${quote(item)} is given twice`);
    }
    set.add(item);
  }
  return Object.fromEntries(names.map((name) => [jsMemberName(name), set.has(name)]));
}

function pairs(
  type: WitType & { readonly kind: "map" },
  items: readonly Json[],
  path: string,
): Map<unknown, unknown> {
  const map = new Map<unknown, unknown>();
  const expected = `tuple<${typeName(type.key)}, ${typeName(type.value)}>`;
  for (const [index, item] of items.entries()) {
    const place = `${path}[${index}]`;
    if (!Array.isArray(item)) {
      throw new ArgumentError(place, expected, `expected ${expected}, got ${describe(item)}`);
    }
    if (item.length !== 2) {
      const count = item.length > 2 ? "more than 2" : item.length === 0 ? "no" : "1";
      const message = `expected ${expected} as [key, value], got ${count} elements`;
      throw new ArgumentError(place, expected, message);
    }
    const key = decodeValue(type.key, item[0], `${place}[0]`);
    if (map.has(key)) {
      throw new ArgumentError(`${place}[0]`, typeName(type.key), "the key is given twice");
    }
    map.set(key, decodeValue(type.value, item[1], `${place}[1]`));
  }
  return map;
}

function decodeObject(type: WitType, json: JsonObject, path: string): unknown {
  switch (type.kind) {
    case "record": {
      const values = members(json, type.fields, path, "field");
      return Object.fromEntries(
        type.fields.map((
          field,
        ) => [
          jsMemberName(field.name),
          values.has(field) ? values.get(field) : absent(field, path, "field"),
        ]),
      );
    }
    case "variant": {
      const [item, value] = onlyMember(type, json, type.cases, path);
      return item.type === null ? { tag: item.name } : { tag: item.name, val: value };
    }
    case "result": {
      const sides = [{ name: "ok", type: type.ok }, { name: "error", type: type.error }];
      const [side, value] = onlyMember(type, json, sides, path);
      return { tag: side.name === "ok" ? "ok" : "err", val: value };
    }
    case "map":
      return type.key.kind === "string"
        ? objectMap(type, json, path)
        : wrong(type, path, "an object");
    default:
      return wrong(type, path, "an object");
  }
}

function objectMap(
  type: WitType & { readonly kind: "map" },
  json: JsonObject,
  path: string,
): Map<string, unknown> {
  const map = new Map<string, unknown>();
  for (const [key, value] of json.members) {
    const place = step(path, key);
    if (map.has(key)) throw new ArgumentError(place, typeName(type.value), "given twice");
    map.set(key, decodeValue(type.value, value, place));
  }
  return map;
}

/** The one member of an object that stands for a case; a case without a payload has `null`. */
function onlyMember<C extends { readonly name: string; readonly type: WitType | null }>(
  type: WitType,
  json: JsonObject,
  cases: readonly C[],
  path: string,
): [C, unknown] {
  const member = json.members[0];
  const expected = typeName(type);
  if (member === undefined || json.members.length > 1) {
    if (member !== undefined) knownCase(type, cases, member[0], path);
    const count = member === undefined ? "none" : "more";
    const message = `expected ${expected} as an object with one key, got ${count}`;
    throw new ArgumentError(path, expected, message);
  }
  const [key, value] = member;
  const item = knownCase(type, cases, key, path);
  const place = step(path, item.name);
  if (item.type !== null) return [item, decodeValue(item.type, value, place)];
  if (value !== null) {
    throw new ArgumentError(place, "null", `expected null, got ${describe(value)}`);
  }
  return [item, undefined];
}

function knownCase<C extends Named>(
  type: WitType,
  cases: readonly C[],
  name: string,
  path: string,
): C {
  const found = cases.find((item) => item.name === name);
  if (found !== undefined) return found;
  const expected = typeName(type);
  const names = cases.map((item) => item.name);
  const message = `${quote(name)} is not a case of the ${expected}${hint(name, names)}`;
  throw new ArgumentError(path, expected, message);
}

function wrong(type: WitType, path: string, got: string): never {
  // An option says what is in it: the option itself only adds `null`.
  const shown = type.kind === "option" && !isNestedOption(type) ? type.some : type;
  const expected = typeName(shown);
  const form = isBytes(shown)
    ? " as base64 text"
    : isNestedOption(shown)
    ? ' as null or {"some": value}'
    : shown.kind === "result"
    ? ' as {"ok": value} or {"error": value}'
    : "";
  throw new ArgumentError(path, expected, `expected ${expected}${form}, got ${got}`);
}

function outOfRange(type: WitType, number: string, path: string): never {
  const expected = typeName(type);
  const [least, most] = INTEGER_RANGES[type.kind] ?? [];
  const message = `${number} is out of range for ${expected} (${least} to ${most})`;
  throw new ArgumentError(path, expected, message);
}

function describe(json: Json): string {
  if (json === null) return "null";
  if (typeof json === "boolean") return "a boolean";
  if (typeof json === "string") return "a string";
  if (json instanceof JsonNumber) return "a number";
  return json instanceof JsonObject ? "an object" : "an array";
}

/** A path with one more name. */
function step(path: string, name: string): string {
  return /^[A-Za-z0-9_-]{1,64}$/.test(name) ? `${path}.${name}` : `${path}[${quote(name)}]`;
}

/** A caller's text as a JSON string, cut to a length that fits a message. */
function quote(text: string): string {
  const characters = [...text.slice(0, 2 * QUOTE_MAX)];
  const cut = characters.slice(0, QUOTE_MAX).join("");
  return JSON.stringify(cut.length < text.length ? `${cut}…` : cut);
}

function hint(name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  if (near !== null) return `; did you mean "${near}"?`;
  if (known.length === 0) return "; there are none";
  return known.length <= KNOWN_MAX ? `; known: ${known.join(", ")}` : "";
}
