/**
 * JSON-RPC messages as MCP has them: from bytes to a checked request or notification.
 *
 * Owns: UTF-8 and JSON, the fields of an envelope, what an id may be. Must not know methods,
 * revisions or transports.
 */
import { INVALID_REQUEST, PARSE_ERROR } from "./errors.ts";

export type RequestId = string | number;

/** An object whose fields are not yet checked. */
export type Fields = { readonly [key: string]: unknown };

export interface Request {
  readonly kind: "request";
  readonly id: RequestId;
  readonly method: string;
  /** Absent parameters are an empty object. */
  readonly params: Fields;
}

export interface Notification {
  readonly kind: "notification";
  readonly method: string;
  readonly params: Fields;
}

/** An answer to a request of the server; Atoll sends none, older revisions allow the message. */
export interface Answer {
  readonly kind: "answer";
}

/** Something that is no message; `id` when it could be read. */
export interface Malformed {
  readonly kind: "malformed";
  readonly id: RequestId | null;
  readonly code: number;
  readonly message: string;
}

export type Message = Request | Notification | Answer | Malformed;

const NO_PARAMS: Fields = Object.freeze({});
const utf8 = new TextDecoder();
const strictUtf8 = new TextDecoder("utf-8", { fatal: true });
/** What a decoder that is not strict puts in the place of what is invalid. */
const REPLACEMENT = "\uFFFD";

/**
 * The deepest nesting of a message. V8 takes seconds for the two million levels that fit the default
 * body limit. A valid text of twice as many bytes cannot be deeper, so shorter ones are not counted.
 */
const DEEPEST = 4_096;

/** The JSON value of a message, or why there is none. Invalid UTF-8 is refused, never repaired. */
export function parseJson(bytes: Uint8Array): { value: unknown } | Malformed {
  if (bytes.length > 2 * DEEPEST && nestsDeeper(bytes, DEEPEST)) {
    return malformed(PARSE_ERROR, `Parse error: nested deeper than ${DEEPEST} levels`);
  }
  let text: string;
  try {
    text = decodeUtf8(bytes);
  } catch {
    return malformed(PARSE_ERROR, "Parse error: the message is not valid UTF-8");
  }
  try {
    // Integers beyond 2^53 are rounded here; the engines refuse them and ask for strings.
    return { value: JSON.parse(text) };
  } catch (error) {
    return malformed(PARSE_ERROR, `Parse error: ${reason(error)}`);
  }
}

/** Checks one message; batches are taken apart before. */
export function parseMessage(value: unknown): Message {
  if (!isObject(value)) return malformed(INVALID_REQUEST, "A message must be a JSON object");
  const id = value.id;
  const known = typeof id === "string" || typeof id === "number" ? id : null;
  if (value.jsonrpc !== "2.0") {
    return malformed(INVALID_REQUEST, 'A message must have "jsonrpc": "2.0"', known);
  }
  const method = value.method;
  if (method === undefined && ("result" in value || "error" in value)) return { kind: "answer" };
  if (typeof method !== "string") {
    return malformed(INVALID_REQUEST, "A message must have a method, a string", known);
  }
  const params = value.params === undefined ? NO_PARAMS : value.params;
  if (!isObject(params)) {
    return malformed(INVALID_REQUEST, "params must be a JSON object", known);
  }
  if (id === undefined) return { kind: "notification", method, params };
  if (typeof id === "string") return { kind: "request", id, method, params };
  // Another number than the one that was sent would be echoed beyond 2^53, and none for 1e400.
  if (Number.isFinite(id) && (!Number.isInteger(id) || Number.isSafeInteger(id))) {
    return { kind: "request", id: id as number, method, params };
  }
  return malformed(INVALID_REQUEST, "id must be a string or a number of at most 2^53 - 1");
}

/** A JSON object, no array and not null. */
export function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The strict decoder takes three times as long: it is asked only where something may be invalid. */
function decodeUtf8(bytes: Uint8Array): string {
  const text = utf8.decode(bytes);
  return text.includes(REPLACEMENT) ? strictUtf8.decode(bytes) : text;
}

/** Counts open brackets outside of strings; bytes of UTF-8 sequences are none of these characters. */
function nestsDeeper(bytes: Uint8Array, limit: number): boolean {
  let depth = 0;
  let inString = false;
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index];
    if (inString) {
      if (byte === 0x5c) index++;
      else if (byte === 0x22) inString = false;
    } else if (byte === 0x22) {
      inString = true;
    } else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > limit) return true;
    } else if (byte === 0x5d || byte === 0x7d) {
      depth--;
    }
  }
  return false;
}

function malformed(code: number, message: string, id: RequestId | null = null): Malformed {
  return { kind: "malformed", id, code, message };
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
