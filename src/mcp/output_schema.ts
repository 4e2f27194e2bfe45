/**
 * Output schemas for revisions before 2026-07-28, which know structured content of objects only.
 *
 * Owns: the wrapping as `{"result": …}` and the union of a function's value with its error. Must
 * not know WIT. The union is there because SDK 1.x checks structured content against the schema
 * even when `isError` is set: a schema of the value alone would make the client drop the error.
 */

/** A JSON Schema of the 2020-12 dialect. */
export type Schema = { readonly [keyword: string]: unknown };

/** What a tool says about its results. */
export interface OutputShape {
  /** Schema of the value; absent when the function has none. */
  readonly outputSchema?: object;
  /** Schema of the error side; absent when the function cannot fail. */
  readonly errorSchema?: object;
  /** The value is not an object. */
  readonly wrapsResult: boolean;
}

/** The schema to publish to a client of an older revision; undefined when the tool has none. */
export function legacyOutputSchema(shape: OutputShape): Schema | undefined {
  if (shape.outputSchema === undefined) return undefined;
  const output = shape.outputSchema as Schema;
  const value = shape.wrapsResult ? wrap(output) : output;
  if (shape.errorSchema === undefined) return value;
  const error = shape.errorSchema as Schema;
  return union(value, wrapsError(shape) ? wrap(error) : error);
}

function wrap(schema: Schema): Schema {
  const { $defs, ...inner } = schema;
  return {
    type: "object",
    properties: { result: inner },
    required: ["result"],
    ...($defs === undefined ? {} : { $defs }),
  };
}

/** Whether the error side is not always an object, as `wrapsResult` is for the value. */
export function wrapsError(shape: OutputShape): boolean {
  return (shape.errorSchema as Schema | undefined)?.type !== "object";
}

/** Schemas whose root holds nothing but these are merged, so that `properties` stays readable. */
const MERGEABLE = new Set([
  "type",
  "properties",
  "required",
  "additionalProperties",
  "description",
  "title",
  "$defs",
]);

function union(value: Schema, error: Schema): Schema {
  const definitions = {
    ...(value.$defs as Schema | undefined),
    ...(error.$defs as Schema | undefined),
  };
  const hoisted = Object.keys(definitions).length === 0 ? {} : { $defs: definitions };
  const description = value.description === undefined ? {} : { description: value.description };
  if (![value, error].every((schema) => Object.keys(schema).every((key) => MERGEABLE.has(key)))) {
    return {
      type: "object",
      ...description,
      anyOf: [withoutDefinitions(value), withoutDefinitions(error)],
      ...hoisted,
    };
  }
  return {
    type: "object",
    ...description,
    properties: mergeProperties(propertiesOf(value), propertiesOf(error)),
    anyOf: [{ required: value.required ?? [] }, { required: error.required ?? [] }],
    ...hoisted,
  };
}

function propertiesOf(schema: Schema): Schema {
  return (schema.properties as Schema | undefined) ?? {};
}

function mergeProperties(value: Schema, error: Schema): Schema {
  const merged: Record<string, unknown> = { ...value };
  for (const [name, schema] of Object.entries(error)) {
    const other = merged[name];
    merged[name] = other === undefined || JSON.stringify(other) === JSON.stringify(schema)
      ? schema
      : { anyOf: [other, schema] };
  }
  return merged;
}

function withoutDefinitions(schema: Schema): Schema {
  const { $defs: _, ...rest } = schema;
  return rest;
}
