/** Configuration and logger of a command, from its flags. */
import { type ConfigFlags, loadConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { createLogger, type Logger } from "../telemetry/log.ts";
import type { CommandContext } from "./run.ts";

/** @throws AtollError config */
export function settingsOf(context: CommandContext): { config: Config; log: Logger } {
  const { config, warnings } = loadConfig({
    cwd: context.cwd,
    environment: context.environment,
    flags: flagsOf(context),
  });
  const log = createLogger(config.log);
  for (const warning of warnings) log.warn(warning);
  return { config, log };
}

function flagsOf({ flags }: CommandContext): ConfigFlags {
  const given: { -readonly [Key in keyof ConfigFlags]: ConfigFlags[Key] } = {};
  const set = (key: Exclude<keyof ConfigFlags, "plugins">, name: string) => {
    const text = flags.text(name);
    if (text !== undefined) given[key] = text;
  };
  set("config", "config");
  set("host", "host");
  set("port", "port");
  set("workers", "workers");
  set("engine", "engine");
  set("logLevel", "log-level");
  const plugins = flags.texts("plugins");
  if (plugins !== undefined) given.plugins = plugins;
  return given;
}
