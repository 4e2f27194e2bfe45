/**
 * The configuration: one schema from which come the defaults, the checks, the `ATOLL_*` variables
 * and `atoll.schema.json`.
 *
 * Owns: keys, types, defaults, descriptions. Must not know where values come from (`load.ts`).
 */
import * as v from "valibot";
import { grantsSchema } from "./grants_schema.ts";
import { isolationSchema } from "./isolation_schema.ts";
import { count, limitsSchema, partialLimitsSchema } from "./limits_schema.ts";

/** A plugin's id, as in `plugin.json`. */
export const PLUGIN_ID = /^[a-z][a-z0-9-]{0,63}$/;
/** A prefix of tool names. */
export const TOOL_PREFIX = /^[a-z][a-z0-9_]{0,31}$/;

const text = (description: string) =>
  v.pipe(v.string(), v.nonEmpty("text that is not empty"), v.description(description));

const flag = (description: string) => v.pipe(v.boolean(), v.description(description));

export const pluginIdSchema = v.pipe(
  v.string(),
  v.regex(PLUGIN_ID, "a small letter, then small letters, digits and hyphens, at most 64"),
  v.description("The plugin's id."),
);

export const prefixSchema = v.pipe(
  v.nullable(v.pipe(
    v.string(),
    v.regex(TOOL_PREFIX, "a small letter, then small letters, digits and underscores, at most 32"),
  )),
  v.description("What tool names begin with, before an underscore; null for nothing."),
);

/** A request to the native engine has 64 KiB; the plugin's manifest and settings have this each. */
const PLUGIN_CONFIG_BYTES_MAX = 8 * 1024;

/** Configuration that is the plugin's own: Atoll hands it on. */
export const pluginConfigSchema = v.pipe(
  v.record(
    v.string(),
    v.union(
      [
        v.string(),
        v.number(),
        v.boolean(),
        v.null(),
        v.array(v.unknown()),
        v.record(v.string(), v.unknown()),
      ],
      "a value of JSON",
    ),
  ),
  v.check(
    (config) => new TextEncoder().encode(JSON.stringify(config)).length <= PLUGIN_CONFIG_BYTES_MAX,
    `values of ${PLUGIN_CONFIG_BYTES_MAX} bytes together, as JSON`,
  ),
  v.description(
    "The plugin's own configuration, which it reads by wasi:config as texts; other values come as JSON.",
  ),
);

const pluginSettingsSchema = v.strictObject({
  enabled: v.optional(
    v.pipe(v.boolean(), v.description("False: found, but neither built nor loaded.")),
    true,
  ),
  prefix: v.exactOptional(prefixSchema),
  limits: v.exactOptional(
    v.pipe(partialLimitsSchema, v.description("Limits of this plugin, before its manifest's.")),
  ),
  isolation: v.exactOptional(isolationSchema),
  grants: v.exactOptional(
    v.pipe(grantsSchema, v.description("What the plugin may reach; absent is denied.")),
  ),
  routes: v.exactOptional(v.pipe(
    v.strictObject({
      http: v.exactOptional(
        v.pipe(v.boolean(), v.description("Serve its wasi:http handler under /http/ID/.")),
      ),
    }),
    v.description("Which routes of the plugin are served."),
  )),
  config: v.exactOptional(pluginConfigSchema),
});

const logSchema = v.strictObject({
  level: v.optional(
    v.pipe(
      v.picklist(["debug", "info", "warn", "error", "silent"]),
      v.description("The least important lines that are written."),
    ),
    "info",
  ),
  format: v.optional(
    v.pipe(
      v.picklist(["auto", "text", "json"]),
      v.description(
        "auto: text, coloured on a terminal; text: never coloured; json: one object a line.",
      ),
    ),
    "auto",
  ),
});

/** The library has room for so many isolates, and some to spare. */
const WORKERS_MAX = 128;

const httpSchema = v.strictObject({
  workers: v.optional(
    count(
      0,
      "JavaScript threads that answer requests, with one native engine; 0: one for each CPU.",
      WORKERS_MAX,
    ),
    1,
  ),
  bodyBytes: v.optional(
    count(
      1,
      "The largest body of an MCP request, in bytes; more is answered with 413. With the native " +
        "engine a quarter of native.arena.bytes and 32 MiB at most.",
    ),
    4 * 1024 * 1024,
  ),
  allowedHosts: v.optional(
    v.pipe(
      v.array(text("A host name, with or without a port.")),
      v.description("Names in the Host header that are served besides loopback ones; `*` for any."),
    ),
    [],
  ),
  allowedOrigins: v.optional(
    v.pipe(
      v.array(text("An origin, as in https://example.org.")),
      v.description(
        "Origins of web pages that may call besides loopback ones; `*` for any. MCP answers carry " +
          "what browsers ask for; on a plugin's routes that is the guest's part.",
      ),
    ),
    [],
  ),
  graceMs: v.optional(
    count(0, "How long running calls may go on after SIGTERM, in milliseconds.", 3_600_000),
    10_000,
  ),
});

