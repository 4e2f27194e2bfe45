/**
 * The component of a plugin: read where it is ready, taken from the cache, or built.
 *
 * Owns: the cache of built components, `<cache>/plugins/<key>/component.wasm` with its digest, that
 * what is there was made of exactly the sources of its key, that a half-written or changed file is
 * never used, and that old ones go. How each kind is built is in `build_*.ts`.
 * Must not know what the component does.
 */
import { createHash, randomUUID } from "node:crypto";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { AtollError, toAtollError } from "../core/errors.ts";
import { takeLock } from "../../native/build/lock.ts";
import { sourceKey, witSources } from "./build_sources.ts";
import type { FoundPlugin } from "./discovery.ts";
import type { BuildSettings, Manifest } from "./manifest.ts";
import { withWitDocs } from "./wit_docs.ts";

export interface BuildOptions {
  /** The root of the cache. */
  readonly cacheDir: string;
  /** One line on what is being done; not called when nothing is to be done. */
  readonly onProgress?: (line: string) => void;
  /** Ends a build that runs, and the waiting for another process's. */
  readonly signal?: AbortSignal | undefined;
}

/** What a builder is told. */
export interface BuildTask {
  readonly id: string;
  /** The plugin's folder, absolute. */
  readonly folder: string;
  readonly manifest: Manifest;
  /** A folder that all builds share, for tools that keep state (cargo's target folder). */
  readonly toolCache: string;
  readonly report: (line: string) => void;
  /** For the tools that are started. */
  readonly signal: AbortSignal | undefined;
}

/**
 * The component of a plugin that was found.
 * @throws AtollError build, with the last lines of what the tool said; io: it cannot be read;
 *   cancelled: by the signal
 */
export async function componentOf(
  plugin: FoundPlugin,
  options: BuildOptions,
): Promise<Uint8Array> {
  const { manifest } = plugin;
  if (manifest === null) return readComponent(plugin.id, plugin.path);
  if (manifest.component !== undefined) {
    return readComponent(plugin.id, join(plugin.path, manifest.component));
  }
  const build = manifest.build;
  if (build === undefined) {
    throw new AtollError("manifest", `Cannot build plugin "${plugin.id}": it has no build`);
  }
  const root = join(options.cacheDir, "plugins");
  const present = fromCache(join(root, sourceKey(plugin.path, manifest, build)));
  if (present !== null) return present;
  try {
    return await buildInto(root, plugin, manifest, build, options);
  } catch (thrown) {
    if (options.signal?.aborted !== true) throw thrown;
    throw new AtollError("cancelled", `The build of plugin "${plugin.id}" was cancelled`, {
      plugin: plugin.id,
    }, { cause: thrown });
  }
}

/** Builds a component that is not in the cache, and puts it there. */
async function buildInto(
  root: string,
  plugin: FoundPlugin,
  manifest: Manifest,
  build: BuildSettings,
  options: BuildOptions,
): Promise<Uint8Array> {
  const { signal } = options;
  mkdirSync(root, { recursive: true, mode: 0o700 });
  const report = options.onProgress ?? (() => {});
  // One build at a time: cargo's folder is shared, two crates may have one name, and a second
  // process that wants the same component takes what the first one made.
  const lock = await takeLock(
    join(root, "build.lock"),
    signal,
    (pid, own) => {
      // Plugins of one server wait for each other, which is no news.
      if (!own) report(`waiting for process ${pid}, which is building plugins`);
    },
  );
  try {
    // Another process may have built it while this one waited, and sources may have changed.
    const key = sourceKey(plugin.path, manifest, build);
    const meanwhile = fromCache(join(root, key));
    if (meanwhile !== null) return meanwhile;
    const toolCache = join(root, "tools");
    const task: BuildTask = {
      id: plugin.id,
      folder: plugin.path,
      manifest,
      toolCache,
      report,
      signal,
    };
    const built = await builders[build.kind](task);
    requireComponent(plugin.id, built);
    const world = "world" in build ? build.world : undefined;
    const bytes = withWitDocs(built, witSources(plugin.path, manifest, build), world);
    const kept = keyAfter(key, plugin, manifest, build);
    if (kept === null) {
      report(`plugin ${plugin.id}: a source changed while it was built; the next start builds it`);
      return bytes;
    }
    publish(join(root, kept), plugin.id, bytes);
    removeOld(root, plugin.id, kept);
    return bytes;
  } finally {
    lock.release();
  }
}

/**
 * The key to keep a component under, or null: a source changed while it was built, so nobody knows
 * which state it was made of. A first cargo build writes `Cargo.lock` among the sources; when that is
 * all that changed meanwhile, the component belongs to the sources with it.
 */
