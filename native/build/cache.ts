/**
 * Where built native libraries live in the user's cache, under which key, and whether what lies
 * there may be trusted.
 *
 * Owns: the cache's place, the key over our own sources, the check of owner, mode and digests.
 * Must not know how anything is built, nor who loads it.
 */
import { createHash } from "node:crypto";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  type Stats,
  statSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The two libraries of one build, as absolute paths, and the key they are stored under. */
export interface NativePaths {
  /** `libatoll.so`: arena, queues, router. */
  readonly core: string;
  /** `libatoll_sandbox.so`: the wasmtime engine. */
  readonly sandbox: string;
  /** Hex digest over sources and platform. */
  readonly key: string;
}

/** Contents of `manifest.json` beside the libraries. */
export interface BuildManifest {
  readonly format: 1;
  readonly key: string;
  /** File name -> SHA-256, hex. */
  readonly files: Readonly<Record<string, string>>;
  /** First lines of `cc --version` and `rustc -V`, for people. */
  readonly compilers: { readonly cc: string; readonly rustc: string };
}

/** File names of the libraries. */
export const CORE_FILE = "libatoll.so";
export const SANDBOX_FILE = "libatoll_sandbox.so";
export const MANIFEST_FILE = "manifest.json";

/** A refusal to build or to use what was built. `code` is one of Atoll's error codes. */
export class NativeBuildError extends Error {
  override readonly name = "NativeBuildError";
  constructor(
    readonly code: "build" | "unsupported" | "denied" | "cancelled",
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** The root of this checkout: the folder that has `native/`. */
export const CHECKOUT: string = fileURLToPath(new URL("../../", import.meta.url));

/**
 * Atoll's folder in the user's cache, for all that it can make again: `$ATOLL_CACHE_DIR`, else
 * `$XDG_CACHE_HOME/atoll`, else `~/.cache/atoll` (XDG Base Directory Specification 0.8), else a
 * folder of this user's among the temporary files. It is not created here.
 */
export function cacheFolder(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string {
  const own = environment.ATOLL_CACHE_DIR;
  if (own) return resolve(own);
  const shared = environment.XDG_CACHE_HOME;
  // The specification says that a relative path is to be ignored.
  if (shared?.startsWith("/")) return join(shared, "atoll");
  const home = environment.HOME ?? answer(homedir);
  if (home) return join(home, ".cache", "atoll");
  return join(answer(tmpdir) ?? "/tmp", `atoll-${answer(() => process.getuid?.()) ?? "user"}`);
}

/** Deno refuses these questions without a permission for them. */
function answer<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch {
    return undefined;
  }
}

/** Folder of the builds, one folder a key. */
export function nativeFolder(cache: string): string {
  return join(cache, "native");
}

/**
 * Names and contents of what the libraries are built from, as one SHA-256 in hex, together with
 * the platform. Compiler versions are no part of it: asking them takes longer than the whole start.
 */
export function sourceKey(checkout: string = CHECKOUT): string {
  const native = join(checkout, "native");
  return digest(native, sourceFiles(native));
}

/** The same over the Rust part alone. */
export function sandboxKey(checkout: string): string {
  const native = join(checkout, "native");
  return digest(native, sourceFiles(native).filter((path) => path.startsWith("sandbox/")));
}

/** The same over the program that writes bindings and makes components (`componentizer.ts`). */
export function componentizerKey(checkout: string): string {
  const native = join(checkout, "native");
  const files: string[] = [];
  walk(native, "tools/componentize", files);
  return digest(native, files.sort());
}

function digest(native: string, paths: readonly string[]): string {
  const hash = createHash("sha256");
  hash.update(`atoll-native 1 ${process.platform} ${process.arch}\n`);
  for (const path of paths) {
    const bytes = readFileSync(join(native, path));
    hash.update(`${path} ${bytes.length}\n`);
    hash.update(bytes);
  }
  return hash.digest("hex");
}

/** Everything that can change the libraries, as sorted paths relative to `native/`. */
export function sourceFiles(native: string): string[] {
  const files: string[] = [];
  walk(native, "abi", files);
  walk(native, "core", files);
  walk(native, "sandbox/src", files);
  for (const name of ["Cargo.toml", "Cargo.lock", "build.rs", "rust-toolchain.toml"]) {
    if (existsSync(join(native, "sandbox", name))) files.push(`sandbox/${name}`);
  }
  return files.sort();
}

// Outputs, and what only tests read.
const NOT_SOURCES = new Set(["build", "tests", "fuzz", "target"]);

function walk(root: string, folder: string, files: string[]): void {
  const path = join(root, folder);
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.name.startsWith(".")) continue;
    const inner = `${folder}/${entry.name}`;
    if (entry.isDirectory()) {
      if (!NOT_SOURCES.has(entry.name)) walk(root, inner, files);
    } else if (entry.isFile() && !entry.name.endsWith("_test.ts")) {
      files.push(inner);
    }
  }
}

