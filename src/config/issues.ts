/**
 * What valibot found wrong, said for the person who wrote the file.
 *
 * Owns: the words for paths, expectations and given values. Used for the configuration and for
 * `plugin.json`; must not know either.
 */
import type * as v from "valibot";
import { nearest } from "../core/nearest.ts";

/** One thing that is wrong. */
export interface Finding {
  /** Keys from the root. */
  readonly path: readonly (string | number)[];
  readonly kind: "unknown" | "missing" | "value";
  /** What was expected, `value` only. */
  readonly expected?: string;
  /** The key that was probably meant, `unknown` only. */
  readonly nearest?: string;
  /** The reason, without path: `unknown key; did you mean "port"?`. */
  readonly reason: string;
}

/** The first issue, in the order of the schema. */
export function findingOf(schema: v.GenericSchema, issue: v.BaseIssue<unknown>): Finding {
  const inside = insideUnion(issue);
  if (inside !== null) return findingOf(schema, inside);
  const path = (issue.path ?? []).map((item) => item.key as string | number);
  const last = path[path.length - 1];
  if (issue.type === "strict_object" && issue.expected === "never") {
    const known = keysOf(schemaAt(schema, path.slice(0, -1)));
    const near = nearest(String(last), known);
    if (near !== null) {
      return {
        path,
        kind: "unknown",
        nearest: near,
        reason: `unknown key; did you mean "${near}"?`,
      };
    }
    return { path, kind: "unknown", reason: `unknown key; known are ${known.join(", ")}` };
  }
  if (issue.type === "strict_object" && issue.received === "undefined" && path.length > 0) {
    return { path, kind: "missing", reason: "is missing" };
  }
  const expected = expectation(issue);
  return {
    path,
    kind: "value",
    expected,
    reason: `expected ${expected}, got ${describe(issue.input)}`,
  };
}

/** What is wrong inside of the alternative that was meant: the one whose kind of value was given. */
function insideUnion(issue: v.BaseIssue<unknown>): v.BaseIssue<unknown> | null {
  if (issue.type !== "union") return null;
  const inner = issue.issues?.find((each) => (each.path?.length ?? 0) > 0);
  if (inner?.path === undefined) return null;
  const [first, ...rest] = [...(issue.path ?? []), ...inner.path];
  return first === undefined ? null : { ...inner, path: [first, ...rest] };
}

/** A path as people write it: `http.bodyBytes`, `plugins[0]`. */
export function pathText(path: readonly (string | number)[]): string {
  return path.map((key, index) =>
    typeof key === "number" ? `[${key}]` : index === 0 ? key : `.${key}`
  ).join("");
}

const NOUNS: Record<string, string> = {
  string: "a string",
  number: "a number",
  boolean: "true or false",
  array: "an array",
  strict_object: "an object",
  record: "an object",
  integer: "a whole number",
};

function expectation(issue: v.BaseIssue<unknown>): string {
  const requirement = (issue as { requirement?: unknown }).requirement;
  switch (issue.type) {
    case "min_value":
      return `at least ${String(requirement)}`;
    case "max_value":
      return `at most ${String(requirement)}`;
    case "union":
      // valibot's own words begin like this; others are the schema's.
      return issue.message.startsWith("Invalid type:")
        ? alternatives(issue.expected ?? "")
        : issue.message;
    case "picklist":
    case "variant":
    case "literal":
      return alternatives(issue.expected ?? "");
    case "regex":
    case "check":
    case "non_empty":
      return issue.message;
    default:
      return NOUNS[issue.type] ?? issue.expected ?? issue.message;
  }
}

/** valibot writes `("a" | "b")`. */
function alternatives(expected: string): string {
  const parts = expected.replace(/^\((.*)\)$/, "$1").split(" | ");
  return parts.length === 1 ? parts[0] ?? "" : `one of ${parts.join(", ")}`;
}

const SHOWN = 60;

/** A value in a message: its kind and, when short, itself. */
export function describe(value: unknown): string {
  if (value === null) return "null";
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object") return "an object";
  if (typeof value === "string") {
    const shown = value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value;
    return `the string ${JSON.stringify(shown)}`;
  }
  return `${typeof value === "number" ? "the number " : ""}${String(value)}`;
}

/** The parts of a valibot schema that say what is inside it. */
interface Shape {
  readonly type: string;
  readonly entries?: Record<string, Shape>;
  readonly wrapped?: Shape;
  readonly value?: Shape;
  readonly item?: Shape;
  readonly options?: readonly Shape[];
}

/** The schema without `optional`, `nullable` and the like around it. */
export function unwrap(schema: Shape): Shape {
  let shape = schema;
  while (shape.wrapped !== undefined) shape = shape.wrapped;
  return shape;
}

/** The schema of a place, or null where there is none. */
export function schemaAt(
  schema: v.GenericSchema,
  path: readonly (string | number)[],
): Shape | null {
  let shape = unwrap(schema as unknown as Shape);
  for (const key of path) {
    const options = shape.options?.filter((option) => typeof option === "object") ?? [];
    const next = shape.entries?.[key] ?? shape.value ?? shape.item ??
      options.map((option) => unwrap(option).entries?.[key]).find((found) => found !== undefined);
    if (next === undefined) return null;
    shape = unwrap(next);
  }
  return shape;
}

/** The keys an object of this schema may have. */
export function keysOf(shape: Shape | null): string[] {
  if (shape === null) return [];
  const own = Object.keys(shape.entries ?? {});
  const options = shape.options?.filter((option) => typeof option === "object") ?? [];
  return [...new Set([...own, ...options.flatMap((option) => keysOf(unwrap(option)))])];
}
