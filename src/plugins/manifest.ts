/**
 * Reads `plugin.json`.
 *
 * Owns: the checks that the schema alone cannot make, and messages that name file, path and the
 * nearest right key. Must not know how plugins are found, built or run.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { AtollError, type ErrorData } from "../core/errors.ts";
import { type JsonScan, scanJson } from "../core/json_text.ts";
import { describe, findingOf, pathText } from "../config/issues.ts";
import { type Manifest, manifestSchema } from "../config/manifest_schema.ts";

export type { BuildSettings, Manifest } from "../config/manifest_schema.ts";

/** Its name in each plugin's folder. */
export const MANIFEST_FILE = "plugin.json";

/**
 * The manifest of the plugin in `folder`.
 * @throws AtollError manifest: file, line, path and what is wrong there.
 */
export function readManifest(folder: string): Manifest {
  const file = join(folder, MANIFEST_FILE);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    const reason = (cause as { code?: string }).code ?? String(cause);
    throw new AtollError("manifest", `Cannot read manifest "${file}": ${reason}`, {}, { cause });
  }
  return parseManifest(text, file);
}

/** The manifest that a text holds. `file` is for messages only. */
export function parseManifest(text: string, file: string): Manifest {
  const scan = scanJson(text);
  if (!scan.ok) {
    const { line, column } = scan.position;
    throw refusal(file, `line ${line}, column ${column}: ${scan.message}`);
  }
  if (typeof scan.value !== "object" || scan.value === null || Array.isArray(scan.value)) {
    throw refusal(file, `expected an object, got ${describe(scan.value)}`);
  }
  const result = v.safeParse(manifestSchema, scan.value);
  if (!result.success) {
    const finding = findingOf(manifestSchema, result.issues[0]);
    const at = place(scan, finding.path);
    const path = pathText(finding.path);
    throw refusal(file, `${at}${path === "" ? "" : `${path}: `}${finding.reason}`, {
      path,
      ...(finding.expected === undefined ? {} : { expected: finding.expected }),
      ...(finding.nearest === undefined ? {} : { nearest: finding.nearest }),
    });
  }
  refuseContradictions(result.output, file);
  return result.output;
}

function refuseContradictions(manifest: Manifest, file: string): void {
  if (manifest.component === undefined && manifest.build === undefined) {
    throw refusal(file, "either component or build is needed");
  }
  if (manifest.component !== undefined) {
    for (const key of ["build", "source"] as const) {
      if (manifest[key] === undefined) continue;
      throw refusal(file, `${key}: cannot be there beside component`, { path: key });
    }
  }
  if (manifest.build?.kind === "typescript" && manifest.source === undefined) {
    throw refusal(file, "source: is missing: a typescript build needs its entry file", {
      path: "source",
    });
  }
}

function place(scan: JsonScan & { ok: true }, path: readonly (string | number)[]): string {
  const position = scan.position(path);
  return position === null ? "" : `line ${position.line}: `;
}

function refusal(file: string, reason: string, data: ErrorData = {}): AtollError {
  return new AtollError("manifest", `Cannot read manifest "${file}": ${reason}`, data);
}
