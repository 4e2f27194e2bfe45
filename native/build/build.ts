/**
 * Finds the native libraries in the cache, or builds them into it.
 *
 * Owns: the steps of a build and its atomic publication. Must not know who loads the libraries, nor
 * how progress is shown. The cache's layout is `<cache>/native/<key>/`; cargo's target folder is
 * `<cache>/cargo`, shared by all keys, so that a change to our own Rust recompiles our crate only.
 */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { randomUUID } from "node:crypto";
import {
  cacheFolder,
  CHECKOUT,
  CORE_FILE,
  fileDigest,
  lookUp,
  MANIFEST_FILE,
  NativeBuildError,
  nativeFolder,
  type NativePaths,
  prepareFolders,
  SANDBOX_FILE,
  sandboxKey,
  sourceKey,
} from "./cache.ts";
import { cargoArtefact, isCargoMessage } from "./cargo.ts";
import { cancelled, runCommand } from "./command.ts";
import { takeLock } from "./lock.ts";
import { type BuildProgress, cargoProgress, lockedCrates, makeProgress } from "./progress.ts";
import { inspectToolchain, type Toolchain } from "./toolchain.ts";

export { cacheFolder, CHECKOUT, NativeBuildError, type NativePaths } from "./cache.ts";
export type { BuildProgress } from "./progress.ts";

/** Where to build from and to; both have defaults. Tests use folders of their own. */
export interface BuildPlace {
  /** Folder that has `native/`. */
  readonly checkout: string;
  readonly cache: string;
}

/** Does the two steps of a build; tests replace the slow one. */
export interface BuildSteps {
  core(out: string, report: Report, signal?: AbortSignal): Promise<void>;
  sandbox(out: string, report: Report, signal?: AbortSignal): Promise<void>;
}

type Report = (progress: BuildProgress) => void;

function here(): BuildPlace {
  return { checkout: CHECKOUT, cache: cacheFolder() };
}

/**
 * The libraries of exactly these sources, when they are in the cache, unchanged since they were
 * built, and nobody else can write them. Starts no process.
 */
// deno-lint-ignore require-await
export async function findNative(place: BuildPlace = here()): Promise<NativePaths | null> {
  return lookUp(place.cache, sourceKey(place.checkout));
}

/** One line that says why the libraries cannot be built on this machine, or null when they can. */
export async function nativeObstacle(): Promise<string | null> {
  const found = await inspectToolchain();
  return typeof found === "string" ? found : null;
}

/**
 * Builds the libraries unless they are there. One process builds at a time; the others wait and
 * take what it made. The compilers run at low priority and end with this process.
 * @throws NativeBuildError unsupported: an obstacle; build: a compiler failed, with the last 20
 * lines of its output, or a source changed meanwhile; denied: the cache is writable by others;
 * cancelled: `signal`
 */
export async function buildNative(
  onProgress: Report = () => {},
  signal?: AbortSignal,
  place: BuildPlace = here(),
  steps: BuildSteps = realSteps(place),
): Promise<NativePaths> {
  const key = sourceKey(place.checkout);
  const present = lookUp(place.cache, key);
  if (present) return present;
  prepareFolders(place.cache);
  const toolchain = await inspectToolchain();
  if (typeof toolchain === "string") {
    throw new NativeBuildError("unsupported", `Cannot build the native libraries: ${toolchain}`);
  }
  const lock = await takeLock(join(nativeFolder(place.cache), "lock"), signal).catch((error) => {
    throw signal?.aborted ? cancelled() : error;
  });
  try {
    // Another process may have built it while this one waited.
    const built = lookUp(place.cache, key);
    if (built) return built;
    return await build(key, place, steps, toolchain, onProgress, signal);
  } finally {
    lock.release();
  }
}

async function build(
  key: string,
  place: BuildPlace,
  steps: BuildSteps,
  toolchain: Toolchain,
  report: Report,
  signal?: AbortSignal,
): Promise<NativePaths> {
  const native = nativeFolder(place.cache);
  removeLeftovers(native);
  const folder = join(native, `.tmp-${process.pid}-${randomUUID()}`);
  mkdirSync(folder, { mode: 0o700 });
  try {
    await steps.core(folder, report, signal);
    await steps.sandbox(folder, report, signal);
    // What is stored under a key must be built from the sources of that key.
    if (sourceKey(place.checkout) !== key) {
      throw new NativeBuildError(
        "build",
        "Cannot use what was built: a source changed meanwhile; build again",
      );
    }
    // A umask of 002 would leave them writable by the group, and lookUp() refuses that.
    for (const file of [CORE_FILE, SANDBOX_FILE]) chmodSync(join(folder, file), 0o600);
    const manifest = {
      format: 1,
      key,
      files: {
        [CORE_FILE]: fileDigest(join(folder, CORE_FILE)),
        [SANDBOX_FILE]: fileDigest(join(folder, SANDBOX_FILE)),
      },
      compilers: toolchain,
    };
    writeFileSync(join(folder, MANIFEST_FILE), JSON.stringify(manifest, null, 2) + "\n");
    publish(folder, join(native, key));
    removeOld(native, key);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const paths = lookUp(place.cache, key);
  if (!paths) {
    throw new NativeBuildError("build", `Cannot use what was just built in "${native}/${key}"`);
  }
  return paths;
}

/** No build takes that long. */
const LEFTOVER_MS = 60 * 60 * 1000;

/**
 * Folders of builds that were killed. Not a younger one: the lock can be held twice for a moment,
 * by processes that cannot see each other.
 */
function removeLeftovers(native: string): void {
  for (const name of readdirSync(native)) {
    if (!name.startsWith(".tmp-")) continue;
    const path = join(native, name);
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats !== undefined && Date.now() - stats.mtimeMs > LEFTOVER_MS) {
      rmSync(path, { recursive: true, force: true });
    }
  }
}

