/** A start must not pay for tools that it does not use: what is imported before it is asked for. */
import { deepEqual, ok } from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "../harness.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Imports of values: a type costs nothing at run time. */
const STATIC = /^\s*(?:import|export)\b(?!\s+type\b)[^"';]*?\bfrom\s+"([^"]+)"/gm;
const BARE = /^\s*import\s+"([^"]+)"/gm;

/** Packages and files that importing a file loads, dynamic imports left out. */
function closure(entry: string): { files: Set<string>; packages: Set<string> } {
  const files = new Set<string>();
  const packages = new Set<string>();
  const visit = (file: string) => {
    if (files.has(file)) return;
    files.add(file);
    const text = readFileSync(join(ROOT, file), "utf8");
    for (const [, specifier = ""] of [...text.matchAll(STATIC), ...text.matchAll(BARE)]) {
      if (!specifier.startsWith(".")) packages.add(specifier);
      else {
        const path = relative(ROOT, resolve(ROOT, dirname(file), specifier));
        ok(existsSync(join(ROOT, path)), `${file} imports ${specifier}`);
        if (path.endsWith(".ts")) visit(path);
      }
    }
  };
  visit(entry);
  return { files, packages };
}

const external = (packages: Set<string>) =>
  [...packages].filter((name) => !name.startsWith("node:")).sort();

test("serve loads neither a transpiler nor a bundler before it needs one", () => {
  const { files, packages } = closure("src/cli/serve.ts");
  deepEqual(external(packages).filter((name) => !/^(valibot|hono)(\/|$)/.test(name)), []);
  for (const late of ["src/sandbox/portable.ts", "src/plugins/build_typescript.ts"]) {
    ok(existsSync(join(ROOT, late)), late);
    ok(!files.has(late), late);
  }
});

test("the check for an old runtime imports nothing", () => {
  const { files, packages } = closure("src/main.ts");
  deepEqual([[...files], external(packages)], [["src/main.ts", "src/core/runtime.ts"], []]);
});
