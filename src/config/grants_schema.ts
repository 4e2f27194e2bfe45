/**
 * The schemas of what is granted, in the configuration, and of what is wanted, in a manifest.
 *
 * Owns: what may be written for each grant and its description. The names are those of
 * `src/core/grants.ts`.
 */
import * as v from "valibot";
import { count } from "./limits_schema.ts";

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

/** Most namespaces of one plugin. */
const NAMESPACES_MAX = 32;

/** What a namespace may hold whose grant says nothing. */
const NAMESPACE_BYTES = 64 * 1024 * 1024;

const namespaceSchema = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9._-]{1,64}$/, "letters, digits, dots, hyphens and underscores, 1 to 64"),
);

const keyvalueSchema = v.pipe(
  v.array(v.union(
    [
      v.pipe(
        namespaceSchema,
        v.transform((name) => ({ name, bytes: NAMESPACE_BYTES, shared: false })),
      ),
      v.strictObject({
        name: namespaceSchema,
        bytes: v.optional(
          count(
            0,
            "Most bytes of all its entries: keys, values and 64 bytes for each.",
            Number.MAX_SAFE_INTEGER,
          ),
          NAMESPACE_BYTES,
        ),
        shared: v.optional(
          v.pipe(
            v.boolean(),
            v.description("True: one and the same for all plugins that are granted it so."),
          ),
          false,
        ),
      }),
    ],
    "1 to 64 letters, digits, dots, hyphens and underscores, or an object with such a name",
  )),
  v.check(
    (grants) =>
      grants.length <= NAMESPACES_MAX &&
      new Set(grants.map(({ name }) => name)).size === grants.length,
    `at most ${NAMESPACES_MAX} namespaces, each once`,
  ),
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
  keyvalue: v.optional(
    v.pipe(
      keyvalueSchema,
      v.description(
        "Namespaces in which the plugin keeps values (wasi:keyvalue), each its own unless shared; " +
          "`default` is also the bucket without a name.",
      ),
    ),
    [],
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
  keyvalue: v.optional(
    v.pipe(
      v.array(namespaceSchema),
      v.description("Names of namespaces in which it keeps values."),
    ),
    [],
  ),
});
