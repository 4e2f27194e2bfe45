/**
 * The metadata that every request of 2026-07-28 carries in `params._meta`.
 *
 * Owns: its keys and which are required. Must not know transports.
 * Source: "Per-request protocol fields" of the overview, 2026-07-28.
 */
import { type Fields, isObject } from "./envelope.ts";

const PROTOCOL_VERSION = "io.modelcontextprotocol/protocolVersion";
const CLIENT_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities";

/** The version a request declares, or null when it has none: then it is of an older revision. */
export function declaredVersion(params: Fields): string | null {
  const meta = params._meta;
  if (!isObject(meta)) return null;
  const version = meta[PROTOCOL_VERSION];
  return typeof version === "string" ? version : null;
}

/** The capabilities a request declares, or the sentence that says what is missing. */
export function declaredCapabilities(params: Fields): Fields | string {
  const meta = params._meta;
  if (!isObject(meta)) return "params._meta is missing";
  if (typeof meta[PROTOCOL_VERSION] !== "string") {
    return `params._meta has no ${PROTOCOL_VERSION}, a string`;
  }
  const capabilities = meta[CLIENT_CAPABILITIES];
  return isObject(capabilities)
    ? capabilities
    : `params._meta has no ${CLIENT_CAPABILITIES}, an object`;
}
