/**
 * All plugins of a running server: loaded at start, moved to another engine while they serve.
 *
 * Owns: when a plugin is built, loaded, moved and unloaded, and the lines that say so. Must not
 * know protocols or how calls are dispatched.
 */
import type { Config } from "../config/schema.ts";
import { type AtollError, toAtollError } from "../core/errors.ts";
import { discover, type FoundPlugin } from "../plugins/discovery.ts";
import { loadComponent, loadPlugin, type Plugin } from "../plugins/plugin.ts";
import type { Registry } from "../plugins/registry.ts";
import type { LoadedComponent, Sandbox } from "../sandbox/sandbox.ts";
import type { Logger } from "../telemetry/log.ts";
import { guestListeners } from "./guest_listeners.ts";
import type { Learning } from "./learning.ts";

export interface FleetOptions {
  readonly config: Config;
  readonly registry: Registry;
  readonly log: Logger;
  /** Says that a plugin is ready or has moved: one line for the person who started the server. */
  readonly announce: (line: string) => void;
  /** Resolves when each worker knows what the registry says now; absent: there are no others. */
  readonly told?: () => Promise<void>;
  /** One line while something is built; null ends it. */
  readonly show: (line: string | null) => void;
  /** Aborted when the server stops: builds end, and what fails by it is not reported. */
  readonly stopping: AbortSignal;
  /** Told what plugins ask for, what is allowed too. */
  readonly learning?: Learning | undefined;
}

/** Lines a plugin about functions that are too large to be tools. */
const OVERSIZED_SHOWN = 5;

/** What an engine answers to a load that another one may do: it cannot run or grant something. */
const REFUSALS: ReadonlySet<string> = new Set(["component", "unsupported"]);

export class Fleet {
  readonly #options: FleetOptions;
  readonly #found: FoundPlugin[] = [];
  /** What was loaded, until it has moved: sources and files may change meanwhile. */
  readonly #bytes = new Map<string, Uint8Array>();
  #movable = true;
  #closed = false;
  #sandbox: Sandbox | null = null;
  /** The engine before, where a plugin had to stay on it. */
  #before: Sandbox | null = null;
  #loading: Promise<unknown> = Promise.resolve();

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  /**
   * Finds the plugins. From here on the registry knows that they will come: whoever asks for one
   * before there is an engine is not told that it does not exist.
   * @throws AtollError config: a path that does not exist
   */
  find(): void {
    const { config, registry, log } = this.#options;
    const { found, broken } = discover(config.plugins);
    for (const { id, error } of broken) {
      registry.fail(id, error);
      log.error(error.message, { plugin: id });
    }
    for (const plugin of found) {
      if (config.pluginSettings[plugin.id]?.enabled === false) continue;
      this.#found.push(plugin);
      registry.begin(plugin.id);
    }
  }

