/**
 * Payloads in MessagePack, by msgpackr.
 *
 * Owns: which values need it, and how they are written. Must not know frames. JSON is as quick for
 * text and numbers, and quicker to read; bytes are what it has no place for.
 */
import { Packr } from "msgpackr/pack";

/** Plain maps: the extension for records that msgpackr writes otherwise is its own. */
const OPTIONS = {
  useRecords: false,
  variableMapSize: true,
  // As JSON.stringify does: left out of an object, null in an array. The types lack the first.
  skipValues: [undefined],
  encodeUndefinedAsNil: true,
};

const packr = new Packr(OPTIONS);

/**
 * Whether a value holds bytes or a bigint, which JSON has no form for. A walk of its own: one that
 * also copied, for `pack` to go on with, takes a third longer for the many values without either.
 */
export function needsPacking(value: unknown): boolean {
  if (typeof value === "bigint") return true;
  if (typeof value !== "object" || value === null) return false;
  if (value instanceof Uint8Array) return true;
  if (Array.isArray(value)) return value.some(needsPacking);
  for (const key in value) {
    if (needsPacking((value as Record<string, unknown>)[key])) return true;
  }
  return false;
}

/**
 * A value in MessagePack: text as `str`, bytes as `bin`, objects as maps. A copy of its own.
 * @throws TypeError bytes in another form than a Uint8Array
 */
export function pack(value: unknown): Uint8Array {
  return packr.pack(plain(value));
}

/**
 * The value as JSON.stringify sees it, but for bytes and big integers. msgpackr has forms of its own
 * for dates, maps and errors, and of a view it writes as many elements as there are bytes: what lies
 * behind them in its buffer would be sent as well.
 */
function plain(value: unknown): unknown {
  if (typeof value === "function" || typeof value === "symbol") return undefined;
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    throw new TypeError(`Cannot send a ${value.constructor.name}: bytes are given as a Uint8Array`);
  }
  if ("toJSON" in value && typeof value.toJSON === "function") return plain(value.toJSON());
  if (Array.isArray(value)) return value.map(plain);
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, plain(field)]));
}
