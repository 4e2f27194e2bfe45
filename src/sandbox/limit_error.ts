/**
 * The errors for what went over a limit, a guest or its callers, in the words of the native engine.
 */
import { AtollError } from "../core/errors.ts";
import type { Limits } from "../core/limits.ts";

/** Names of limits as an error's `limit` has them. */
export type LimitName =
  | "memory"
  | "pluginMemory"
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
  pluginMemory: ["pluginMemoryBytes", "bytes of linear memory over all instances"],
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

/** The error for a call that comes before the plugin takes another one. */
export function rateError(limits: Limits, plugin: string): AtollError {
  const value = limits.requestsPerSecond;
  return refusal("rate_limited", {
    plugin,
    limit: "rate",
    value,
    key: "limits.requestsPerSecond",
    reason: `takes ${value} calls a second`,
  });
}

/** The error for a call that finds neither a place to run nor one to wait. */
export function queueError(limits: Limits, plugin: string): AtollError {
  const value = limits.queue;
  return refusal("overloaded", {
    plugin,
    limit: "queue",
    value,
    key: "limits.queue",
    reason: `has ${value} calls waiting`,
  });
}

/** The error for a call of an actor that cannot begin. */
export function actorsError(limits: Limits, plugin: string): AtollError {
  const value = limits.concurrency;
  return refusal("overloaded", {
    plugin,
    limit: "concurrency",
    value,
    key: "limits.concurrency",
    reason: `has as many actors as calls may run at once: ${value}`,
  });
}

/** Seconds after which a refused call is worth another try: a place may come free at any time. */
const RETRY_AFTER_SECONDS = 1;

interface Refusal {
  readonly plugin: string;
  readonly limit: string;
  readonly value: number;
  readonly key: string;
  readonly reason: string;
}

function refusal(code: "rate_limited" | "overloaded", { reason, ...facts }: Refusal): AtollError {
  const message = `plugin "${facts.plugin}" ${reason} (${facts.key})`;
  return new AtollError(code, message, { ...facts, retryAfterSeconds: RETRY_AFTER_SECONDS });
}
