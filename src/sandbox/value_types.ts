/**
 * Facts about WIT types that schemas, decoding and encoding share: names in JSON and in messages,
 * ranges, which options are ambiguous.
 */
import type { WitType } from "./wit/model.ts";

/** Types of one function larger than this, written out as a tree, come only from an attack. */
export const TYPE_NODES_MAX = 10_000;

/** Longest name of a type in a message, in characters. */
const NAME_MAX = 160;

/** The name a WIT name has in JSON: words are joined by `_`. */
export function jsonName(wit: string): string {
  return wit.replaceAll("-", "_");
}

/** The range of an integer type. */
export const INTEGER_RANGES: Readonly<Record<string, readonly [bigint, bigint]>> = {
  u8: [0n, 255n],
  u16: [0n, 65_535n],
  u32: [0n, 4_294_967_295n],
  u64: [0n, 18_446_744_073_709_551_615n],
  s8: [-128n, 127n],
  s16: [-32_768n, 32_767n],
  s32: [-2_147_483_648n, 2_147_483_647n],
  s64: [-9_223_372_036_854_775_808n, 9_223_372_036_854_775_807n],
};

/** `list<u8>` and `list<u8, N>`, which are base64 text in JSON. */
export function isBytes(type: WitType): boolean {
  return type.kind === "list" && type.element.kind === "u8";
}

/** An option of an option: `null` or `{"some": value}`, since `null` alone would be ambiguous. */
export function isNestedOption(type: WitType): boolean {
  return type.kind === "option" && type.some.kind === "option";
}

/**
 * How many nodes a type has as a tree, counted up to a little more than {@link TYPE_NODES_MAX}.
 * Types are a graph: a hundred lines of `tuple<t, t>` are 2^100 nodes.
 */
export function countNodes(type: WitType | null, known = new Map<WitType, number>()): number {
  if (type === null) return 0;
  const before = known.get(type);
  if (before !== undefined) return before;
  const sum = 1 + children(type).reduce((total, each) => total + countNodes(each, known), 0);
  const count = Math.min(sum, TYPE_NODES_MAX + 1);
  known.set(type, count);
  return count;
}

function children(type: WitType): readonly (WitType | null)[] {
  switch (type.kind) {
    case "list":
      return [type.element];
    case "map":
      return [type.key, type.value];
    case "option":
      return [type.some];
    case "result":
      return [type.ok, type.error];
    case "tuple":
      return type.items;
    case "record":
      return type.fields.map((field) => field.type);
    case "variant":
      return type.cases.map((item) => item.type);
    case "enum":
      return type.cases.map(() => ({ kind: "bool" }));
    case "flags":
      return type.flags.map(() => ({ kind: "bool" }));
    default:
      return [];
  }
}

/**
 * The type in WIT's notation. Named types are `record`, `variant`, `enum` and `flags`, because the
 * native engine sees a component's type section, which does not keep their names.
 */
export function typeName(type: WitType): string {
  const name = writeName(type, 0);
  return name.length > NAME_MAX ? `${name.slice(0, NAME_MAX)}…` : name;
}

function writeName(type: WitType, length: number): string {
  if (length > NAME_MAX) return "";
  const inner = (each: WitType) => writeName(each, length + 5);
  switch (type.kind) {
    case "list":
      return type.length === undefined
        ? `list<${inner(type.element)}>`
        : `list<${inner(type.element)}, ${type.length}>`;
    case "map":
      return `map<${inner(type.key)}, ${inner(type.value)}>`;
    case "option":
      return `option<${inner(type.some)}>`;
    case "tuple":
      return `tuple<${type.items.map(inner).join(", ")}>`;
    case "result":
      if (type.error !== null) {
        return `result<${type.ok === null ? "_" : inner(type.ok)}, ${inner(type.error)}>`;
      }
      return type.ok === null ? "result" : `result<${inner(type.ok)}>`;
    case "handle":
      return `${type.borrowed ? "borrow" : "own"}<${type.resource}>`;
    default:
      return type.kind;
  }
}
