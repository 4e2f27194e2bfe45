/**
 * A plugin that is loaded: its component, the tools made of it, its route and limits.
 *
 * Owns: what manifest, settings and defaults come to together; the move to another engine. Must
 * not know how calls are dispatched, nor any protocol.
 */
import type { Config, PluginSettings } from "../config/schema.ts";
import type { AccessAccount } from "../core/access.ts";
import { AtollError } from "../core/errors.ts";
import { type Grants, NO_GRANTS } from "../core/grants.ts";
import { CALL_ISOLATION, type Isolation } from "../core/isolation.ts";
import type { Limits } from "../core/limits.ts";
import { missingGrants, type Wanted } from "../core/wants.ts";
import type { ComponentSpec, GuestLog, LoadedComponent, Sandbox } from "../sandbox/sandbox.ts";
import { componentOf } from "./build.ts";
import type { FoundPlugin } from "./discovery.ts";
import { withSecrets } from "./secrets.ts";
import { deriveTools, type Tool, type Unmapped } from "./tools.ts";

/** A tool and the plugin that answers it. */
export interface RegisteredTool extends Tool {
  readonly plugin: Plugin;
  /** Capabilities that the MCP client must have declared; absent: none. */
  readonly requiredClientCapabilities?: readonly string[];
}

/** The same from inside, where the index follows the component. */
type MovableTool = { -readonly [Key in keyof RegisteredTool]: RegisteredTool[Key] };

/** What is fixed about a plugin before its component is loaded. */
export interface PluginProfile {
  readonly id: string;
  readonly version: string;
  readonly description: string | null;
  /** What its tools' names begin with; null: nothing. */
  readonly prefix: string | null;
  readonly limits: Limits;
  /** How long an instance lives. */
  readonly isolation: Isolation;
  /** What the operator grants; the manifest has no say in it. */
  readonly grants: Grants;
  /** What its manifest asks for and nobody grants. */
  readonly missingGrants: readonly Wanted[];
  /** Whether a `wasi:http` handler is served, if it has one. */
  readonly http: boolean;
  /** What an MCP client must be able to do, by function name in WIT. */
  readonly clientCapabilities: Readonly<Record<string, readonly string[]>>;
  /** The plugin's own configuration, as the texts that it reads. */
  readonly config: Readonly<Record<string, string>>;
}

/** Of a bare component, which has no manifest that could say. */
const UNKNOWN_VERSION = "0.0.0";

/** Settings by the operator go before the manifest, which goes before the defaults. */
export function profileOf(found: FoundPlugin, config: Config): PluginProfile {
  const settings: Partial<PluginSettings> = Object.hasOwn(config.pluginSettings, found.id)
    ? config.pluginSettings[found.id] ?? {}
    : {};
  const { manifest } = found;
  const grants = settings.grants ?? NO_GRANTS;
  const prefix = settings.prefix !== undefined ? settings.prefix : manifest?.prefix;
  return {
    id: found.id,
    version: manifest?.version ?? UNKNOWN_VERSION,
    description: manifest?.description ?? null,
    prefix: prefix === undefined ? found.id.replaceAll("-", "_") : prefix,
    limits: { ...config.limits, ...manifest?.limits, ...settings.limits },
    isolation: settings.isolation ?? manifest?.isolation ?? CALL_ISOLATION,
    grants,
    missingGrants: manifest === null ? [] : missingGrants(manifest.wants, grants),
    http: settings.routes?.http ?? manifest?.routes.http ?? true,
    clientCapabilities: manifest?.clientCapabilities ?? {},
    config: textsOf({ ...manifest?.config, ...settings.config }),
  };
}

/** wasi:config knows texts alone. */
function textsOf(config: Readonly<Record<string, unknown>>): PluginProfile["config"] {
  return Object.fromEntries(
    Object.entries(config).map(([key, value]) => [
      key,
      typeof value === "string" ? value : JSON.stringify(value),
    ]),
  );
}

/** A loaded plugin. Its component may be exchanged for the same one on another engine. */
export class Plugin {
  readonly id: string;
  readonly version: string;
  readonly description: string | null;
  readonly prefix: string | null;
  readonly limits: Limits;
  readonly isolation: Isolation;
  readonly grants: Grants;
  readonly config: PluginProfile["config"];
  /** What it was made with. */
  readonly profile: PluginProfile;
  /** Exported functions that cannot be tools, each with its reason. */
  readonly unmapped: readonly Unmapped[];
  /** `/http/ID/` when it has a handler that is to be served, else null. */
  readonly httpRoute: string | null;
  readonly #tools: readonly MovableTool[];
  #component: LoadedComponent;

