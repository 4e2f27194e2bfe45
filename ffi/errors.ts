/**
 * The error of this layer: a native status, its code and what the library said about it.
 *
 * Owns: the shape of a native failure. Must not know the errors of the layers above.
 */
import { STATUS, STATUS_CODES, type StatusCode } from "./abi.gen.ts";

/** A call or an operation that ended with a status other than OK. */
export class NativeError extends Error {
  override readonly name = "NativeError";
  /** The status as a word, as in `invalid_argument`. */
  readonly code: StatusCode;

  /**
   * @param status number of `atoll_status_t`
   * @param data what came with the status, without the message: `path`, `limit`, `key`, …
   */
  constructor(
    readonly status: number,
    message: string,
    readonly data: Readonly<Record<string, unknown>> = {},
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.code = statusCode(status);
  }
}

/** The word for a status; a number from a newer library reads as `panic`, which none recovers from. */
export function statusCode(status: number): StatusCode {
  return (STATUS_CODES as Readonly<Record<number, StatusCode>>)[status] ?? "panic";
}

/**
 * The error for a status and the JSON object that came as its payload. A payload that is no such
 * object, as the core's own refusals have none, gives a message from the status alone.
 */
export function errorFromReply(status: number, payload: string, elapsedUs = 0): NativeError {
  let data: Record<string, unknown> = {};
  if (payload !== "") {
    try {
      const value: unknown = JSON.parse(payload);
      if (value !== null && typeof value === "object" && !Array.isArray(value)) {
        data = { ...value };
      }
    } catch {
      data = { message: payload };
    }
  }
  const { message, ...rest } = data;
  const text = typeof message === "string" && message !== ""
    ? message
    : defaultMessage(status, elapsedUs);
  return new NativeError(status, text, rest);
}

function defaultMessage(status: number, elapsedUs: number): string {
  switch (status) {
    case STATUS.OVERLOADED:
      return "Too many calls: the queue of the plugin or the pool of the engine is full";
    case STATUS.RATE_LIMITED:
      return "Too many calls a second: the plugin takes the next one within a second";
    case STATUS.DEADLINE:
      return `The call ran out of its time budget after ${Math.round(elapsedUs / 1000)} ms`;
    case STATUS.CANCELLED:
      return "The call was cancelled";
    case STATUS.CLOSED:
      return "The engine is closed";
    case STATUS.NOT_FOUND:
      return "The function is gone: its component was unloaded, or its instance dropped";
    case STATUS.NO_MEMORY:
      return "The arena has no room for a message of that size";
    case STATUS.PANIC:
      return "The engine caught a fault of its own while running the call";
    default:
      return `The call ended with status ${statusCode(status)} (${status})`;
  }
}
