/**
 * Builds a plugin by a command that its manifest names.
 *
 * The command runs with the rights of this process: a folder with sources is trusted as far as its
 * build goes, its component is not.
 */
import { readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { runCommand } from "../../native/build/command.ts";
import { buildFailure, type BuildTask } from "./build.ts";
import type { CommandBuild } from "../config/manifest_schema.ts";

/** @throws AtollError build: it failed, or did not write its output */
export async function buildByCommand(task: BuildTask): Promise<Uint8Array> {
  const build = task.manifest.build as CommandBuild;
  const shown = build.command.join(" ");
  const output = join(task.folder, build.output);
  task.report(`building plugin ${task.id}: ${shown}`);
  // What an earlier run left must not pass for this one's.
  if (statSync(output, { throwIfNoEntry: false })?.isFile() === true) rmSync(output);
  const result = await runCommand(build.command, {
    cwd: task.folder,
    signal: task.signal,
    env: Object.fromEntries(
      Object.entries(process.env).filter((pair): pair is [string, string] => pair[1] !== undefined),
    ),
  });
  if (result.status !== 0) {
    throw buildFailure(task.id, `\`${shown}\` ended with status ${result.status}`, result.tail);
  }
  try {
    return readFileSync(output);
  } catch (cause) {
    throw buildFailure(task.id, `\`${shown}\` did not write "${build.output}"`, result.tail, cause);
  }
}