function keyAfter(
  before: string,
  plugin: FoundPlugin,
  manifest: Manifest,
  build: BuildSettings,
): string | null {
  const after = sourceKey(plugin.path, manifest, build);
  if (after === before) return after;
  if (build.kind !== "rust") return null;
  const lock = join(manifest.source ?? ".", "Cargo.lock");
  return sourceKey(plugin.path, manifest, build, lock) === before ? after : null;
}

/** Loaded when needed: a start from the cache must not pay for a bundler. */
const builders: Record<BuildSettings["kind"], (task: BuildTask) => Promise<Uint8Array>> = {
  rust: async (task) => (await import("./build_rust.ts")).buildRust(task),
  typescript: async (task) => (await import("./build_typescript.ts")).buildTypescript(task),
  command: async (task) => (await import("./build_command.ts")).buildByCommand(task),
};

/** Formats what a tool printed into the error of a failed build. */
export function buildFailure(
  id: string,
  what: string,
  lines: readonly string[],
  cause?: unknown,
): AtollError {
  const tail = lines.length === 0 ? "" : `\n${lines.map((line) => `  ${line}`).join("\n")}`;
  const message = `Cannot build plugin "${id}": ${what}${tail}`;
  return new AtollError("build", message, { plugin: id }, cause === undefined ? {} : { cause });
}

function readComponent(id: string, path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    const code = (cause as { code?: string }).code;
    const reason = code === "ENOENT"
      ? "there is no such file"
      : code ?? toAtollError(cause).message;
    throw new AtollError(
      "io",
      `Cannot load plugin "${id}": component "${path}": ${reason}`,
      { plugin: id },
      { cause },
    );
  }
}

/** The component model's preamble: magic, version 0x0d, layer 1. */
const COMPONENT_PREAMBLE = [0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0];

/** A build that made a core module or nothing at all must not end up in the cache. */
function requireComponent(id: string, bytes: Uint8Array): void {
  if (COMPONENT_PREAMBLE.every((byte, index) => bytes[index] === byte)) return;
  throw buildFailure(id, "the build made something that is not a WebAssembly component", []);
}

const COMPONENT = "component.wasm";
const DIGEST = "component.sha256";
const OWNER = "plugin";

/** The component, when it is there and still what was built; a damaged one counts as not there. */
function fromCache(folder: string): Uint8Array | null {
  let bytes: Uint8Array;
  let digest: string;
  try {
    digest = readFileSync(join(folder, DIGEST), "utf8").trim();
    bytes = readFileSync(join(folder, COMPONENT));
  } catch {
    return null;
  }
  return sha256(bytes) === digest ? bytes : null;
}

/** Written beside and renamed: another process sees all of it or nothing. */
function publish(folder: string, id: string, bytes: Uint8Array): void {
  const draft = `${folder}.${randomUUID()}`;
  mkdirSync(draft, { mode: 0o700 });
  writeFileSync(join(draft, COMPONENT), bytes, { mode: 0o600 });
  writeFileSync(join(draft, DIGEST), `${sha256(bytes)}\n`, { mode: 0o600 });
  writeFileSync(join(draft, OWNER), `${id}\n`, { mode: 0o600 });
  rmSync(folder, { recursive: true, force: true });
  renameSync(draft, folder);
}

/** How many components of other sources are kept for a plugin, and for how long after they were made. */
const KEPT = 8;
const KEPT_MS = 24 * 60 * 60 * 1000;

/**
 * Takes away what was built of older sources of a plugin, and drafts of builds that were killed.
 * Only what is old: another machine or container may share the cache.
 */
function removeOld(root: string, id: string, key: string): void {
  const present = readdirSync(root).filter((name) => /^[0-9a-f]{64}(\.|$)/.test(name))
    .map((name) => ({ name, path: join(root, name) }))
    .map((entry) => ({
      ...entry,
      madeMs: statSync(entry.path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now(),
    }))
    .sort((a, b) => b.madeMs - a.madeMs);
  const drafts = present.filter(({ name }) => name.includes("."));
  const others = present.filter(({ name, path }) =>
    !name.includes(".") && name !== key && ownerOf(path) === id
  );
  for (const { path, madeMs } of [...drafts, ...others.slice(KEPT)]) {
    if (Date.now() - madeMs > KEPT_MS) rmSync(path, { recursive: true, force: true });
  }
}

/** The plugin that a component was built for. */
function ownerOf(folder: string): string | null {
  try {
    return readFileSync(join(folder, OWNER), "utf8").trim();
  } catch {
    return null;
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
