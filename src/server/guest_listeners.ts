/** What guests write and are denied, as lines of the log. */
import { denialText } from "../core/access.ts";
import type { GuestListeners } from "../plugins/plugin.ts";
import type { Logger } from "../telemetry/log.ts";

/** Nobody where nothing would be written: a guest's flood then costs the host nothing. */
export function guestListeners(log: Logger): GuestListeners {
  if (!log.enabled("warn")) return {};
  return {
    onLog: (plugin, line) => {
      const fields = {
        plugin,
        stream: line.stream,
        ...(line.lost > 0 ? { lost: line.lost } : {}),
        ...(line.traceId === undefined ? {} : { traceId: line.traceId }),
      };
      if (line.stream === "stderr") log.warn(line.text, fields);
      else log.info(line.text, fields);
    },
    onAccess: (plugin, account) => log.warn(denialText(plugin, account), { plugin }),
  };
}
