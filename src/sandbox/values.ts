/**
 * JSON to and from the values of a transpiled component: what the portable engine does where the
 * native one has `native/sandbox/src/values`. The mapping is the README's "WIT values in JSON".
 *
 * Must not know workers, limits other than the size of an output, or how a component is run.
 */
import { AtollError } from "../core/errors.ts";
import { type Json, JsonError, readJson } from "./argument_json.ts";
import { ArgumentError, decodeArguments } from "./values_decode.ts";
import { encodeResult } from "./values_encode.ts";
import type { WitFunction, WitType } from "./wit/model.ts";

/**
 * Positional arguments for a function from a JSON object of named ones.
 * @throws AtollError invalid_argument, with the path and the type expected there.
 */
export function parseArguments(func: WitFunction, json: string): unknown[] {
  try {
    return decodeArguments(func.params, read(json));
  } catch (thrown) {
    if (!(thrown instanceof ArgumentError)) throw thrown;
    const { path, expected, message } = thrown;
    throw new AtollError(
      "invalid_argument",
      message,
      expected === undefined ? { path } : { path, expected },
    );
  }
}

function read(json: string): Json {
  try {
    return readJson(json);
  } catch (thrown) {
    if (!(thrown instanceof JsonError)) throw thrown;
    const message = thrown.message.startsWith("nested")
      ? thrown.message
      : `malformed JSON: ${thrown.message}`;
    throw new ArgumentError("arguments", "a JSON object", message);
  }
}

/** The two sides of a function's result, its top-level `result` taken off. */
export function resultSides(func: WitFunction): {
  readonly fallible: boolean;
  readonly ok: WitType | null;
  readonly error: WitType | null;
} {
  const { result } = func;
  return result?.kind === "result"
    ? { fallible: true, ok: result.ok, error: result.error }
    : { fallible: false, ok: result, error: null };
}

/**
 * JSON text of one side of a result.
 * @throws OutputTooLarge, ValueMismatch
 */
export function writeValue(type: WitType | null, value: unknown, limit: number): string {
  return encodeResult(type, value, limit);
}
