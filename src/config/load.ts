/**
 * The configuration of this process: defaults, then the file, then `ATOLL_*`, then flags.
 *
 * Owns: precedence, names of environment variables, error messages with the place of the mistake.
 * Must not know what the values do.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import * as v from "valibot";
import { cacheFolder } from "../../native/build/cache.ts";
import { AtollError } from "../core/errors.ts";
import { scanJson } from "../core/json_text.ts";
import { readEnvironment } from "./environment.ts";
import { type Finding, findingOf, pathText } from "./issues.ts";
import { defaultBodyBytes, tooLongForMessages } from "./messages.ts";
import { type Config, configSchema } from "./schema.ts";
import { stateFolder } from "./state_folder.ts";

/** Values from the command line; absent ones change nothing. */
export interface ConfigFlags {
  readonly config?: string;
  readonly host?: string;
  readonly port?: string;
  readonly workers?: string;
  readonly plugins?: readonly string[];
  readonly engine?: string;
  readonly logLevel?: string;
}

export interface ConfigSource {
  readonly flags?: ConfigFlags;
  /** `process.env`, or a test's. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** What relative paths of flags and variables are relative to; the current folder. */
  readonly cwd: string;
}

export interface LoadedConfig {
  readonly config: Config;
  /** The file that was read, or null. */
  readonly file: string | null;
  /** Things that are odd but no error, as whole sentences. */
  readonly warnings: readonly string[];
}

type Tree = { [key: string]: unknown };

/** Where a value was written, to name it in a message. */
interface Origins {
  /** JSON of a path -> what to call the source: `ATOLL_PORT`, `--port`. */
  readonly named: Map<string, string>;
  readonly file: { readonly path: string; at(path: readonly (string | number)[]): string } | null;
}

/** @throws AtollError config: what is wrong, where, and the nearest right key. */
export function loadConfig(source: ConfigSource): LoadedConfig {
  const environment = source.environment ?? {};
  const flags = source.flags ?? {};
  const file = readFile(source.cwd, flags.config ?? environment["ATOLL_CONFIG"]);
  const origins: Origins = { named: new Map(), file };
  const tree: Tree = structuredClone(file?.tree ?? {});
  if (file !== null) resolveIn(tree, dirname(file.path));

  const { values, warnings } = readEnvironment(environment, configSchema);
  for (const value of values) {
    put(tree, value.path, resolvedAgainst(source.cwd, value.path, value.value));
    origins.named.set(JSON.stringify(value.path), value.name);
  }
  // What the file grants is absolute by now.
  resolveGrants(tree, source.cwd);
  for (const [key, path, name] of FLAG_KEYS) {
    const given = flags[key];
    if (given === undefined) continue;
    put(tree, path, resolvedAgainst(source.cwd, path, flagValue(key, given)));
    origins.named.set(JSON.stringify(path), name);
  }

  const result = v.safeParse(configSchema, tree);
  if (!result.success) throw refusal(findingOf(configSchema, result.issues[0]), origins);
  const { $schema: _schema, cacheDir, storage, ...rest } = result.output;
  const loaded: Config = {
    ...rest,
    plugins: rest.plugins.map((path) => resolve(source.cwd, path)),
    cacheDir: resolve(source.cwd, cacheDir ?? cacheFolder(environment)),
    storage: { dir: resolve(source.cwd, storage.dir ?? stateFolder(environment)) },
  };
  const isSet = (path: readonly string[]) => get(tree, path) !== undefined;
  const tooLong = tooLongForMessages(loaded, isSet);
  if (tooLong !== null) throw refusal(tooLong, origins);
  const config = isSet(["http", "bodyBytes"])
    ? loaded
    : { ...loaded, http: { ...loaded.http, bodyBytes: defaultBodyBytes(loaded) } };
  return { config, file: file?.path ?? null, warnings };
}

const FLAG_KEYS: readonly [key: keyof ConfigFlags, path: string[], name: string][] = [
  ["host", ["host"], "--host"],
  ["port", ["port"], "--port"],
  ["workers", ["http", "workers"], "--workers"],
  ["plugins", ["plugins"], "--plugins"],
  ["engine", ["engine"], "--engine"],
  ["logLevel", ["log", "level"], "--log-level"],
];

function flagValue(key: keyof ConfigFlags, given: string | readonly string[]): unknown {
  const number = key === "port" || key === "workers";
  if (number && typeof given === "string" && /^\d{1,9}$/.test(given)) return Number(given);
  return given;
}

interface ConfigFile {
  readonly path: string;
  readonly tree: Tree;
  at(path: readonly (string | number)[]): string;
}

