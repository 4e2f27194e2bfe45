/**
 * The schemas of what is granted, in the configuration, and of what is wanted, in a manifest.
 *
 * Owns: what may be written for each grant and its description. The names are those of
 * `src/core/grants.ts`.
 */
import * as v from "valibot";

/** A request to the native engine has 64 KiB; the limits and other grants need some of it. */
const ENV_BYTES_MAX = 32 * 1024;

const variableNameSchema = v.pipe(
  v.string(),
  v.check(
    (name) => name !== "" && !name.includes("=") && !name.includes("\0"),
    "the name of a variable, with no = and no zero in it",
  ),
);

const variableValueSchema = v.pipe(
  v.string(),
  v.check((value) => !value.includes("\0"), "a text with no zero in it"),
);

/** What the operator grants to one plugin. */
export const grantsSchema = v.strictObject({
  env: v.optional(
    v.pipe(
      v.record(variableNameSchema, variableValueSchema),
      v.check(
        (env) => new TextEncoder().encode(JSON.stringify(env)).length <= ENV_BYTES_MAX,
        `variables of ${ENV_BYTES_MAX} bytes together, as JSON`,
      ),
      v.description(
        "Environment variables that the plugin sees, with their values; of Atoll's own it sees none.",
      ),
    ),
    {},
  ),
});

/** What a plugin's author asks for. */
export const wantsSchema = v.strictObject({
  env: v.optional(
    v.pipe(
      v.array(variableNameSchema),
      v.description("Names of environment variables that it reads."),
    ),
    [],
  ),
});
