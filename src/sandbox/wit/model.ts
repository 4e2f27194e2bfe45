/**
 * What a component's WIT says, resolved: functions with their whole types, no names left to look up.
 *
 * Owns the shapes only. Plain data, so that it can be posted to a worker. Must not know JSON, tools
 * or engines.
 */

/** Types that need no more than their name. */
export type PrimitiveKind =
  | "bool"
  | "u8"
  | "u16"
  | "u32"
  | "u64"
  | "s8"
  | "s16"
  | "s32"
  | "s64"
  | "f32"
  | "f64"
  | "char"
  | "string"
  | "error-context";

export const PRIMITIVES: ReadonlySet<string> = new Set<PrimitiveKind>([
  "bool",
  "u8",
  "u16",
  "u32",
  "u64",
  "s8",
  "s16",
  "s32",
  "s64",
  "f32",
  "f64",
  "char",
  "string",
  "error-context",
]);

/** A name with its documentation: a case of an enum, one of the flags. */
export interface Named {
  readonly name: string;
  readonly docs?: string;
}

/** A field of a record or a parameter of a function. */
export interface Field extends Named {
  readonly type: WitType;
}

/** A case of a variant. */
export interface Case extends Named {
  readonly type: WitType | null;
}

interface Documented {
  /** From the `///` lines above the type or its alias. */
  readonly docs?: string;
}

/** A WIT type; a type with a name in WIT carries it as `name`. WIT has no recursive types. */
export type WitType =
  & Documented
  & (
    | { readonly kind: PrimitiveKind }
    | { readonly kind: "list"; readonly element: WitType; readonly length?: number }
    | { readonly kind: "map"; readonly key: WitType; readonly value: WitType }
    | { readonly kind: "option"; readonly some: WitType }
    | { readonly kind: "result"; readonly ok: WitType | null; readonly error: WitType | null }
    | { readonly kind: "tuple"; readonly items: readonly WitType[] }
    | { readonly kind: "record"; readonly name: string; readonly fields: readonly Field[] }
    | { readonly kind: "variant"; readonly name: string; readonly cases: readonly Case[] }
    | { readonly kind: "enum"; readonly name: string; readonly cases: readonly Named[] }
    | { readonly kind: "flags"; readonly name: string; readonly flags: readonly Named[] }
    | { readonly kind: "handle"; readonly resource: string; readonly borrowed: boolean }
    | { readonly kind: "stream" | "future"; readonly element: WitType | null }
  );

/** `accessor`: a getter or setter, `name: get() -> T`. */
export type FunctionKind = "free" | "method" | "static" | "constructor" | "accessor";

export interface WitFunction extends Named {
  readonly kind: FunctionKind;
  /** The resource that a method, static function or constructor belongs to. */
  readonly resource?: string;
  readonly async: boolean;
  readonly params: readonly Field[];
  readonly result: WitType | null;
}

/** An import or export of a world. */
export type WorldItem =
  | {
    readonly kind: "interface";
    /** `demo:text/api@0.1.0`, or the plain name of an interface written in the world. */
    readonly name: string;
    readonly docs?: string;
    readonly functions: readonly WitFunction[];
    /** Names of the resources that the interface defines. */
    readonly resources: readonly string[];
  }
  | { readonly kind: "function"; readonly function: WitFunction };

export interface World {
  readonly name: string;
  readonly docs?: string;
  readonly imports: readonly WorldItem[];
  readonly exports: readonly WorldItem[];
}

/**
 * The WIT name of the first resource, stream or future anywhere in a type, null for none.
 * @param seen Types found to have none; they are a graph, and as a tree may be huge.
 */
export function unserializable(type: WitType | null, seen = new Set<WitType>()): string | null {
  if (type === null || seen.has(type)) return null;
  seen.add(type);
  const inner = (each: WitType | null) => unserializable(each, seen);
  switch (type.kind) {
    case "handle":
      return `${type.borrowed ? "borrow" : "own"}<${type.resource}>`;
    case "stream":
    case "future":
    case "error-context":
      return type.kind;
    case "list":
      return inner(type.element);
    case "map":
      return inner(type.key) ?? inner(type.value);
    case "option":
      return inner(type.some);
    case "result":
      return inner(type.ok) ?? inner(type.error);
    case "tuple":
      return firstOf(type.items, inner);
    case "record":
      return firstOf(type.fields.map((field) => field.type), inner);
    case "variant":
      return firstOf(type.cases.map((item) => item.type), inner);
    default:
      return null;
  }
}

function firstOf(
  types: readonly (WitType | null)[],
  inner: (type: WitType | null) => string | null,
): string | null {
  for (const type of types) {
    const found = inner(type);
    if (found !== null) return found;
  }
  return null;
}