/** The file that was asked for, or `atoll.json` when it is there. */
function readFile(cwd: string, asked: string | undefined): ConfigFile | null {
  const path = resolve(cwd, asked ?? "atoll.json");
  if (asked === undefined && !existsSync(path)) return null;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    const code = (cause as { code?: string }).code;
    const reason = code === "ENOENT" ? "there is no such file" : code ?? String(cause);
    throw new AtollError("config", `Cannot read configuration "${path}": ${reason}`, {}, { cause });
  }
  const scan = scanJson(text);
  if (!scan.ok) {
    const { line, column } = scan.position;
    throw new AtollError(
      "config",
      `Cannot read configuration "${path}": line ${line}, column ${column}: ${scan.message}`,
    );
  }
  if (typeof scan.value !== "object" || scan.value === null || Array.isArray(scan.value)) {
    throw new AtollError("config", `Cannot read configuration "${path}": expected an object`);
  }
  return {
    path,
    tree: scan.value as Tree,
    at: (where) => {
      const position = scan.position(where);
      return position === null ? "" : `line ${position.line}: `;
    },
  };
}

function refusal(finding: Finding, origins: Origins): AtollError {
  const path = pathText(finding.path);
  const data = {
    path,
    ...(finding.expected === undefined ? {} : { expected: finding.expected }),
    ...(finding.nearest === undefined ? {} : { nearest: finding.nearest }),
  };
  for (let length = finding.path.length; length > 0; length--) {
    const name = origins.named.get(JSON.stringify(finding.path.slice(0, length)));
    if (name !== undefined) {
      return new AtollError("config", `Cannot use ${name}: ${path}: ${finding.reason}`, data);
    }
  }
  const file = origins.file;
  const where = file === null ? "" : ` "${file.path}": ${file.at(finding.path)}`;
  return new AtollError(
    "config",
    `Cannot read configuration${where === "" ? ": " : where}${path}: ${finding.reason}`,
    data,
  );
}

/** A value deep in a tree, undefined where there is none. */
function get(tree: Tree, path: readonly string[]): unknown {
  let at: unknown = tree;
  for (const key of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) return undefined;
    at = (at as Tree)[key];
  }
  return at;
}

/** Sets a value deep in a tree; what stands in the way is replaced. */
function put(tree: Tree, path: readonly string[], value: unknown): void {
  let at = tree;
  for (const key of path.slice(0, -1)) {
    const next = Object.hasOwn(at, key) ? at[key] : undefined;
    const inner = typeof next === "object" && next !== null && !Array.isArray(next) ? next : {};
    at[key] = inner;
    at = inner as Tree;
  }
  at[path[path.length - 1] ?? ""] = value;
}

/** Keys whose texts are paths; those of grants are found by {@link resolveGrants}. */
const PATHS = [["plugins"], ["cacheDir"], ["native", "caFile"], ["storage", "dir"]];

/** Paths in a file are relative to the file. */
function resolveIn(tree: Tree, folder: string): void {
  for (const path of PATHS) {
    const value = get(tree, path);
    if (value !== undefined) put(tree, path, resolvedAgainst(folder, path, value));
  }
  resolveGrants(tree, folder);
}

/** The same of what is granted to each plugin. */
function resolveGrants(tree: Tree, base: string): void {
  for (const id of keysIn(tree, ["pluginSettings"])) {
    const grants = ["pluginSettings", id, "grants"];
    for (const name of keysIn(tree, [...grants, "secrets"])) {
      resolveKey(get(tree, [...grants, "secrets", name]), "file", base);
    }
    const folders = get(tree, [...grants, "folders"]);
    for (const folder of Array.isArray(folders) ? folders : []) resolveKey(folder, "path", base);
  }
}

/** Keys of an object deep in a tree; none where there is no object. */
function keysIn(tree: Tree, path: readonly string[]): readonly string[] {
  const value = get(tree, path);
  return isTree(value) ? Object.keys(value) : [];
}

/** What has another form is for the schema to refuse. */
function resolveKey(at: unknown, key: string, base: string): void {
  if (!isTree(at) || !Object.hasOwn(at, key)) return;
  const text = at[key];
  if (typeof text === "string" && text !== "") at[key] = resolve(base, text);
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function resolvedAgainst(folder: string, path: readonly string[], value: unknown): unknown {
  const one = (text: unknown) =>
    typeof text === "string" && text !== "" ? resolve(folder, text) : text;
  if (path.length === 1 && path[0] === "plugins") {
    return Array.isArray(value) ? value.map(one) : value;
  }
  if (PATHS.some((known) => known.join(".") === path.join("."))) return one(value);
  return value;
}
