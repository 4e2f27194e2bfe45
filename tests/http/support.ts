/**
 * The HTTP side of the server in this process: real registry, dispatcher, app and listener on a
 * free loopback port, with real components when a test asks for plugins.
 *
 * Owns: putting the parts together for tests. Must not know what the tests ask.
 */
import { loadConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import type { Limits } from "../../src/core/limits.ts";
import { Dispatcher } from "../../src/dispatch/dispatcher.ts";
import { createApp } from "../../src/http/app.ts";
import type { ServerState } from "../../src/http/health.ts";
import { problem, problemOf } from "../../src/http/problem.ts";
import { McpHttpHandler } from "../../src/mcp/http_handler.ts";
import { McpServer } from "../../src/mcp/server.ts";
import { discover } from "../../src/plugins/discovery.ts";
import { loadPlugin } from "../../src/plugins/plugin.ts";
import { Registry } from "../../src/plugins/registry.ts";
import { openPortableSandbox } from "../../src/sandbox/portable.ts";
import type { Sandbox } from "../../src/sandbox/sandbox.ts";
import { listen, type Listener } from "../../src/server/listeners/listener.ts";
import { fixture, fixtureFolder, type PluginName } from "../fixtures/build.ts";

export interface AppSettings {
  /** Plugins to load. */
  readonly plugins?: readonly PluginName[];
  /** What runs them; absent: the portable engine, which is there on every machine. */
  readonly open?: () => Promise<Sandbox>;
  /** Limits for all of them. */
  readonly limits?: Partial<Limits>;
  readonly http?: Partial<Config["http"]>;
  readonly mcp?: Partial<Config["mcp"]>;
}

export interface RunningApp {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly port: number;
  readonly registry: Registry;
  readonly dispatcher: Dispatcher;
  readonly listener: Listener;
  readonly mcp: McpServer;
  readonly logged: { readonly message: string; readonly fields: Record<string, unknown> }[];
  setState(state: ServerState): void;
}

/** Runs a test against the app and takes everything down after it. */
export async function withApp(
  settings: AppSettings,
  body: (app: RunningApp) => Promise<void>,
): Promise<void> {
  const registry = new Registry();
  const open = settings.open ?? (() => openPortableSandbox({}));
  const sandbox = settings.plugins === undefined ? null : await open();
  try {
    const config = configOf(settings);
    for (const name of settings.plugins ?? []) await addPlugin(registry, sandbox, config, name);
    const app = await start(registry, config);
    try {
      await body(app);
    } finally {
      await app.listener.stop(0);
    }
  } finally {
    await sandbox?.close();
  }
}

async function addPlugin(
  registry: Registry,
  sandbox: Sandbox | null,
  config: Config,
  name: PluginName,
): Promise<void> {
  await fixture(name);
  const [found] = discover([fixtureFolder(name)]).found;
  if (found === undefined || sandbox === null) throw new Error(`no plugin "${name}"`);
  registry.add(await loadPlugin(found, { sandbox, config }));
}

function configOf(settings: AppSettings): Config {
  const { config } = loadConfig({ cwd: "/", environment: {}, flags: { plugins: [] } });
  return {
    ...config,
    http: { ...config.http, ...settings.http },
    mcp: { ...config.mcp, ...settings.mcp },
    limits: { ...config.limits, ...settings.limits },
  };
}

async function start(registry: Registry, config: Config): Promise<RunningApp> {
  const dispatcher = new Dispatcher();
  const logged: RunningApp["logged"] = [];
  const log = {
    error: (message: string, fields: Record<string, unknown> = {}) =>
      void logged.push({ message, fields }),
  };
  const info = { name: "atoll", version: "0.0.0-test" };
  const server = new McpServer({ registry, dispatcher, info, log, ...config.mcp });
  const { bodyBytes } = config.http;
  let state: ServerState = "ready";
  const app = createApp({
    origin: { host: "127.0.0.1", ...config.http },
    registry,
    dispatcher,
    mcp: new McpHttpHandler({ server, bodyBytes, refuse: problem }),
    log,
    state: () => state,
  });
  const listener = await listen({
    host: "127.0.0.1",
    port: 0,
    fetch: (request) => app.fetch(request),
    onError: (error) => problemOf(error, log),
  });
  return {
    url: `http://127.0.0.1:${listener.port}`,
    port: listener.port,
    registry,
    dispatcher,
    listener,
    mcp: server,
    logged,
    setState: (next) => void (state = next),
  };
}