  /**
   * Loads what was found, all at once.
   * @returns when each is ready or has failed; failures are in the registry
   */
  load(sandbox: Sandbox): Promise<void> {
    this.#sandbox = sandbox;
    const all = Promise.all(this.#found.map((plugin) => this.#load(plugin, sandbox)));
    this.#loading = all;
    return all.then(() => {});
  }

  /**
   * Moves every plugin to another engine, one after the other, without a failed call: new calls go
   * to the new component at once, the old one is unloaded when its calls have ended. A plugin that
   * the new engine refuses stays where it is; one that the old engine refused is tried again. The
   * engine is the fleet's from now on, also when the fleet was closed meanwhile.
   */
  async moveTo(sandbox: Sandbox): Promise<void> {
    await this.#loading;
    if (this.#closed) return await sandbox.close();
    const before = this.#sandbox;
    this.#before = before;
    this.#sandbox = sandbox;
    const { registry } = this.#options;
    const unloaded: Promise<void>[] = [];
    let stayed = 0;
    for (const plugin of registry.plugins()) {
      const old = await this.#move(plugin, sandbox);
      if (old === null) stayed++;
      // Its calls may run for long; meanwhile the others move.
      else unloaded.push(old.unload().catch((thrown) => this.#reportUnload(plugin, thrown)));
    }
    const refusals = new Set(
      registry.failed().filter(({ error }) => REFUSALS.has(error.code)).map(({ id }) => id),
    );
    const refused = this.#found.filter(({ id }) => this.#bytes.has(id) && refusals.has(id));
    for (const { id } of refused) registry.begin(id);
    await Promise.all(refused.map((plugin) => this.#load(plugin, sandbox)));
    this.stay();
    await Promise.all(unloaded);
    if (stayed > 0 || before === null) return;
    this.#before = null;
    await before.close();
  }

  /** Says that no other engine will come (any more): the binaries need not be kept for it. */
  stay(): void {
    this.#movable = false;
    this.#bytes.clear();
  }

  /** Ends the engines: running calls are cut off, loads fail. */
  async close(): Promise<void> {
    this.#closed = true;
    this.stay();
    await Promise.all([this.#sandbox?.close(), this.#before?.close()]);
  }

  async #load(found: FoundPlugin, sandbox: Sandbox): Promise<void> {
    const { config, registry, announce, told, show, stopping } = this.#options;
    try {
      const plugin = await loadPlugin(found, {
        sandbox,
        config,
        onProgress: show,
        signal: stopping,
        onBytes: (bytes) => {
          if (this.#movable) this.#bytes.set(found.id, bytes);
        },
        listeners: guestListeners(this.#options.log, this.#options.learning),
      });
      try {
        registry.add(plugin);
      } catch (thrown) {
        await plugin.component.unload();
        throw thrown;
      }
      if (told !== undefined) await told();
      announce(pluginLine(plugin));
      this.#reportOversized(plugin);
    } catch (thrown) {
      const error = toAtollError(thrown);
      registry.fail(found.id, error);
      if (told !== undefined) await told();
      if (!stopping.aborted) this.#reportFailure(found.id, error);
    }
  }

  /** Other functions that are no tools were not meant to be; `atoll inspect` lists them all. */
  #reportOversized({ id: plugin, unmapped }: Plugin): void {
    const { log } = this.#options;
    const oversized = unmapped.filter((each) => each.oversized === true);
    for (const { name, reason } of oversized.slice(0, OVERSIZED_SHOWN)) {
      log.warn(`function "${name}" is no tool: ${reason}`, { plugin });
    }
    const more = oversized.length - OVERSIZED_SHOWN;
    if (more > 0) log.warn(`${more} more functions are too large to be tools`, { plugin });
  }

  /** Lines of a failed build are kept as lines; where a bug is shows its stack only. */
  #reportFailure(plugin: string, error: AtollError): void {
    const { log } = this.#options;
    const [first = "", ...rest] = error.message.split("\n");
    log.error(first, error.code === "internal" ? { plugin, error } : { plugin });
    for (const line of rest) log.error(line, { plugin });
  }

  /** Returns the component that it had before, or null where it stays on it. */
  async #move(plugin: Plugin, sandbox: Sandbox): Promise<LoadedComponent | null> {
    const bytes = this.#bytes.get(plugin.id);
    if (bytes === undefined) return null;
    const { log, announce, stopping } = this.#options;
    try {
      const component = await loadComponent(
        sandbox,
        plugin,
        bytes,
        guestListeners(this.#options.log, this.#options.learning),
      );
      let old: LoadedComponent;
      try {
        old = plugin.swap(component);
      } catch (thrown) {
        await component.unload();
        throw thrown;
      }
      announce(pluginLine(plugin));
      if (plugin.isolation.mode === "actor") {
        log.warn(`plugin "${plugin.id}" left its actors' state on the ${old.engine} engine`);
      }
      return old;
    } catch (thrown) {
      const error = toAtollError(thrown);
      if (stopping.aborted) return null;
      log.warn(`plugin "${plugin.id}" stays on the ${plugin.component.engine} engine`, { error });
      return null;
    }
  }

  #reportUnload(plugin: Plugin, thrown: unknown): void {
    const { log, stopping } = this.#options;
    if (stopping.aborted) return;
    log.warn(`plugin "${plugin.id}" is not unloaded from its old engine`, {
      error: toAtollError(thrown),
    });
  }
}

/** `text 0.1.0  native  tools: text_analyse, text_reverse  routes: none`. */
export function pluginLine(plugin: Plugin): string {
  const tools = plugin.tools.map((tool) => tool.name).join(", ");
  return `${plugin.id} ${plugin.version}  engine: ${plugin.component.engine}  ` +
    `tools: ${tools === "" ? "none" : tools}  routes: ${plugin.httpRoute ?? "none"}`;
}
