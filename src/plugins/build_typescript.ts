/**
 * Builds a plugin written in TypeScript: bundled by rolldown into one module, which QuickJS in the
 * component runs (componentize-qjs).
 *
 * Owns: the options of both tools. They are imported when called: both are native modules, and a
 * start that builds nothing must not load them.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { TypescriptBuild } from "../config/manifest_schema.ts";
import { buildFailure, type BuildTask } from "./build.ts";

/** @throws AtollError build: a file that is not there, a syntax error, a WIT that does not fit */
export async function buildTypescript(task: BuildTask): Promise<Uint8Array> {
  const build = task.manifest.build as TypescriptBuild;
  const source = task.manifest.source ?? "";
  for (const path of [source, build.wit]) {
    if (!existsSync(join(task.folder, path))) {
      throw buildFailure(task.id, `"${path}" does not exist in "${task.folder}"`, []);
    }
  }
  task.report(`building plugin ${task.id} (TypeScript)`);
  const code = await bundle(task, source);
  const { componentize } = await import("componentize-qjs");
  try {
    const { component } = await componentize({
      witPath: join(task.folder, build.wit),
      jsSource: code,
      optSize: true,
      // Components of the synchronous ABI run on every host; async exports need more of it.
      sync: true,
      stubWasi: !build.wasi,
      ...(build.world === undefined ? {} : { world: build.world }),
    });
    return new Uint8Array(component.buffer, component.byteOffset, component.byteLength);
  } catch (cause) {
    throw buildFailure(task.id, "componentize-qjs failed", linesOf(cause), cause);
  }
}

/** All of the plugin's modules as one; imports of WIT interfaces (`wasi:…`) stay imports. */
async function bundle(task: BuildTask, source: string): Promise<string> {
  const { rolldown } = await import("rolldown");
  const unresolved: string[] = [];
  try {
    const bundler = await rolldown({
      input: join(task.folder, source),
      cwd: task.folder,
      platform: "neutral",
      external: /^[a-z][a-z0-9-]*:[a-z]/,
      logLevel: "warn",
      // Nothing is printed. A package that is not there would become an import that nobody answers.
      onLog: (_level, log) => {
        if (log.code === "UNRESOLVED_IMPORT") unresolved.push(log.message);
      },
    });
    try {
      const { output } = await bundler.generate({ format: "esm", codeSplitting: false });
      if (unresolved.length > 0) throw new Error(unresolved.join("\n"));
      return output[0].code;
    } finally {
      await bundler.close();
    }
  } catch (cause) {
    throw buildFailure(task.id, "rolldown failed", linesOf(cause), cause);
  }
}

const MOST_LINES = 20;

function linesOf(thrown: unknown): string[] {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  // deno-lint-ignore no-control-regex -- rolldown colours its messages
  const plain = text.replaceAll(/\u001b\[[0-9;]*m/g, "");
  return plain.split("\n").filter((line) => line.trim() !== "").slice(0, MOST_LINES);
}