  constructor(profile: PluginProfile, component: LoadedComponent) {
    this.profile = profile;
    this.id = profile.id;
    this.version = profile.version;
    this.description = profile.description;
    this.prefix = profile.prefix;
    this.limits = profile.limits;
    this.isolation = profile.isolation;
    this.grants = profile.grants;
    this.config = profile.config;
    this.#component = component;
    const { tools, unmapped } = deriveTools(component.wit, component.functions, profile.prefix);
    this.#tools = tools
      .map((tool) => ({ ...tool, plugin: this, ...requirements(tool, profile, component) }))
      .sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
    this.unmapped = unmapped;
    this.httpRoute = profile.http && component.http ? `/http/${profile.id}/` : null;
  }

  /** Sorted by name; the same objects for as long as the plugin is loaded. */
  get tools(): readonly RegisteredTool[] {
    return this.#tools;
  }

  /** Read it for each call: it changes when the plugin moves to another engine. */
  get component(): LoadedComponent {
    return this.#component;
  }

  /**
   * Puts the same component, loaded by another engine, in the place of the present one. New calls
   * go to the new one at once; the caller unloads the old one, which waits for the running calls.
   * @returns the component that was there
   * @throws AtollError component: it is another component, so tools and routes would not fit
   */
  swap(component: LoadedComponent): LoadedComponent {
    const before = this.#component;
    const { tools } = deriveTools(component.wit, component.functions, this.prefix);
    const indices = new Map(tools.map((tool) => [tool.name, tool.functionIndex]));
    const same = component.digest === before.digest && component.http === before.http &&
      indices.size === this.#tools.length && this.#tools.every(({ name }) => indices.has(name));
    if (!same) {
      throw new AtollError(
        "component",
        `Cannot move plugin "${this.id}" to the ${component.engine} engine: ` +
          "it is not the component that is running",
        { plugin: this.id },
      );
    }
    // Engines may list functions in another order. Both changes happen in one turn of the event
    // loop, so that no call sees an index of one component and calls the other.
    for (const tool of this.#tools) tool.functionIndex = indices.get(tool.name) ?? -1;
    this.#component = component;
    return before;
  }
}

function requirements(
  tool: Tool,
  profile: PluginProfile,
  component: LoadedComponent,
): Pick<RegisteredTool, "requiredClientCapabilities"> {
  const name = component.functions[tool.functionIndex]?.name ?? "";
  if (!Object.hasOwn(profile.clientCapabilities, name)) return {};
  return { requiredClientCapabilities: profile.clientCapabilities[name] ?? [] };
}

export interface LoadOptions {
  readonly sandbox: Sandbox;
  readonly config: Config;
  /** One line while it is being built. */
  readonly onProgress?: (line: string) => void;
  /** Ends the building. */
  readonly signal?: AbortSignal;
  /** Told the component's binary, for whoever loads the same one on another engine. */
  readonly onBytes?: (bytes: Uint8Array) => void;
  readonly listeners?: GuestListeners;
}

/** Who is told what a plugin's guests do; each gets the plugin's id. */
export interface GuestListeners {
  /** Each line that the guest writes. */
  readonly onLog?: (plugin: string, line: GuestLog) => void;
  /** What it asks for and is denied. */
  readonly onAccess?: (plugin: string, account: AccessAccount) => void;
  /** Whether `onAccess` is told what is allowed, too. */
  readonly observe?: boolean;
}

/**
 * Builds a plugin where needed, loads its component, derives its tools.
 * @throws AtollError build, component, manifest, io, cancelled
 */
export async function loadPlugin(found: FoundPlugin, options: LoadOptions): Promise<Plugin> {
  const { sandbox, config, listeners } = options;
  const bytes = await componentOf(found, {
    cacheDir: config.cacheDir,
    signal: options.signal,
    ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
  });
  options.onBytes?.(bytes);
  const profile = profileOf(found, config);
  const component = await loadComponent(sandbox, profile, bytes, listeners);
  try {
    return new Plugin(profile, component);
  } catch (thrown) {
    await component.unload();
    throw thrown;
  }
}

/** Loads the bytes of a plugin's component; also used to move a plugin to another engine. */
export async function loadComponent(
  sandbox: Sandbox,
  profile: Pick<PluginProfile, "id" | "limits" | "isolation" | "grants" | "config">,
  bytes: Uint8Array,
  listeners: GuestListeners = {},
): Promise<LoadedComponent> {
  const { id, limits, isolation, config } = profile;
  return await sandbox.load({
    id,
    bytes,
    limits,
    isolation,
    grants: withSecrets(id, profile.grants),
    config,
    ...listenersFor(id, listeners),
  });
}

/** The listeners for one plugin, as an engine takes them. */
export function listenersFor(
  id: string,
  { onLog, onAccess, observe = false }: GuestListeners,
): Pick<ComponentSpec, "onLog" | "onAccess" | "observe"> {
  return {
    observe,
    ...(onLog === undefined ? {} : { onLog: (line: GuestLog) => onLog(id, line) }),
    ...(onAccess === undefined
      ? {}
      : { onAccess: (account: AccessAccount) => onAccess(id, account) }),
  };
}
