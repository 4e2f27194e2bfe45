/**
 * Writes `atoll.schema.json` and `plugin.schema.json` from the valibot schemas; with `--check`
 * fails when they are not what it would write.
 */
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { toJsonSchema } from "@valibot/to-json-schema";
import type * as v from "valibot";
import { manifestSchema } from "./manifest_schema.ts";
import { configSchema } from "./schema.ts";

/** A generated file: where it is and what belongs into it. */
export interface GeneratedSchema {
  readonly url: URL;
  readonly text: string;
}

/** JSON Schema (draft 7, which editors know) of what may be written, as text. */
export function schemaText(schema: v.GenericSchema, title: string): string {
  const json = toJsonSchema(schema, { typeMode: "input", target: "draft-07", errorMode: "ignore" });
  const { $schema, ...rest } = json;
  return JSON.stringify({ $schema, title, ...rest }, null, 2) + "\n";
}

/** All files that this script writes. */
export function schemaFiles(): GeneratedSchema[] {
  return [
    {
      url: new URL("../../atoll.schema.json", import.meta.url),
      text: schemaText(configSchema, "Atoll configuration"),
    },
    {
      url: new URL("../../plugin.schema.json", import.meta.url),
      text: schemaText(manifestSchema, "Atoll plugin"),
    },
  ];
}

/** Whether the file on disk is what would be written now. */
export function isFresh(file: GeneratedSchema): boolean {
  try {
    return readFileSync(file.url, "utf8") === file.text;
  } catch {
    return false;
  }
}

if (import.meta.main) {
  const check = process.argv.includes("--check");
  for (const file of schemaFiles()) {
    if (!check) writeFileSync(file.url, file.text);
    else if (!isFresh(file)) {
      console.error(`atoll: ${fileURLToPath(file.url)} is stale; run \`deno task generate\``);
      process.exitCode = 1;
    }
  }
}
