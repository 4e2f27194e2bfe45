/**
 * What guests write and are denied, as lines of the log.
 *
 * Owns: which of Atoll's levels each of the guest's is, and what stands beside the text.
 */
import { denialText } from "../core/access.ts";
import type { GuestListeners } from "../plugins/plugin.ts";
import type { GuestLevel, GuestLog } from "../sandbox/sandbox.ts";
import type { Logger, WrittenLevel } from "../telemetry/log.ts";
import type { Learning } from "./learning.ts";

const LEVELS: Readonly<Record<GuestLevel, WrittenLevel>> = {
  trace: "debug",
  debug: "debug",
  info: "info",
  warn: "warn",
  error: "error",
  critical: "error",
};

/** Nobody where nothing would be written: a guest's flood then costs the host nothing. */
export function guestListeners(log: Logger, learning?: Learning): GuestListeners {
  if (!log.enabled("error") && learning === undefined) return {};
  return {
    onLog: (plugin, line) => writeGuestLine(log, plugin, line),
    onAccess: (plugin, account) => {
      learning?.note(plugin, account);
      if (!account.allowed) log.warn(denialText(plugin, account), { plugin });
    },
    observe: learning !== undefined,
  };
}

/** Writes it with the plugin's name, and what the guest said that Atoll's own level does not tell. */
export function writeGuestLine(log: Logger, plugin: string, line: GuestLog): void {
  const { level, context, lost, traceId } = line;
  const written = LEVELS[level];
  log[written](line.text, {
    plugin,
    stream: line.stream,
    ...(level === written ? {} : { guestLevel: level }),
    ...(context === undefined ? {} : { context }),
    ...(lost > 0 ? { lost } : {}),
    ...(traceId === undefined ? {} : { traceId }),
  });
}
