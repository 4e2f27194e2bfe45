/**
 * The schema of limits, with and without defaults: the configuration has one for every plugin,
 * a manifest and a plugin's settings may change single ones.
 *
 * Owns: what may be written for each limit and its description. The names, units and defaults are
 * those of `src/core/limits.ts`.
 */
import * as v from "valibot";
import { DEFAULT_LIMITS, type Limits } from "../core/limits.ts";

/** A whole number of at least `minimum`, with a description for editors. */
export function count(minimum: number, description: string, maximum = Number.MAX_SAFE_INTEGER) {
  return v.pipe(
    v.number(),
    v.integer(),
    v.minValue(minimum),
    v.maxValue(maximum),
    v.description(description),
  );
}

/** The most of a 32-bit address space, which is all that one linear memory can have. */
const LARGEST_MEMORY = 4 * 1024 * 1024 * 1024;
/** An hour; a call that needs longer is no call. The wire carries 32 bits of microseconds (71 min). */
const LONGEST_MS = 60 * 60 * 1000;
/** The core counts waiting calls in 24 bits. */
const LONGEST_QUEUE = 0xffffff;

/** Above it a limit is none: a call takes longer than a millionth of a second. */
const HIGHEST_RATE = 1_000_000;

const entries = {
  memoryBytes: count(
    65_536,
    "Linear memory of all memories of the instance, in bytes.",
    LARGEST_MEMORY,
  ),
  cpuMs: count(1, "CPU time of the guest, in milliseconds.", LONGEST_MS),
  wallMs: count(
    1,
    "Time from the request to its reply, host calls and queueing included, in milliseconds.",
    LONGEST_MS,
  ),
  outputBytes: count(
    1,
    "Result of one tool call, in bytes. Streamed HTTP bodies do not count. With the native engine a quarter of native.arena.bytes and 32 MiB at most.",
    1024 * 1024 * 1024,
  ),
  logBytes: count(
    0,
    "All that a call says, in bytes: standard output and error, wasi:logging, progress; a line counts as 16 at least.",
  ),
  tableElements: count(0, "Elements of all tables of the instance.", 10_000_000),
  instances: count(
    1,
    "Core instances of one component instance; as many memories, twice as many tables.",
    10_000,
  ),
  resources: count(0, "Resource handles that the guest may hold.", 1_000_000),
  fieldBytes: count(
    0,
    "HTTP header fields of one message, names and values, in bytes; of all messages that a call makes together, eight times as much.",
  ),
  egressBytes: count(
    0,
    "What HTTP requests of one call send and receive together, in bytes; TLS's own not counted.",
  ),
  connections: count(
    0,
    "Connections that one call has open at once; of the plugin's as many rest between calls.",
    1_000,
  ),
  concurrency: count(
    1,
    "Calls of one plugin that run at once. One of a component made of several programs counts as several.",
    100_000,
  ),
  queue: count(
    0,
    "Calls that wait for one of those places; more are refused as overloaded.",
    LONGEST_QUEUE,
  ),
  requestsPerSecond: count(
    0,
    "Calls of one plugin a second, and as many at once after a quiet second; more are refused. 0: any number.",
    HIGHEST_RATE,
  ),
  pluginMemoryBytes: count(
    0,
    "Linear memory over all instances of one plugin, those at rest too, in bytes. 0: any amount.",
  ),
} satisfies Record<keyof Limits, unknown>;

/** Single limits, none of them required. */
export const partialLimitsSchema = v.strictObject({
  memoryBytes: v.exactOptional(entries.memoryBytes),
  cpuMs: v.exactOptional(entries.cpuMs),
  wallMs: v.exactOptional(entries.wallMs),
  outputBytes: v.exactOptional(entries.outputBytes),
  logBytes: v.exactOptional(entries.logBytes),
  tableElements: v.exactOptional(entries.tableElements),
  instances: v.exactOptional(entries.instances),
  resources: v.exactOptional(entries.resources),
  fieldBytes: v.exactOptional(entries.fieldBytes),
  egressBytes: v.exactOptional(entries.egressBytes),
  connections: v.exactOptional(entries.connections),
  concurrency: v.exactOptional(entries.concurrency),
  queue: v.exactOptional(entries.queue),
  requestsPerSecond: v.exactOptional(entries.requestsPerSecond),
  pluginMemoryBytes: v.exactOptional(entries.pluginMemoryBytes),
});

/** All limits; what is absent has the default of `src/core/limits.ts`. */
export const limitsSchema = v.strictObject({
  memoryBytes: v.optional(entries.memoryBytes, DEFAULT_LIMITS.memoryBytes),
  cpuMs: v.optional(entries.cpuMs, DEFAULT_LIMITS.cpuMs),
  wallMs: v.optional(entries.wallMs, DEFAULT_LIMITS.wallMs),
  outputBytes: v.optional(entries.outputBytes, DEFAULT_LIMITS.outputBytes),
  logBytes: v.optional(entries.logBytes, DEFAULT_LIMITS.logBytes),
  tableElements: v.optional(entries.tableElements, DEFAULT_LIMITS.tableElements),
  instances: v.optional(entries.instances, DEFAULT_LIMITS.instances),
  resources: v.optional(entries.resources, DEFAULT_LIMITS.resources),
  fieldBytes: v.optional(entries.fieldBytes, DEFAULT_LIMITS.fieldBytes),
  egressBytes: v.optional(entries.egressBytes, DEFAULT_LIMITS.egressBytes),
  connections: v.optional(entries.connections, DEFAULT_LIMITS.connections),
  concurrency: v.optional(entries.concurrency, DEFAULT_LIMITS.concurrency),
  queue: v.optional(entries.queue, DEFAULT_LIMITS.queue),
  requestsPerSecond: v.optional(entries.requestsPerSecond, DEFAULT_LIMITS.requestsPerSecond),
  pluginMemoryBytes: v.optional(entries.pluginMemoryBytes, DEFAULT_LIMITS.pluginMemoryBytes),
});