/** How many builds of other sources are kept, and for how long after they were made. */
const KEPT_BUILDS = 8;
const KEPT_MS = 24 * 60 * 60 * 1000;

/** Takes away old builds: each change to a source leaves one. What is mapped stays usable. */
function removeOld(native: string, key: string): void {
  const builds = readdirSync(native)
    .filter((name) => /^[0-9a-f]{64}$/.test(name) && name !== key)
    .map((name) => ({ path: join(native, name), madeMs: statSync(join(native, name)).mtimeMs }))
    .sort((a, b) => b.madeMs - a.madeMs);
  for (const { path, madeMs } of builds.slice(KEPT_BUILDS)) {
    if (Date.now() - madeMs > KEPT_MS) rmSync(path, { recursive: true, force: true });
  }
}

/** Puts the finished folder in its place; a damaged older one is moved away first. */
function publish(folder: string, place: string): void {
  if (existsSync(place)) {
    const aside = `${folder}-old`;
    renameSync(place, aside);
    rmSync(aside, { recursive: true, force: true });
  }
  renameSync(folder, place);
}

/** make for the C part, cargo for the Rust part. */
function realSteps(place: BuildPlace): BuildSteps {
  const native = join(place.checkout, "native");
  return {
    core: (out, report, signal) => buildCore(join(native, "core"), out, report, signal),
    sandbox: (out, report, signal) =>
      buildSandbox(place.checkout, join(place.cache, "cargo"), out, report, signal),
  };
}

/** Builds `libatoll.so` into the folder `out`. Takes seconds. */
export async function buildCore(
  source: string,
  out: string,
  report: Report = () => {},
  signal?: AbortSignal,
): Promise<void> {
  const files = readdirSync(join(source, "src")).filter((name) => name.endsWith(".c")).length;
  const progress = makeProgress(files);
  report({ phase: "core", done: 0, total: files });
  // Two jobs: the first seconds of a start are shared with a server that answers.
  const result = await runCommand(["make", "-j2", `OUT=${out}`], {
    cwd: source,
    signal,
    onLine: (line) => forward(progress(line), report),
  });
  if (result.status !== 0) throw failed("libatoll.so", "make", result);
  if (!existsSync(join(out, CORE_FILE))) throw missing(CORE_FILE, out);
  // Objects are of no use to whoever loads the library.
  rmSync(join(out, "obj"), { recursive: true, force: true });
  report({ phase: "core", done: files, total: files });
}

/**
 * Builds a checkout's `libatoll_sandbox.so` into the folder `out`; the first time in a target
 * folder it compiles wasmtime, which takes minutes.
 */
export async function buildSandbox(
  checkout: string,
  target: string,
  out: string,
  report: Report = () => {},
  signal?: AbortSignal,
): Promise<void> {
  const source = join(checkout, "native/sandbox");
  const total = lockedCrates(join(source, "Cargo.lock"));
  const progress = cargoProgress(total);
  report({ phase: "sandbox", done: 0, total });
  const options = ["--release", "--locked", "--lib", "--target-dir", target, "--color", "never"];
  options.push("--message-format", "json-render-diagnostics");
  // Checkouts share the target folder, and cargo compares times of files only: it would take the
  // library of another checkout whose sources are older than that build for this one's.
  const cfg = `atoll_sources="${sandboxKey(checkout)}"`;
  const tail: string[] = [];
  // A default target in the user's configuration has a folder of its own, and what an earlier build
  // left in the usual place was made of other sources.
  let made: string | undefined;
  const onLine = (line: string): void => {
    if (isCargoMessage(line)) {
      made = cargoArtefact(line)?.filenames.find((file) => basename(file) === SANDBOX_FILE) ?? made;
      return;
    }
    tail.push(line);
    if (tail.length > TAIL_LINES) tail.shift();
    forward(progress(line), report);
  };
  const command = ["cargo", "rustc", ...options, "--", "--cfg", cfg];
  const { status } = await runCommand(command, { cwd: source, signal, onLine });
  if (status !== 0) throw failed("libatoll_sandbox.so", "cargo", { status, tail });
  if (made === undefined) {
    throw new NativeBuildError("build", `Cannot build ${SANDBOX_FILE}: cargo did not name it`);
  }
  copyFileSync(made, join(out, SANDBOX_FILE));
  report({ phase: "sandbox", done: total, total });
}

/** Lines for people that an error shows. */
const TAIL_LINES = 20;

function forward(progress: BuildProgress | null, report: Report): void {
  if (progress) report(progress);
}

function failed(
  library: string,
  program: string,
  result: { status: number; tail: readonly string[] },
): NativeBuildError {
  return new NativeBuildError(
    "build",
    `Cannot build ${library}: ${program} ended with ${result.status}\n${result.tail.join("\n")}`,
  );
}

function missing(file: string, folder: string): NativeBuildError {
  return new NativeBuildError("build", `Cannot build ${file}: it is not in "${folder}"`);
}
