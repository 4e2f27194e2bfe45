/**
 * The schema of `plugin.json`.
 *
 * Owns: keys, types, defaults, descriptions. Reading the file is the work of `src/plugins`.
 */
import * as v from "valibot";
import { wantsSchema } from "./grants_schema.ts";
import { isolationSchema } from "./isolation_schema.ts";
import { partialLimitsSchema } from "./limits_schema.ts";
import { pluginConfigSchema, pluginIdSchema, prefixSchema } from "./schema.ts";

/** Semantic version 2.0.0, the expression that semver.org gives, without its captures. */
const VERSION =
  /^(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?$/;

/** A path inside the plugin's folder: relative, with no way out of it. */
const inside = (description: string) =>
  v.pipe(
    v.string(),
    v.check(
      (path) =>
        path !== "" && !path.startsWith("/") && !path.includes("\\") && !path.includes("\0") &&
        !path.split("/").includes(".."),
      "a relative path inside the plugin's folder",
    ),
    v.description(description),
  );

const inputs = v.exactOptional(v.pipe(
  v.array(v.string()),
  v.description("Files and folders outside the plugin's folder that the build also reads."),
));

const rustBuild = v.strictObject({
  kind: v.pipe(v.literal("rust"), v.description("cargo, target wasm32-wasip2.")),
  package: v.exactOptional(v.pipe(v.string(), v.description("Which package of a workspace."))),
  features: v.exactOptional(v.pipe(v.array(v.string()), v.description("Cargo features."))),
  inputs,
});

const typescriptBuild = v.strictObject({
  kind: v.pipe(v.literal("typescript"), v.description("Bundled, then run by QuickJS.")),
  wit: v.optional(inside("The folder or file with the WIT."), "wit"),
  world: v.exactOptional(v.pipe(v.string(), v.description("Which world of the WIT."))),
  wasi: v.optional(
    v.pipe(
      v.boolean(),
      v.description("True: keep WASI imports (clock, randomness) instead of leaving them out."),
    ),
    false,
  ),
  inputs,
});

const commandBuild = v.strictObject({
  kind: v.pipe(v.literal("command"), v.description("A program that writes the component.")),
  command: v.pipe(
    v.array(v.string()),
    v.check((words) => words.length > 0 && words[0] !== "", "a program and its arguments"),
    v.description("The program and its arguments; no shell."),
  ),
  output: inside("The component that the command writes."),
  inputs,
});

/** `plugin.json`. */
export const manifestSchema = v.strictObject({
  $schema: v.exactOptional(v.pipe(v.string(), v.description("Where this schema is."))),
  id: pluginIdSchema,
  version: v.pipe(
    v.string(),
    v.regex(VERSION, 'a semantic version such as "0.1.0"'),
    v.description("The plugin's version, by semver.org."),
  ),
  description: v.exactOptional(v.pipe(v.string(), v.description("What it does, in one line."))),
  component: v.exactOptional(inside("A component that is ready; or else give `build`.")),
  source: v.exactOptional(
    inside("What is built: a folder for rust and command, the entry file for typescript."),
  ),
  build: v.exactOptional(
    v.pipe(
      v.variant("kind", [rustBuild, typescriptBuild, commandBuild]),
      v.description("How the component is made from `source`."),
    ),
  ),
  prefix: v.exactOptional(prefixSchema),
  routes: v.optional(
    v.pipe(
      v.strictObject({
        http: v.optional(
          v.pipe(v.boolean(), v.description("Serve its wasi:http handler under /http/ID/.")),
          true,
        ),
      }),
      v.description("Which routes of the plugin are served."),
    ),
    {},
  ),
  limits: v.optional(
    v.pipe(partialLimitsSchema, v.description("Limits that differ from the configuration's.")),
    {},
  ),
  wants: v.optional(
    v.pipe(
      wantsSchema,
      v.description("What it asks the operator to grant; asking grants nothing."),
    ),
    {},
  ),
  clientCapabilities: v.exactOptional(
    v.pipe(
      v.record(v.string(), v.array(v.string())),
      v.description(
        "Capabilities that an MCP client must have declared before a function is called, by the " +
          "function's name in WIT.",
      ),
    ),
  ),
  isolation: v.optional(isolationSchema, "call"),
  config: v.optional(pluginConfigSchema, {}),
});

export type Manifest = v.InferOutput<typeof manifestSchema>;
export type BuildSettings = NonNullable<Manifest["build"]>;
export type RustBuild = Extract<BuildSettings, { kind: "rust" }>;
export type TypescriptBuild = Extract<BuildSettings, { kind: "typescript" }>;
export type CommandBuild = Extract<BuildSettings, { kind: "command" }>;
