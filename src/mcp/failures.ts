/**
 * Answers that are no results: what a request is refused with, in which words.
 *
 * Owns: their texts. Must not know transports, nor when a request is refused.
 */
import { type Fields, isObject, type RequestId } from "./envelope.ts";
import {
  httpStatus,
  INVALID_PARAMS,
  MISSING_CLIENT_CAPABILITY,
  NOT_SERVED,
  UNSUPPORTED_PROTOCOL_VERSION,
} from "./errors.ts";
import { errorText } from "./render.ts";
import type { Revision } from "./revisions.ts";

/** Seconds after which a plugin that is being built may be there. */
const BUILD_RETRY_SECONDS = 5;

/** An answer that is not an ordinary result. */
export interface Failure {
  readonly text: string;
  readonly httpStatus: number;
  /** Seconds after which another try makes sense. */
  readonly retryAfterSeconds?: number;
}

/** The refusal of a revision that is not spoken on a transport. */
export function unsupportedVersion(
  id: RequestId | null,
  requested: string,
  revisions: readonly Revision[],
): Failure {
  const supported = revisions.map((revision) => revision.name);
  const text = errorText(
    id,
    UNSUPPORTED_PROTOCOL_VERSION,
    `Unsupported protocol version: ${requested}; supported are ${supported.join(", ")}`,
    { supported, requested },
  );
  return { text, httpStatus: 400 };
}

/** The answer while a plugin that may have the tool is still being built or loaded. */
export function stillStarting(id: RequestId, name: string, pending: readonly string[]): Failure {
  const message = `Tool ${shortened(name)} is not there yet: still building ${pending.join(", ")}`;
  const data = { reason: "starting", pending, retryAfterSeconds: BUILD_RETRY_SECONDS };
  return {
    text: errorText(id, NOT_SERVED, message, data),
    httpStatus: 200,
    retryAfterSeconds: BUILD_RETRY_SECONDS,
  };
}

/** A name that a client made up, short enough for a message. */
export function shortened(name: string): string {
  return name.length > 128 ? `${name.slice(0, 128)}…` : name;
}

/** Parameters that are not what the method takes. */
export function invalidParams(id: RequestId, message: string): Failure {
  return { text: errorText(id, INVALID_PARAMS, message), httpStatus: 200 };
}

/** A log level that is none. */
export function invalidLevel(id: RequestId, level: unknown): Failure {
  return invalidParams(id, `${JSON.stringify(level)} is no log level of RFC 5424`);
}

/** A cursor that was never given out. */
export function badCursor(id: RequestId): Failure {
  return invalidParams(id, "params.cursor is not a cursor of this server");
}

/** The refusal of a call whose tool needs what the client did not declare, or null. */
export function missingCapability(
  id: RequestId,
  tool: string,
  required: readonly string[],
  declared: Fields | null,
  revision: Revision,
): Failure | null {
  const missing = required.filter((name) =>
    declared === null || !Object.hasOwn(declared, name) || !isObject(declared[name])
  );
  if (missing.length === 0) return null;
  const message = `Tool ${tool} needs client capabilities that were not declared: ` +
    missing.join(", ");
  // The code exists since 2026-07-28.
  const code = revision.modern ? MISSING_CLIENT_CAPABILITY : INVALID_PARAMS;
  const requiredCapabilities = Object.fromEntries(missing.map((name) => [name, {}]));
  return {
    text: errorText(id, code, message, { requiredCapabilities }),
    httpStatus: httpStatus(code, revision),
  };
}
