/**
 * Finds plugins at the paths that the configuration names.
 *
 * A path is a `.wasm` file, a plugin's folder (it has `plugin.json`), or a folder of those, whose
 * other children are ignored.
 *
 * Owns: what is a plugin and what its id is. Must not build or load anything: it reads manifests
 * only, so that it stays fast.
 */
import { existsSync, readdirSync, type Stats, statSync } from "node:fs";
import { basename, join } from "node:path";
import { AtollError, toAtollError } from "../core/errors.ts";
import { type Manifest, MANIFEST_FILE, readManifest } from "./manifest.ts";

/** A plugin that was found and not yet built or loaded. */
export interface FoundPlugin {
  readonly id: string;
  /** The `.wasm` file, or the plugin's folder. */
  readonly path: string;
  /** Null for a bare `.wasm`. */
  readonly manifest: Manifest | null;
}

/** A plugin that is there but cannot be used; the others can. */
export interface BrokenPlugin {
  /** Its folder's name, since the manifest could not be read, or the id that two plugins have. */
  readonly id: string;
  readonly path: string;
  readonly error: AtollError;
}

export interface Discovery {
  /** In the order of the paths; inside a folder by name. */
  readonly found: readonly FoundPlugin[];
  readonly broken: readonly BrokenPlugin[];
}

/**
 * Looks at each path once.
 * @throws AtollError config: a path that does not exist, or that cannot be a plugin.
 */
export function discover(paths: readonly string[]): Discovery {
  const found: FoundPlugin[] = [];
  const broken: BrokenPlugin[] = [];
  for (const path of paths) {
    for (const place of placesAt(path)) {
      try {
        found.push(pluginAt(place));
      } catch (thrown) {
        broken.push({ id: basename(place), path: place, error: toAtollError(thrown) });
      }
    }
  }
  return withoutDoubles(found, broken);
}

/** The files and folders that are plugins. */
function placesAt(path: string): string[] {
  const stats = look(path);
  if (stats === null) {
    throw new AtollError(
      "config",
      `Cannot find plugins at "${path}": there is no such file or folder; name others with --plugins`,
      { path: "plugins" },
    );
  }
  if (!stats.isDirectory()) {
    if (stats.isFile() && path.endsWith(".wasm")) return [path];
    throw new AtollError(
      "config",
      `Cannot load plugins from "${path}": expected a .wasm file or a folder`,
      { path: "plugins" },
    );
  }
  if (existsSync(join(path, MANIFEST_FILE))) return [path];
  const children = childrenOf(path).sort();
  return children.map((name) => join(path, name)).filter((child) => {
    const inner = look(child);
    if (inner === null) return false;
    return inner.isFile() ? child.endsWith(".wasm") : existsSync(join(child, MANIFEST_FILE));
  });
}

/** @throws AtollError config: the folder cannot be read */
function childrenOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (cause) {
    const reason = (cause as { code?: string }).code ?? String(cause);
    throw new AtollError(
      "config",
      `Cannot find plugins at "${folder}": ${reason}`,
      { path: "plugins" },
      { cause },
    );
  }
}

/** What is at a path; null where nothing can be reached, a link that leads to itself included. */
function look(path: string): Stats | null {
  try {
    return statSync(path);
  } catch (thrown) {
    // Deno's refusal of a permission says more than "not there".
    if ((thrown as Error).name === "NotCapable") throw thrown;
    return null;
  }
}

function pluginAt(path: string): FoundPlugin {
  if (path.endsWith(".wasm") && look(path)?.isFile() === true) {
    return { id: idOfFile(path), path, manifest: null };
  }
  const manifest = readManifest(path);
  return { id: manifest.id, path, manifest };
}

/** The id of a bare component: its file's name, made to fit. `My tools_2.wasm` is `my-tools-2`. */
export function idOfFile(path: string): string {
  const name = basename(path).replace(/\.wasm$/, "").toLowerCase();
  const plain = name.replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-+|-+$/g, "");
  const id = /^[0-9]/.test(plain) ? `p-${plain}` : plain;
  if (id === "") {
    throw new AtollError(
      "manifest",
      `Cannot name the plugin of "${path}": the file's name has no letter or digit; rename it`,
    );
  }
  return id.slice(0, 64).replace(/-+$/, "");
}

/** Plugins that share an id are all refused: which one is meant cannot be known. */
function withoutDoubles(found: FoundPlugin[], broken: BrokenPlugin[]): Discovery {
  const byId = Map.groupBy(found, (plugin) => plugin.id);
  const unique: FoundPlugin[] = [];
  for (const [id, plugins] of byId) {
    // The same place named twice is one plugin.
    const places = [...new Map(plugins.map((plugin) => [plugin.path, plugin])).values()];
    const first = places[0];
    if (first === undefined) continue;
    if (places.length === 1) {
      unique.push(first);
      continue;
    }
    const names = places.map((plugin) => `"${plugin.path}"`).join(" and ");
    const error = new AtollError(
      "manifest",
      `Cannot load plugin "${id}": ${names} have the same id; change one`,
      { plugin: id },
    );
    broken.push({ id, path: first.path, error });
  }
  return { found: unique, broken };
}
