/**
 * The key of a build: a digest over everything that goes into it.
 *
 * Owns: which files count as sources. A file that is not counted and still read by the build would
 * leave a stale component in the cache, so all are counted but outputs and dependencies.
 */
import { Buffer } from "node:buffer";
import { createHash, type Hash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { basename, dirname, join, normalize, relative, resolve } from "node:path";
import { AtollError } from "../core/errors.ts";
import { type BuildSettings, type Manifest, MANIFEST_FILE } from "./manifest.ts";

/** Changes when the same sources are to be built differently: tools, options, layout of the cache. */
const RECIPE: Record<BuildSettings["kind"], string> = {
  rust: "rust 3: wasm32-wasip2 release, documentation",
  typescript: "typescript 2: documentation, rolldown 1.2.4, componentize-qjs 0.4.3, opt-size, sync",
  command: "command 3: documentation",
};

/** More are no sources of a plugin but a mistake, such as a plugin.json in a home folder. */
const MOST_FILES = 20_000;

/** Hex SHA-256 over the build's settings and its sources; the same on each machine. */
export function sourceKey(
  folder: string,
  manifest: Manifest,
  build: BuildSettings,
  /** A file of the plugin's folder that is not counted. */
  without?: string,
): string {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([RECIPE[build.kind], build, manifest.source ?? "."]));
  const skipped = new Set([MANIFEST_FILE, ...outputsOf(build)]);
  if (without !== undefined) skipped.add(without);
  let files = 0;
  const add = (path: string, name: string) => {
    if (++files > MOST_FILES) {
      throw failure(manifest.id, `"${folder}" has more than ${MOST_FILES} files`);
    }
    addFile(hash, path, name);
  };
  const root = build.kind === "command" ? join(folder, manifest.source ?? ".") : folder;
  if (!existsSync(root)) throw failure(manifest.id, `source "${root}" does not exist`);
  walk(root, root, (path) => skipped.has(relative(folder, path)), add);
  for (const input of [...(build.inputs ?? [])].sort()) {
    const path = resolve(folder, input);
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats === undefined) {
      throw failure(manifest.id, `build.inputs: "${input}" does not exist`);
    }
    const named = (at: string, name: string) => add(at, `${input}/${name}`);
    if (stats.isDirectory()) walk(path, path, () => false, named);
    else add(path, input);
  }
  return hash.digest("hex");
}

/** A command's output, with its folder where that is one that only holds outputs. */
function outputsOf(build: BuildSettings): string[] {
  if (build.kind !== "command") return [];
  const output = normalize(build.output);
  const folder = dirname(output);
  return ["build", "dist", "out"].includes(basename(folder)) ? [output, folder] : [output];
}

function failure(id: string, reason: string): AtollError {
  return new AtollError("build", `Cannot build plugin "${id}": ${reason}`, { plugin: id });
}

function walk(
  root: string,
  folder: string,
  skips: (path: string) => boolean,
  add: (path: string, name: string) => void,
): void {
  const entries = readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.name.startsWith(".") || skips(path)) continue;
    if (entry.isDirectory()) {
      if (entry.name !== "target" && entry.name !== "node_modules") walk(root, path, skips, add);
    } else if (entry.isFile() || entry.isSymbolicLink()) add(path, relative(root, path));
  }
}

/** Lengths go before texts, so that no two trees give the same bytes. */
function addFile(hash: Hash, path: string, name: string): void {
  const stats = statSync(path, { throwIfNoEntry: false });
  // A link to a folder, or to nothing, counts by where it points: what is behind it may be huge.
  const content = stats?.isFile() === true ? readFileSync(path) : Buffer.from(readlinkSync(path));
  hash.update(`${Buffer.byteLength(name)} ${name} ${content.length}\n`);
  hash.update(content);
}

/**
 * The plugin's own WIT, without its dependencies: what documentation comments are read from. It lies
 * beside the source where that has a folder of its own, else in the plugin's folder.
 */
export function witSources(
  folder: string,
  manifest: Manifest,
  build: BuildSettings,
): readonly string[] {
  const places = build.kind === "typescript"
    ? [join(folder, build.wit)]
    : [join(folder, manifest.source ?? ".", "wit"), join(folder, "wit")];
  for (const path of places) {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats === undefined) continue;
    if (stats.isFile()) return [readFileSync(path, "utf8")];
    return readdirSync(path).filter((name) => name.endsWith(".wit")).sort()
      .map((name) => readFileSync(join(path, name), "utf8"));
  }
  return [];
}
