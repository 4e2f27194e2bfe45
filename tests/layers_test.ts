/**
 * Dependencies point down the list of layers, never up: checked from the imports that are really
 * in the files, dynamic ones and types too.
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "./harness.ts";

/** From the top to the bottom. A layer may import itself and what is below it. */
const LAYERS: readonly string[] = [
  // Starts main.ts under another runtime: above everything, although it lies among the commands.
  "src/cli/bin.mjs",
  "src/main.ts",
  "src/cli",
  "src/server",
  "src/http",
  "src/mcp",
  "src/auth",
  "src/dispatch",
  "src/plugins",
  "src/sandbox",
  "src/wire",
  "src/actors",
  "src/resilience",
  "src/telemetry",
  "src/storage",
  "src/typestate",
  "src/config",
  "src/core",
  "ffi",
  // The codec of frames has nothing above it but names: ffi writes and reads with it.
  "src/wire/extensions.ts",
  "src/wire/frame.ts",
  "src/wire/fault.ts",
  "src/wire/crc32c.ts",
  "src/wire/packed.ts",
  "native",
];

/** Who may import a layer, beside the layer itself. */
const ONLY_FROM: Readonly<Record<string, RegExp>> = {
  "ffi": /^src\/sandbox\/native(_[a-z]+)?\.ts$/,
};

/** Files that each may read: constants that are generated, and the package's own version. */
const SHARED = ["package.json", "ffi/abi.gen.ts"];

const ROOT = fileURLToPath(new URL("..", import.meta.url));

interface Import {
  readonly from: string;
  readonly to: string;
}

/** The most particular layer: a file may have one of its own. */
function layerOf(file: string): string | undefined {
  const layers = LAYERS.filter((layer) => file === layer || file.startsWith(`${layer}/`));
  return layers.sort((a, b) => b.length - a.length)[0];
}

function sources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) {
      return ["target", "node_modules"].includes(entry.name) ? [] : sources(path);
    }
    return /\.(ts|mjs)$/.test(path) && !path.endsWith("_test.ts") ? [path] : [];
  });
}

const STATEMENT = /^\s*(?:import|export)\b[^"';]*?\bfrom\s+"([^"]+)"/gm;
const BARE = /^\s*import\s+"([^"]+)"/gm;
const CALL = /\bimport\(\s*"([^"]+)"/g;

/** Relative imports of a text, as paths from the root. */
function importsOf(file: string, text: string): Import[] {
  return [STATEMENT, BARE, CALL]
    .flatMap((pattern) => [...text.matchAll(pattern)].map((found) => found[1] ?? ""))
    .filter((specifier) => specifier.startsWith("."))
    .map((specifier) => ({
      from: file,
      to: relative(ROOT, resolve(ROOT, dirname(file), specifier)),
    }));
}

/** What is wrong with an import, or null. */
function objection({ from, to }: Import): string | null {
  if (SHARED.includes(to)) return null;
  const source = layerOf(from);
  const target = layerOf(to);
  if (source === undefined || target === undefined) return `${from} imports ${to}: no such layer`;
  if (source === target) return null;
  if (LAYERS.indexOf(source) > LAYERS.indexOf(target)) {
    return `${from} imports ${to}: ${target} is above ${source}`;
  }
  const only = ONLY_FROM[target];
  if (only !== undefined && !only.test(from)) {
    return `${from} imports ${to}: only ${only.source} may`;
  }
  return null;
}

test("imports point down the list of layers", () => {
  const files = ["src", "ffi", "native"].flatMap(sources);
  const imports = files.flatMap((file) => importsOf(file, readFileSync(join(ROOT, file), "utf8")));
  ok(files.length > 30, "the folders were found");
  ok(imports.length > files.length, "imports were found");
  deepEqual(imports.map(objection).filter((text) => text !== null), []);
});

test("each file below src belongs to a layer", () => {
  deepEqual(sources("src").filter((file) => layerOf(file) === undefined), []);
});

test("an upward import, a foreign one and a hidden one would be found", () => {
  const text = [
    'import type { Config } from "../config/schema.ts";',
    "import {",
    "  a,",
    '} from "../server/server.ts";',
    'export { b } from "./same.ts";',
    'const c = await import("../../ffi/mod.ts");',
    'import "../../tests/harness.ts";',
    'import { join } from "node:path";',
  ].join("\n");
  const found = importsOf("src/plugins/x.ts", text);
  equal(found.length, 5);
  deepEqual(found.map(objection).filter((one) => one !== null).sort(), [
    `src/plugins/x.ts imports ffi/mod.ts: only ${ONLY_FROM["ffi"]?.source} may`,
    "src/plugins/x.ts imports src/server/server.ts: src/server is above src/plugins",
    "src/plugins/x.ts imports tests/harness.ts: no such layer",
  ]);
});
