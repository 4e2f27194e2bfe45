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

/** A value that no form of a message has room for, at its path: `arguments.list[2]`. */
export class PackError extends Error {
  override readonly name = "PackError";

  constructor(message: string, readonly path: string) {
    super(message);
  }
}

/**
 * Whether a value holds what JSON has no form for: bytes, a bigint, a number that is not finite. A
 * walk of its own: one that also copied, for `pack` to go on with, takes a third longer for the many
 * values without any.
 */
export function needsPacking(value: unknown): boolean {
  if (typeof value === "number") return !Number.isFinite(value);
  if (typeof value !== "object" || value === null) return typeof value === "bigint";
  if (Array.isArray(value)) return value.some(needsPacking);
  if (ArrayBuffer.isView(value)) return true;
  let empty = true;
  for (const key in value) {
    if (needsPacking((value as Record<string, unknown>)[key])) return true;
    empty = false;
  }
  // Asked last, for it is the dearest question, and a buffer has no keys.
  return empty && value instanceof ArrayBuffer;
}

/**
 * A value in MessagePack: text as `str`, bytes as `bin`, objects as maps. A copy of its own.
 * @param name what the value is called in an error
 * @throws PackError bytes in another form than a Uint8Array, an integer of more than 64 bits
 */
export function pack(value: unknown, name = "arguments"): Uint8Array {
  return packr.pack(plain(value, [name]));
}

/**
 * The value as JSON.stringify sees it, but for what `needsPacking` tells. msgpackr has forms of its
 * own for dates, maps and errors, and of a view it writes as many elements as there are bytes: what
 * lies behind them in its buffer would be sent as well.
 * @param steps keys on the way to the value, the last is its own
 */
function plain(value: unknown, steps: (string | number)[]): unknown {
  if (typeof value === "bigint") return integer(value, steps);
  if (typeof value === "function" || typeof value === "symbol") return undefined;
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    const name = value.constructor.name;
    throw new PackError(`Cannot send a ${name}: bytes are given as a Uint8Array`, pathOf(steps));
  }
  if ("toJSON" in value && typeof value.toJSON === "function") {
    return plain(value.toJSON(String(steps.at(-1))), steps);
  }
  if (value instanceof Number || value instanceof String || value instanceof Boolean) {
    return value.valueOf();
  }
  const at = (key: string | number, field: unknown): unknown => {
    steps.push(key);
    const seen = plain(field, steps);
    steps.pop();
    return seen;
  };
  if (Array.isArray(value)) return value.map((item, i) => at(i, item));
  // Not assigned one by one: a field may be called __proto__.
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, at(key, field)]));
}

function integer(value: bigint, steps: readonly (string | number)[]): bigint {
  if (value >= -(2n ** 63n) && value < 2n ** 64n) return value;
  throw new PackError(`Cannot send ${value}: an integer has 64 bits`, pathOf(steps));
}

/** As the engine writes paths. */
function pathOf([name, ...keys]: readonly (string | number)[]): string {
  const steps = keys.map((key) => {
    if (typeof key === "number") return `[${key}]`;
    return /^[\w-]+$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
  });
  return `${name}${steps.join("")}`;
}
