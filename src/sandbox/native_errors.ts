/**
 * What a native status means to the rest of Atoll.
 *
 * Owns: the translation of statuses and their payloads into AtollError. Must not know calls.
 */
import { AtollError, type ErrorCode, type ErrorData } from "../core/errors.ts";
import { errorFromReply, NativeError } from "../../ffi/errors.ts";
import { STATUS, type StatusCode } from "../../ffi/abi.gen.ts";
import type { Limits } from "../core/limits.ts";
import { queueError, rateError } from "./limit_error.ts";

/** Seconds after which a full queue is worth another try. */
const RETRY_AFTER_SECONDS = 1;

const CODES: Readonly<Record<StatusCode, ErrorCode>> = {
  ok: "internal",
  pending: "internal",
  tool_error: "internal",
  invalid_argument: "invalid_argument",
  invalid_frame: "internal",
  // Targets vanish with their component only.
  not_found: "closed",
  overloaded: "overloaded",
  rate_limited: "rate_limited",
  deadline: "deadline",
  cancelled: "cancelled",
  limit: "limit",
  trap: "trap",
  panic: "panic",
  // What no arena of that size could hold is refused as a limit: this one is full at the moment.
  no_memory: "overloaded",
  component: "component",
  unsupported: "unsupported",
  io: "io",
  closed: "closed",
  would_block: "internal",
  denied: "denied",
  version: "version",
};

/**
 * The error for a reply that is neither OK nor the guest's own error.
 * @param limits of the plugin: a call that the core refuses comes back without them
 */
export function errorOfReply(
  plugin: string,
  limits: Limits,
  reply: { readonly status: number; readonly text: string; readonly elapsedUs: number },
): AtollError {
  if (reply.status === STATUS.RATE_LIMITED) return rateError(limits, plugin);
  // The core's own words; an engine answers with JSON.
  if (reply.status === STATUS.OVERLOADED && reply.text.startsWith("Cannot submit")) {
    return reply.text.includes("native.callsMax")
      ? new AtollError("overloaded", "as many calls are in flight as may be (native.callsMax)", {
        limit: "calls",
        key: "native.callsMax",
        retryAfterSeconds: RETRY_AFTER_SECONDS,
        plugin,
      })
      : queueError(limits, plugin);
  }
  return fromNative(errorFromReply(reply.status, reply.text, reply.elapsedUs), plugin);
}

/** The error of a load: it names the plugin, as other refusals of a component do. */
export function loadError(thrown: unknown, plugin: string): AtollError {
  const { code, message, data, cause } = fromNative(thrown, plugin);
  const start = `Cannot load plugin "${plugin}"`;
  const named = message.startsWith(start) ? message : `${start}: ${message}`;
  return new AtollError(code, named, data, { cause: cause ?? thrown });
}

/** Anything thrown by `ffi/` as an AtollError; other errors as they are. */
export function fromNative(thrown: unknown, plugin?: string): AtollError {
  if (thrown instanceof AtollError) return thrown;
  if (!(thrown instanceof NativeError)) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new AtollError("internal", message, {}, { cause: thrown });
  }
  const { bytesMax, ...data } = thrown.data;
  // The one argument that is refused for its size is the whole message.
  const code = bytesMax !== undefined ? "too_large" : CODES[thrown.code];
  return new AtollError(code, placed(thrown), {
    ...(data as ErrorData),
    ...(plugin === undefined ? {} : { plugin }),
    ...(code === "overloaded" ? { retryAfterSeconds: RETRY_AFTER_SECONDS } : {}),
  }, { cause: thrown });
}

/** `arguments.items[3].price: expected f64, got a string`: where first, then what. */
function placed({ message, data }: NativeError): string {
  const { path } = data;
  return typeof path !== "string" || message.startsWith(path) ? message : `${path}: ${message}`;
}
