/**
 * Plugins by id and targets by name, as the library knows them.
 *
 * Owns: reading `atoll_plugin_info_t` and asking for names. Must not know what a plugin is made of.
 */
import { PLUGIN_INFO, PLUGIN_INFO_SIZE, STATUS } from "./abi.gen.ts";
import { bytesArgument, check, type NativeSymbols, outArgument } from "./library.ts";

/** A plugin that some isolate of this process has loaded. */
export interface PluginInfo {
  /** For `findTarget`; another number after each load. */
  readonly plugin: number;
  /** Grows from load to load over all plugins. */
  readonly generation: number;
  /** How many exports have a name. */
  readonly exports: number;
  /** Calls running and waiting at once. */
  readonly concurrencyMax: number;
  readonly queueMax: number;
  /** Deadline of a call that names none, in microseconds; 0: the library's. */
  readonly budgetDefaultUs: number;
}

const encoder = new TextEncoder();

/** @param client the library's number of this isolate's client */
export function findPlugin(
  symbols: NativeSymbols,
  client: number,
  id: string,
): PluginInfo | null {
  const bytes = encoder.encode(id);
  const out = outArgument(PLUGIN_INFO_SIZE);
  const status = symbols.atoll_plugin_find(client, bytesArgument(bytes), bytes.length, out);
  if (status === STATUS.NOT_FOUND) return null;
  check(symbols, status, `Cannot find plugin "${id}"`);
  const view = new DataView(out.buffer);
  const field = (offset: number): number => view.getUint32(offset, true);
  return {
    plugin: field(PLUGIN_INFO.plugin),
    generation: field(PLUGIN_INFO.generation),
    exports: field(PLUGIN_INFO.exports),
    concurrencyMax: field(PLUGIN_INFO.concurrency_max),
    queueMax: field(PLUGIN_INFO.queue_max),
    budgetDefaultUs: field(PLUGIN_INFO.budget_default_us),
  };
}

/** @param name `INTERFACE#NAME`, or `NAME` where that is enough; `wasi:http` is the HTTP handler */
export function findTarget(
  symbols: NativeSymbols,
  client: number,
  plugin: number,
  name: string,
): number | null {
  const bytes = encoder.encode(name);
  const out = outArgument(4);
  const argument = bytesArgument(bytes);
  const status = symbols.atoll_target_find(client, plugin, argument, bytes.length, out);
  if (status === STATUS.NOT_FOUND) return null;
  check(symbols, status, `Cannot find "${name}"`);
  return new DataView(out.buffer).getUint32(0, true);
}
