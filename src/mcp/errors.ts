/**
 * How errors look in the Model Context Protocol: the one table from AtollError codes to JSON-RPC.
 *
 * Owns: JSON-RPC codes, which AtollError is a protocol error and which the result of a tool, the
 * HTTP status that belongs to a code. Must not know how messages are parsed or sent.
 * Source: "Error Handling" of the tools page and "Error Codes" of the overview, 2026-07-28.
 */
import type { AtollError, ErrorCode } from "../core/errors.ts";
import type { Revision } from "./revisions.ts";

export const PARSE_ERROR = -32700;
export const INVALID_REQUEST = -32600;
export const METHOD_NOT_FOUND = -32601;
export const INVALID_PARAMS = -32602;
export const INTERNAL_ERROR = -32603;
/** Atoll could not take the call; `data.reason` says why and `data.retryAfterSeconds` when to return. */
export const NOT_SERVED = -32000;
export const HEADER_MISMATCH = -32020;
export const MISSING_CLIENT_CAPABILITY = -32021;
export const UNSUPPORTED_PROTOCOL_VERSION = -32022;

/** `result`: the tool failed, a model should read it. A number: a protocol error with this code. */
type Mapping = "result" | "argument" | number;

const MAPPING: Record<ErrorCode, Mapping> = {
  invalid_argument: "argument",
  unknown_tool: INVALID_PARAMS,
  not_found: INVALID_PARAMS,
  too_large: "result",
  overloaded: NOT_SERVED,
  rate_limited: NOT_SERVED,
  deadline: "result",
  cancelled: NOT_SERVED,
  denied: "result",
  limit: "result",
  trap: "result",
  panic: INTERNAL_ERROR,
  config: INTERNAL_ERROR,
  manifest: INTERNAL_ERROR,
  component: INTERNAL_ERROR,
  build: INTERNAL_ERROR,
  unsupported: INTERNAL_ERROR,
  address_in_use: INTERNAL_ERROR,
  io: INTERNAL_ERROR,
  no_memory: NOT_SERVED,
  closed: NOT_SERVED,
  version: INTERNAL_ERROR,
  internal: INTERNAL_ERROR,
};

/**
 * The JSON-RPC code for an error of a call, or null when it is reported as a result with `isError`.
 * Arguments that do not fit are results since 2025-11-25 and were protocol errors before.
 */
export function protocolCode(error: AtollError, revision: Revision): number | null {
  const mapping = MAPPING[error.code];
  if (mapping === "argument") return revision.argumentErrorsAreResults ? null : INVALID_PARAMS;
  return mapping === "result" ? null : mapping;
}

/**
 * HTTP status for a JSON-RPC error. Errors of the transport have one of their own; an error that
 * answers a well-formed request travels with 200, since clients drop the body of anything else.
 */
export function httpStatus(code: number, revision: Revision): number {
  switch (code) {
    case PARSE_ERROR:
    case INVALID_REQUEST:
    case HEADER_MISMATCH:
    case MISSING_CLIENT_CAPABILITY:
    case UNSUPPORTED_PROTOCOL_VERSION:
      return 400;
    case METHOD_NOT_FOUND:
      return revision.modern ? 404 : 200;
    default:
      return 200;
  }
}
