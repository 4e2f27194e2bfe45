/**
 * What of the configuration has to fit a message between JavaScript and the native engine.
 *
 * Owns: how long a message may be for a size of the arena, and which settings that bounds. A limit of
 * a plugin's own manifest is not among them: the call whose result is too long ends with `limit`.
 */
import { CHUNK_BYTES_MAX, FRAME_BYTES, PARTS_MAX } from "../../ffi/abi.gen.ts";
import type { Finding } from "./issues.ts";
import type { Config } from "./schema.ts";

const UNIT_BYTES = CHUNK_BYTES_MAX + FRAME_BYTES;
/** A message has this part of the arena at most. */
const PART = 4;
/** And this much, however large the arena is. */
const MESSAGE_BYTES_MAX = PARTS_MAX * UNIT_BYTES;

/** Bytes of the longest message, its header included, as `native/core/src/extent.c` has it. */
export function messageBytesMax(arenaBytes: number): number {
  const units = Math.floor(arenaBytes / UNIT_BYTES);
  return Math.min(Math.floor(units / PART) * UNIT_BYTES, MESSAGE_BYTES_MAX);
}

/** Whether somebody wrote a value for a key. */
export type IsSet = (path: readonly string[]) => boolean;

/**
 * A setting that promises what no message can hold, or null. The 32 bytes of a frame's header are let
 * pass, so that one rule fits all: a request's arguments are shorter by what is around them in its
 * body, and a result that is too long by less than a header ends with `limit` as longer ones do.
 */
export function tooLongForMessages(config: Config, isSet: IsSet): Finding | null {
  if (config.engine === "portable") return null;
  const most = messageBytesMax(config.native.arena.bytes);
  const plugins = Object.entries(config.pluginSettings).map(([id, { limits }]) =>
    [["pluginSettings", id, "limits", "outputBytes"], limits?.outputBytes] as const
  );
  const settings: (readonly [path: readonly string[], bytes: number | undefined])[] = [
    [["http", "bodyBytes"], config.http.bodyBytes],
    [["limits", "outputBytes"], config.limits.outputBytes],
    ...plugins,
  ];
  for (const [path, bytes] of settings) {
    if (bytes === undefined || bytes <= most || !isSet(path)) continue;
    const expected = `at most ${most}`;
    const enough = Math.ceil(bytes / UNIT_BYTES) * UNIT_BYTES * PART;
    const remedy = bytes > MESSAGE_BYTES_MAX
      ? "lower it, or set engine to portable"
      : `lower it, or set native.arena.bytes to ${enough} or more`;
    const reason = `expected ${expected}, got the number ${bytes}: a message holds a quarter of ` +
      `native.arena.bytes, ${config.native.arena.bytes}, and 32 MiB at most; ${remedy}`;
    return { path, kind: "value", expected, reason };
  }
  return null;
}

/** The largest body of a request where nobody wrote one: no more than a message holds. */
export function defaultBodyBytes(config: Config): number {
  if (config.engine === "portable") return config.http.bodyBytes;
  return Math.min(config.http.bodyBytes, messageBytesMax(config.native.arena.bytes));
}
