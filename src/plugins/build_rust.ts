/**
 * Builds a plugin written in Rust: cargo, target `wasm32-wasip2`, whose output is a component.
 *
 * Owns: the command line, adding the target through rustup, finding the artefact. Cargo's target
 * folder is shared by all plugins, so that wit-bindgen is compiled once.
 */
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { AtollError } from "../core/errors.ts";
import { type CargoArtefact, cargoArtefact, isCargoMessage } from "../../native/build/cargo.ts";
import { runCommand } from "../../native/build/command.ts";
import { buildFailure, type BuildTask } from "./build.ts";
import type { RustBuild } from "../config/manifest_schema.ts";

const TARGET = "wasm32-wasip2";
const TAIL_LINES = 20;

/** @throws AtollError unsupported: no cargo or no target; build: what the compiler said */
export async function buildRust(task: BuildTask): Promise<Uint8Array> {
  const build = task.manifest.build as RustBuild;
  const folder = join(task.folder, task.manifest.source ?? ".");
  if (!existsSync(join(folder, "Cargo.toml"))) {
    throw buildFailure(task.id, `there is no Cargo.toml in "${folder}"`, []);
  }
  task.report(`building plugin ${task.id} (Rust)`);
  const command = ["cargo", "build", "--release", "--target", TARGET, "--message-format"];
  command.push("json-render-diagnostics", "--color", "never");
  if (existsSync(join(folder, "Cargo.lock"))) command.push("--locked");
  if (build.package !== undefined) command.push("--package", build.package);
  if (build.features !== undefined) command.push("--features", build.features.join(","));
  let result = await cargo(command, folder, task);
  if (result.status !== 0 && lacksTarget(result.lines)) {
    await addTarget(folder, task);
    result = await cargo(command, folder, task);
  }
  const stale = result.status === 0 ? oldCrates(result.artefacts) : [];
  if (stale.length > 0) {
    await forget(stale, folder, task);
    result = await cargo(command, folder, task);
  }
  if (result.status !== 0) throw buildFailure(task.id, "cargo failed", result.lines);
  return readArtefact(task.id, folder, result.artefacts);
}

interface CargoResult {
  readonly status: number;
  /** The last lines for people. */
  readonly lines: readonly string[];
  readonly artefacts: readonly CargoArtefact[];
}

async function cargo(
  command: readonly string[],
  folder: string,
  task: BuildTask,
): Promise<CargoResult> {
  const lines: string[] = [];
  const artefacts: CargoArtefact[] = [];
  const onLine = (line: string) => {
    if (isCargoMessage(line)) {
      const artefact = cargoArtefact(line);
      if (artefact !== null) artefacts.push(artefact);
      return;
    }
    lines.push(line);
    if (lines.length > TAIL_LINES) lines.shift();
    const crate = /^\s*Compiling (\S+) /.exec(line)?.[1];
    if (crate !== undefined) task.report(`building plugin ${task.id}: compiling ${crate}`);
  };
  const result = await runCommand(command, {
    cwd: folder,
    env: { ...environment(), CARGO_TARGET_DIR: join(task.toolCache, "cargo") },
    onLine,
    signal: task.signal,
  });
  // The shell's and env's status for a program that is not there (POSIX, 2.8.2).
  if (result.status === 127) {
    throw new AtollError(
      "unsupported",
      `Cannot build plugin "${task.id}": cargo is not installed; see https://rustup.rs`,
      { plugin: task.id },
    );
  }
  return { status: result.status, lines, artefacts };
}

/**
 * Crates that cargo did not build. What is asked for was never built of just these sources, but cargo
 * looks at times, and knows a crate by its name and its place in its workspace: one of another folder
 * that was built later passes for it.
 */
function oldCrates(artefacts: readonly CargoArtefact[]): readonly string[] {
  const old = artefacts.filter((artefact) =>
    artefact.fresh && artefact.package_id.startsWith("path+")
  );
  return [...new Set(old.map((artefact) => artefact.package_id))];
}

async function forget(crates: readonly string[], folder: string, task: BuildTask): Promise<void> {
  const packages = crates.flatMap((crate) => ["--package", crate]);
  const command = ["cargo", "clean", "--release", "--target", TARGET, ...packages];
  const { status, lines } = await cargo(command, folder, task);
  if (status !== 0) throw buildFailure(task.id, "cargo clean failed", lines);
}

/** rustc's words for a target whose standard library is not installed. */
function lacksTarget(lines: readonly string[]): boolean {
  return lines.some((line) => line.includes(TARGET) && line.includes("may not be installed")) ||
    lines.some((line) => line.includes("can't find crate for `core`") || line.includes("E0463"));
}

async function addTarget(folder: string, task: BuildTask): Promise<void> {
  task.report(`installing the Rust target ${TARGET} with rustup`);
  const result = await runCommand(["rustup", "target", "add", TARGET], {
    cwd: folder,
    env: environment(),
    signal: task.signal,
  });
  if (result.status === 0) return;
  throw new AtollError(
    "unsupported",
    `Cannot build plugin "${task.id}": the Rust target ${TARGET} is not installed; ` +
      `run \`rustup target add ${TARGET}\`` +
      result.tail.slice(-3).map((line) => `\n  ${line}`).join(""),
    { plugin: task.id },
  );
}

/** The one `.wasm` that came from a manifest in the plugin's folder. */
function readArtefact(id: string, folder: string, artefacts: readonly CargoArtefact[]): Uint8Array {
  const root = realpathSync(folder);
  const own = artefacts.filter((artefact) => artefact.manifest_path.startsWith(`${root}/`));
  const files = [...new Set(own.flatMap((artefact) => artefact.filenames))]
    .filter((file) => file.endsWith(".wasm"));
  const [file] = files;
  if (file === undefined) {
    throw buildFailure(id, 'cargo made no .wasm; Cargo.toml needs crate-type = ["cdylib"]', []);
  }
  if (files.length > 1) {
    throw buildFailure(id, "cargo made several .wasm; name one package in build.package", files);
  }
  return readFileSync(file);
}

function environment(): Record<string, string> {
  const set = Object.entries(process.env).filter((pair): pair is [string, string] =>
    pair[1] !== undefined
  );
  // A caller's target folder or flags are for other code than plugins.
  return Object.fromEntries(
    set.filter(([name]) => !/^(CARGO_BUILD_|RUSTFLAGS$|CARGO_ENCODED_)/.test(name)),
  );
}
