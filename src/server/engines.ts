/**
 * Which engine runs the plugins: the native one where its libraries are or can be had, the
 * portable one elsewhere and until then.
 *
 * Owns: that choice, what is said about it, and the background build. Must not know plugins.
 */
import type { BuildProgress, NativePaths } from "../../native/build/build.ts";
import type { Config } from "../config/schema.ts";
import { AtollError, toAtollError } from "../core/errors.ts";
import { deniedByDeno } from "../core/refusal.ts";
import type { NativeSandbox } from "../sandbox/native.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Logger } from "../telemetry/log.ts";

/** The engine to begin with, and what may come after it. */
export interface EngineStart {
  readonly sandbox: Sandbox;
  /** Component instances that it has room for; null: it has no such number. */
  readonly instances: number | null;
  /** Builds the native libraries and opens the native engine; null when there is nothing to wait for. */
  readonly upgrade: ((signal: AbortSignal) => Promise<Sandbox>) | null;
}

/** Where progress of a build is shown; `null` ends the line. */
export type ShowProgress = (line: string | null) => void;

/**
 * The engine that can serve now. With `engine: "native"` it waits for the build; with `auto` it
 * falls back to the portable engine and says why.
 * @throws AtollError unsupported, build, io: with `engine: "native"` when it cannot be had; config:
 * the host cannot back what is configured
 */
export async function startEngine(
  config: Config,
  log: Logger,
  show: ShowProgress,
  signal?: AbortSignal,
): Promise<EngineStart> {
  if (config.engine === "portable") return await portableStart(config);
  const build = await import("../../native/build/build.ts");
  const place = { checkout: build.CHECKOUT, cache: config.cacheDir };
  const found = await build.findNative(place);
  if (found) return await openFound(found, config, log);
  if (config.engine === "native") {
    const paths = await buildShown(config, show, signal);
    return await nativeStart(paths, config);
  }
  const obstacle = await build.nativeObstacle();
  if (obstacle !== null) {
    log.warn(`running on the portable engine: ${obstacle}`);
    return await portableStart(config);
  }
  return {
    ...await portableStart(config),
    upgrade: async (stop) => openNative(await buildShown(config, show, stop), config),
  };
}

/** For commands that make one call and end: never builds, unless the configuration insists. */
export async function openEngine(config: Config, log: Logger): Promise<Sandbox> {
  const start = await startEngine(config, log, (line) => {
    if (line !== null) log.info(line);
  });
  return start.sandbox;
}

/**
 * Libraries that are there and do not open are an error with `native`, a warning with `auto`; what
 * the host cannot back of the configuration is an error with either.
 */
async function openFound(paths: NativePaths, config: Config, log: Logger): Promise<EngineStart> {
  try {
    return await nativeStart(paths, config);
  } catch (thrown) {
    const error = toAtollError(thrown);
    if (config.engine === "native" || error.code === "config") throw thrown;
    log.warn(`running on the portable engine: ${error.message}`);
    return await portableStart(config);
  }
}

/** @throws AtollError denied: the permission that is missing; unsupported, io, version, no_memory */
export async function openNative(libraries: NativePaths, config: Config): Promise<NativeSandbox> {
  const { openNativeSandbox } = await import("../sandbox/native.ts");
  try {
    return await openNativeSandbox({
      libraries,
      engine: config.native,
      cacheDir: config.cacheDir,
      storageDir: config.storage.dir,
    });
  } catch (thrown) {
    throw deniedByDeno(thrown, "Cannot open the native engine") ?? thrown;
  }
}

async function nativeStart(libraries: NativePaths, config: Config): Promise<EngineStart> {
  const sandbox = await openNative(libraries, config);
  const { instances } = await sandbox.engineStats();
  return { sandbox, instances, upgrade: null };
}

async function portableStart(config: Config): Promise<EngineStart> {
  const { openPortableSandbox } = await import("../sandbox/portable.ts");
  const sandbox = await openPortableSandbox({ cacheDir: config.cacheDir });
  return { sandbox, instances: null, upgrade: null };
}

async function buildShown(
  config: Config,
  show: ShowProgress,
  signal?: AbortSignal,
): Promise<NativePaths> {
  const build = await import("../../native/build/build.ts");
  try {
    return await build.buildNative(
      (progress) => show(progressLine(progress)),
      signal,
      { checkout: build.CHECKOUT, cache: config.cacheDir },
    );
  } catch (thrown) {
    if (thrown instanceof build.NativeBuildError) {
      throw new AtollError(thrown.code, thrown.message, {}, { cause: thrown });
    }
    throw thrown;
  } finally {
    show(null);
  }
}

/** `building the native engine: sandbox 120 of 290 (cranelift-codegen)`. */
export function progressLine({ phase, done, total, crate }: BuildProgress): string {
  const current = crate === undefined ? "" : ` (${crate})`;
  return `building the native engine: ${phase} ${done} of ${total}${current}`;
}