const mcpSchema = v.strictObject({
  ttlMs: v.optional(
    count(0, "How long a client may keep lists of tools (2026-07-28), in milliseconds."),
    60_000,
  ),
  pageSize: v.optional(count(1, "Tools in one page of tools/list.", 10_000), 200),
});

const MIB = 1024 * 1024;

const arenaSchema = v.strictObject({
  bytes: v.optional(
    count(
      4 * MIB,
      "Its size in bytes; address space until it is used. A call's arguments, or its result, have " +
        "a quarter of it and 32 MiB at most. Bun copies what is in more than 4 GiB.",
      64 * 1024 * MIB,
    ),
    256 * MIB,
  ),
  huge: v.optional(flag("Huge pages where the system has any, else plain ones."), false),
  prefault: v.optional(flag("Back it with memory at the start, not on first use."), false),
  lock: v.optional(flag("Never swap it out, as far as `ulimit -l` allows."), false),
  numa: v.optional(
    v.pipe(
      v.picklist(["none", "local", "interleave"]),
      v.description("Where it lies on a machine with several memory nodes."),
    ),
    "none",
  ),
});

const nativeSchema = v.strictObject({
  instances: v.exactOptional(
    count(
      1,
      "Component instances that the native engine keeps room for; absent: 1,000, or as many as " +
        "there is address space for. With a number that does not fit it refuses to start.",
      100_000,
    ),
  ),
  workerThreads: v.optional(
    count(0, "Threads for calls that wait or run long; 0: one for each CPU.", 1_024),
    0,
  ),
  callsMax: v.optional(
    count(16, "Calls in flight at once, over all plugins; more are refused.", 65_536),
    16_384,
  ),
  cacheBytes: v.optional(
    count(
      0,
      "Most bytes of compiled components on disk; those that were used least lately go. 0: none.",
    ),
    2 * 1024 * 1024 * 1024,
  ),
  caFile: v.exactOptional(text(
    "Certificates, as PEM, that servers may be signed by besides those of the Web; relative to the " +
      "configuration's file.",
  )),
  arena: v.optional(
    v.pipe(arenaSchema, v.description("The memory of frames; `atoll doctor` shows what was got.")),
    {},
  ),
});

const storageSchema = v.strictObject({
  dir: v.exactOptional(
    text("Where plugins' values are kept; else the user's state directory. Not on a network."),
  ),
});

/** The whole file. Each absent section is filled with its defaults. */
export const configSchema = v.strictObject({
  $schema: v.exactOptional(
    v.pipe(v.string(), v.description("Where this schema is, for editors.")),
  ),
  host: v.optional(text("The address to listen on."), "127.0.0.1"),
  port: v.optional(count(0, "The TCP port to listen on; 0: any that is free.", 65_535), 7420),
  plugins: v.optional(
    v.pipe(
      v.array(text("A .wasm file, a plugin's folder, or a folder of those.")),
      v.description("Where plugins are; in a file, relative to the file."),
    ),
    ["plugins"],
  ),
  engine: v.optional(
    v.pipe(
      v.picklist(["auto", "native", "portable"]),
      v.description(
        "auto: the native engine where it can be had, the portable one until it is there.",
      ),
    ),
    "auto",
  ),
  log: v.optional(v.pipe(logSchema, v.description("Log lines on standard error.")), {}),
  http: v.optional(v.pipe(httpSchema, v.description("The HTTP server.")), {}),
  mcp: v.optional(v.pipe(mcpSchema, v.description("The Model Context Protocol.")), {}),
  limits: v.optional(
    v.pipe(limitsSchema, v.description("Limits of each plugin that has none of its own.")),
    {},
  ),
  pluginSettings: v.optional(
    v.pipe(
      v.record(pluginIdSchema, pluginSettingsSchema),
      v.description("Settings of single plugins by id; they go before the plugin's own manifest."),
    ),
    {},
  ),
  native: v.optional(v.pipe(nativeSchema, v.description("The native engine.")), {}),
  storage: v.optional(v.pipe(storageSchema, v.description("What plugins keep.")), {}),
  cacheDir: v.exactOptional(
    text("Where built and compiled things are kept; else the user's cache directory."),
  ),
});

type Loaded = v.InferOutput<typeof configSchema>;

/** The configuration as the rest of Atoll reads it: complete, paths absolute. */
export type Config = Readonly<Omit<Loaded, "$schema" | "cacheDir" | "storage">> & {
  readonly cacheDir: string;
  readonly storage: { readonly dir: string };
};
/** Settings of one plugin. */
export type PluginSettings = v.InferOutput<typeof pluginSettingsSchema>;
export type LogLevel = Config["log"]["level"];
export type LogFormat = Config["log"]["format"];
