/**
 * The header fields that mirror a message of 2026-07-28, and their comparison with the body.
 *
 * Owns: `Mcp-Method`, `Mcp-Name`, the base64 form of values. Must not know how a mismatch is sent.
 * Source: "Request Metadata" and "Server Validation" of Streamable HTTP, 2026-07-28.
 */
import type { Request as Message } from "./envelope.ts";

/** The member of `params` that `Mcp-Name` mirrors, for the methods that have the field. */
const NAMED: ReadonlyMap<string, "name" | "uri"> = new Map([
  ["tools/call", "name"],
  ["prompts/get", "name"],
  ["resources/read", "uri"],
]);

const BASE64_PREFIX = "=?base64?";
const BASE64_SUFFIX = "?=";
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** The sentence that says which field does not fit the message, or null when all do. */
export function headerMismatch(headers: Headers, message: Message): string | null {
  const method = headers.get("mcp-method");
  if (method === null) return "Header mismatch: the Mcp-Method header is missing";
  if (method !== message.method) {
    return `Header mismatch: Mcp-Method is '${shown(method)}', the body's method is ` +
      `'${shown(message.method)}'`;
  }
  const field = NAMED.get(message.method);
  if (field === undefined) return null;
  const sent = headers.get("mcp-name");
  // Required even where the body has nothing to mirror: whoever routes by it must find it.
  if (sent === null) return "Header mismatch: the Mcp-Name header is missing";
  const value = message.params[field];
  const name = decodeHeaderValue(sent);
  if (name === null) return "Header mismatch: the Mcp-Name header has invalid characters";
  if (name !== value) {
    return `Header mismatch: Mcp-Name is '${shown(name)}', params.${field} of the body is ` +
      (typeof value === "string" ? `'${shown(value)}'` : "absent");
  }
  return null;
}

/**
 * A field's value, decoded when it has the base64 form; null when it is not valid: a character
 * outside of visible ASCII, space and tab, base64 that is not canonical, bytes that are not UTF-8.
 */
export function decodeHeaderValue(value: string): string | null {
  if (!/^[\x20-\x7e\t]*$/.test(value)) return null;
  if (!value.startsWith(BASE64_PREFIX) || !value.endsWith(BASE64_SUFFIX)) return value;
  const encoded = value.slice(BASE64_PREFIX.length, -BASE64_SUFFIX.length);
  if (encoded.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(encoded)) return null;
  try {
    return utf8.decode(Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0)));
  } catch {
    return null;
  }
}

/** Values of a client end up in messages, so they are cut. */
function shown(value: string): string {
  return value.length > 128 ? `${value.slice(0, 128)}…` : value;
}
