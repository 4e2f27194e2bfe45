/**
 * The error for a guest that went over a limit, in the words of the native engine.
 */
import { AtollError } from "../core/errors.ts";
import type { Limits } from "../core/limits.ts";

/** Names of limits as an error's `limit` has them. */
export type LimitName =
  | "memory"
  | "cpu"
  | "wall"
  | "stack"
  | "output"
  | "log"
  | "tables"
  | "instances"
  | "resources"
  | "fields";

/** Key of the configuration, what is limited, and its unit. */
const FACTS: Readonly<Record<Exclude<LimitName, "stack">, readonly [keyof Limits, string]>> = {
  memory: ["memoryBytes", "bytes of linear memory"],
  cpu: ["cpuMs", "ms of CPU time"],
  wall: ["wallMs", "ms of wall clock"],
  output: ["outputBytes", "bytes of output"],
  log: ["logBytes", "bytes of log output"],
  tables: ["tableElements", "elements of tables"],
  instances: ["instances", "core instances"],
  resources: ["resources", "resource handles"],
  fields: ["fieldBytes", "bytes of HTTP header fields"],
};

/** The error that names a limit, its value and the key that changes it. */
export function limitError(name: LimitName, limits: Limits, plugin: string): AtollError {
  if (name === "stack") {
    // The stack is the runtime's, so there is no key and no value to name.
    return new AtollError("limit", "the guest exceeded its limit of call stack", {
      limit: name,
      plugin,
    });
  }
  const [key, what] = FACTS[name];
  const value = limits[key];
  return new AtollError(
    "limit",
    `the guest exceeded its limit of ${value} ${what} (limits.${key})`,
    { limit: name, value, key: `limits.${key}`, plugin },
  );
}