/** SHA-256 of a file, hex. */
export function fileDigest(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

/**
 * Creates the folders of the cache with mode 0700 where they are missing and refuses ones that
 * somebody else could write: who can replace the library runs code in this process.
 * @throws NativeBuildError denied
 */
export function prepareFolders(cache: string): void {
  mkdirSync(cache, { recursive: true, mode: 0o700 });
  mkdirSync(nativeFolder(cache), { recursive: true, mode: 0o700 });
  const obstacle = writableByOthers([cache, nativeFolder(cache)]);
  if (obstacle) throw new NativeBuildError("denied", obstacle);
}

/** One line about the first of the paths that another user could write, or null. */
export function writableByOthers(paths: readonly string[]): string | null {
  const owner = currentUser();
  for (const path of paths) {
    let entry: Stats;
    try {
      entry = lstatSync(path);
      // The folder itself may be a link the user made; what it names must then be as safe.
      if (entry.isSymbolicLink()) {
        if (owner !== null && entry.uid !== owner && entry.uid !== 0) return foreign(path, entry);
        entry = statSync(path);
      }
    } catch (error) {
      return `Cannot use native libraries in "${path}": ${(error as Error).message}`;
    }
    if ((entry.mode & 0o022) !== 0) {
      const mode = (entry.mode & 0o7777).toString(8);
      return `Cannot use native libraries in "${path}": mode ${mode} lets other users write; ` +
        `run chmod go-w "${path}" or set ATOLL_CACHE_DIR`;
    }
    if (owner !== null && entry.uid !== owner && entry.uid !== 0) return foreign(path, entry);
  }
  return null;
}

function foreign(path: string, entry: Stats): string {
  return `Cannot use native libraries in "${path}": it belongs to user ${entry.uid}; ` +
    `set ATOLL_CACHE_DIR to a folder of your own`;
}

/** This process's user, or null where the runtime may not say (Deno without --allow-sys=uid). */
function currentUser(): number | null {
  try {
    return process.getuid?.() ?? null;
  } catch {
    return null;
  }
}

/**
 * The libraries stored under a key, or null when they are absent, incomplete, changed since they
 * were built, or in a folder that others may write.
 */
export function lookUp(cache: string, key: string): NativePaths | null {
  const folder = join(nativeFolder(cache), key);
  const manifest = readManifest(join(folder, MANIFEST_FILE));
  if (manifest?.key !== key) return null;
  const paths = {
    core: join(folder, CORE_FILE),
    sandbox: join(folder, SANDBOX_FILE),
    key,
  };
  const parts = [cache, nativeFolder(cache), folder, paths.core, paths.sandbox];
  if (writableByOthers(parts)) return null;
  for (const [name, path] of [[CORE_FILE, paths.core], [SANDBOX_FILE, paths.sandbox]] as const) {
    if (manifest.files[name] !== fileDigest(path)) return null;
  }
  return paths;
}

function readManifest(path: string): BuildManifest | null {
  try {
    const manifest = JSON.parse(readFileSync(path, "utf8")) as Partial<BuildManifest>;
    if (manifest.format !== 1 || !manifest.files || !manifest.key) return null;
    return manifest as BuildManifest;
  } catch {
    // Absent or torn: the same as not built.
    return null;
  }
}
