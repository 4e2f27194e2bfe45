/**
 * All plugins of a server, and their tools by name.
 *
 * Owns: that a tool's name belongs to one plugin, that lists are sorted and made once for each
 * change, and what became of plugins that are not there. Must not load anything itself.
 */
import { AtollError } from "../core/errors.ts";
import type { Plugin, RegisteredTool } from "./plugin.ts";

export { Plugin, type RegisteredTool } from "./plugin.ts";

/** A plugin that could not be loaded. */
export interface FailedPlugin {
  readonly id: string;
  readonly error: AtollError;
}

/** What has changed: enough to follow a registry in another isolate. */
export type RegistryChange =
  | { readonly kind: "begin"; readonly id: string }
  | { readonly kind: "fail"; readonly id: string; readonly error: AtollError }
  | { readonly kind: "add"; readonly plugin: Plugin }
  | { readonly kind: "remove"; readonly id: string };

export class Registry {
  readonly #plugins = new Map<string, Plugin>();
  readonly #tools = new Map<string, RegisteredTool>();
  readonly #pending = new Set<string>();
  readonly #failed = new Map<string, AtollError>();
  #generation = 0;
  #sortedTools: readonly RegisteredTool[] | null = null;
  #sortedPlugins: readonly Plugin[] | null = null;
  #watcher: ((change: RegistryChange) => void) | null = null;

  /** Grows with each change of the lists; the same number, the same lists. */
  get generation(): number {
    return this.#generation;
  }

  /**
   * Adds a plugin with all its tools, or nothing of it.
   * @throws AtollError manifest: another plugin has its id, or one of its tools' names
   */
  add(plugin: Plugin): void {
    if (this.#plugins.has(plugin.id)) {
      throw new AtollError("manifest", `Cannot load plugin "${plugin.id}": its id is taken`, {
        plugin: plugin.id,
      });
    }
    for (const tool of plugin.tools) this.#refuseTaken(tool);
    for (const tool of plugin.tools) this.#tools.set(tool.name, tool);
    this.#plugins.set(plugin.id, plugin);
    this.#pending.delete(plugin.id);
    this.#failed.delete(plugin.id);
    this.#changed();
    this.#watcher?.({ kind: "add", plugin });
  }

  /** Takes a plugin and its tools away; the caller unloads its component. */
  remove(id: string): Plugin | undefined {
    const plugin = this.#plugins.get(id);
    if (plugin === undefined) return undefined;
    this.#plugins.delete(id);
    for (const tool of plugin.tools) this.#tools.delete(tool.name);
    this.#changed();
    this.#watcher?.({ kind: "remove", id });
    return plugin;
  }

  plugin(id: string): Plugin | undefined {
    return this.#plugins.get(id);
  }

  /** Sorted by id. */
  plugins(): readonly Plugin[] {
    this.#sortedPlugins ??= [...this.#plugins.values()].sort((a, b) => order(a.id, b.id));
    return this.#sortedPlugins;
  }

  tool(name: string): RegisteredTool | undefined {
    return this.#tools.get(name);
  }

  /** Sorted by name; the same array until something changes. */
  tools(): readonly RegisteredTool[] {
    this.#sortedTools ??= [...this.#tools.values()].sort((a, b) => order(a.name, b.name));
    return this.#sortedTools;
  }

  /** Says that a plugin is being built or loaded. */
  begin(id: string): void {
    this.#pending.add(id);
    this.#failed.delete(id);
    this.#watcher?.({ kind: "begin", id });
  }

  /** Says that it could not be; the others go on. */
  fail(id: string, error: AtollError): void {
    this.#pending.delete(id);
    this.#failed.set(id, error);
    this.#watcher?.({ kind: "fail", id, error });
  }

  /** Ids of plugins that are being built or loaded, sorted. */
  pending(): readonly string[] {
    return [...this.#pending].sort();
  }

  /** Sorted by id. */
  failed(): readonly FailedPlugin[] {
    return [...this.#failed].map(([id, error]) => ({ id, error })).sort((a, b) =>
      order(a.id, b.id)
    );
  }

  /** All that there is, as changes of an empty registry. */
  changes(): readonly RegistryChange[] {
    return [
      ...this.plugins().map((plugin) => ({ kind: "add" as const, plugin })),
      ...this.failed().map((failed) => ({ kind: "fail" as const, ...failed })),
      ...this.pending().map((id) => ({ kind: "begin" as const, id })),
    ];
  }

  /** Tells one listener of each change, in order; null: none any more. */
  watch(watcher: ((change: RegistryChange) => void) | null): void {
    this.#watcher = watcher;
  }

  #refuseTaken(tool: RegisteredTool): void {
    const other = this.#tools.get(tool.name)?.plugin;
    if (other === undefined) return;
    throw new AtollError(
      "manifest",
      `Cannot load plugin "${tool.plugin.id}": its tool "${tool.name}" is also one of plugin ` +
        `"${other.id}"; give one of them another prefix`,
      { plugin: tool.plugin.id },
    );
  }

  #changed(): void {
    this.#generation++;
    this.#sortedTools = null;
    this.#sortedPlugins = null;
  }
}

/** By code units: the same on each machine, whatever its language. */
function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
