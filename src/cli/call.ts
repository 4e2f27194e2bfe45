/**
 * `atoll call TOOL JSON`: one call, without a server.
 *
 * Owns: finding the plugin without loading the others, and the printed result.
 */
import { readFileSync } from "node:fs";
import type { Config } from "../config/schema.ts";
import { denialText } from "../core/access.ts";
import { AtollError } from "../core/errors.ts";
import { scanJson } from "../core/json_text.ts";
import { nearest } from "../core/nearest.ts";
import { discover, type FoundPlugin } from "../plugins/discovery.ts";
import { loadPlugin, profileOf, type RegisteredTool } from "../plugins/plugin.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { openEngine } from "../server/engines.ts";
import { writeGuestLine } from "../server/guest_listeners.ts";
import type { Logger } from "../telemetry/log.ts";
import { UsageError } from "./args.ts";
import { EXIT } from "./output.ts";
import type { CommandContext } from "./run.ts";
import { settingsOf } from "./settings.ts";

/** @throws AtollError whatever a call can end with, unknown_tool; UsageError */
export async function call(context: CommandContext): Promise<number> {
  const [name = "", given = "{}"] = context.operands;
  const argumentsJson = readArguments(given);
  const { config, log } = settingsOf(context);
  const candidates = candidatesFor(name, config);
  const sandbox = await openEngine(config, log);
  try {
    const tool = await findTool(name, candidates, { sandbox, config, log });
    const { component } = tool.plugin;
    const started = performance.now();
    const outcome = await component.call(tool.functionIndex, argumentsJson);
    const ms = Math.round((performance.now() - started) * 1000) / 1000;
    const failed = outcome.kind === "error";
    if (context.flags.has("json")) {
      const head = JSON.stringify({ tool: name, engine: component.engine, ms, isError: failed });
      // The result is JSON text already, and stays as the component gave it.
      context.output.out(`${head.slice(0, -1)},"result":${outcome.json}}\n`);
    } else {
      context.output.out(`${JSON.stringify(JSON.parse(outcome.json), null, 2)}\n`);
      if (failed) context.output.err(`atoll: tool ${name} answered with an error\n`);
    }
    return failed ? EXIT.failed : EXIT.ok;
  } finally {
    await sandbox.close();
  }
}

/** @throws UsageError: not JSON, with the place; not an object */
function readArguments(given: string): string {
  const text = given === "-" ? readFileSync(0, "utf8") : given;
  const scan = scanJson(text);
  if (!scan.ok) {
    const { line, column } = scan.position;
    throw new UsageError(
      `Cannot read arguments: line ${line}, column ${column}: ${scan.message}`,
      "call",
    );
  }
  if (typeof scan.value !== "object" || scan.value === null || Array.isArray(scan.value)) {
    throw new UsageError("Cannot read arguments: expected a JSON object of named values", "call");
  }
  return text;
}

/**
 * Plugins whose prefix the tool's name can have, the longest prefix first. Those without a prefix
 * may have any tool, and come last.
 */
function candidatesFor(name: string, config: Config): FoundPlugin[] {
  const { found, broken } = discover(config.plugins);
  const enabled = found.filter((plugin) => config.pluginSettings[plugin.id]?.enabled !== false);
  const prefixed = enabled.map((plugin) => ({ plugin, prefix: profileOf(plugin, config).prefix }));
  const fitting = prefixed
    .filter(({ prefix }) => prefix === null || name.startsWith(`${prefix}_`))
    .sort((a, b) => (b.prefix?.length ?? 0) - (a.prefix?.length ?? 0));
  if (fitting.length > 0) return fitting.map(({ plugin }) => plugin);

  const [first] = broken;
  if (first !== undefined && name.startsWith(`${first.id.replaceAll("-", "_")}_`)) {
    throw first.error;
  }
  const prefixes = prefixed.map(({ prefix }) => prefix).filter((prefix) => prefix !== null);
  const head = name.split("_")[0] ?? name;
  const near = nearest(head, prefixes);
  const known = prefixes.map((prefix) => `${prefix}_…`).join(", ");
  throw new AtollError(
    "unknown_tool",
    `Cannot call "${name}": no plugin has such a tool; ` +
      (near !== null && head !== name
        ? `did you mean ${near}${name.slice(head.length)}?`
        : known === ""
        ? "there are no plugins"
        : `there are ${known}`),
    near === null ? {} : { nearest: near },
  );
}

async function findTool(
  name: string,
  candidates: readonly FoundPlugin[],
  by: { sandbox: Sandbox; config: Config; log: Logger },
): Promise<RegisteredTool> {
  const names: string[] = [];
  let failure: unknown = null;
  for (const candidate of candidates) {
    try {
      const plugin = await loadPlugin(candidate, {
        sandbox: by.sandbox,
        config: by.config,
        onProgress: (line) => by.log.info(line),
        listeners: {
          onLog: (id, line) => writeGuestLine(by.log, id, line),
          onAccess: (id, account) => by.log.warn(denialText(id, account)),
        },
      });
      const tool = plugin.tools.find((known) => known.name === name);
      if (tool !== undefined) return tool;
      names.push(...plugin.tools.map((known) => known.name));
      await plugin.component.unload();
    } catch (thrown) {
      failure ??= thrown;
    }
  }
  // The tool may well be one of the plugin that failed: its error says more than "unknown".
  if (failure !== null) throw failure;
  const near = nearest(name, names);
  throw new AtollError(
    "unknown_tool",
    `Cannot call "${name}": no plugin has such a tool; ` +
      (near === null ? `there are ${names.sort().join(", ") || "none"}` : `did you mean ${near}?`),
    near === null ? {} : { nearest: near },
  );
}
