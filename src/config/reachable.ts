/**
 * Limits that can never be reached, because another one comes first.
 *
 * Owns: which limits bound each other. Must not know this machine nor what plugins there are.
 */
import type { Limits } from "../core/limits.ts";
import type { Config } from "./schema.ts";

/** Elements of one table in the native engine's pool (`native/sandbox/src/config.rs`). */
const POOL_TABLE_ELEMENTS = 100_000;

/**
 * A sentence for each.
 * @param instances what the native engine has room for; null: it is not the one that runs
 */
export function unreachableLimits(config: Config, instances: number | null): string[] {
  const all = sentences("limits", config.limits, config, instances);
  const each = Object.entries(config.pluginSettings).flatMap(([id, settings]) => {
    if (settings.limits === undefined) return [];
    const limits = { ...config.limits, ...settings.limits };
    return sentences(`pluginSettings.${id}.limits`, limits, config, instances);
  });
  const general = new Set(all.map(({ what }) => what));
  // What holds for every plugin is said once.
  return [...all, ...each.filter(({ what }) => !general.has(what))].map(({ text }) => text);
}

interface Unreachable {
  /** The same for the same reason, whoever's limits they are. */
  readonly what: string;
  readonly text: string;
}

function sentences(
  place: string,
  limits: Limits,
  { native }: Config,
  instances: number | null,
): Unreachable[] {
  const found: Unreachable[] = [];
  const check = (key: keyof Limits, value: number, most: number, bound: string) => {
    if (value <= most) return;
    const what = `${key} ${value} ${bound}`;
    found.push({ what, text: `${place}.${key} is ${value}, but ${bound} of ${most} comes first` });
  };
  const { concurrency, queue, memoryBytes, pluginMemoryBytes, tableElements } = limits;
  if (pluginMemoryBytes > 0) {
    check("memoryBytes", memoryBytes, pluginMemoryBytes, "pluginMemoryBytes");
  }
  if (instances === null) return found;
  check("concurrency", concurrency, instances, "the number of instances (native.instances)");
  check("queue", queue, native.callsMax - 1, "the number of calls (native.callsMax)");
  check("tableElements", tableElements, POOL_TABLE_ELEMENTS, "the size of a table in the pool");
  return found;
}
