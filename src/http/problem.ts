/**
 * Errors on HTTP: `application/problem+json` (RFC 9457), the one table from AtollError codes to
 * status codes.
 *
 * Owns: status, shape and headers of an error response. Must not know routes. A bug shows an id
 * that the log has too, never a message or a stack.
 */
import { type AtollError, type ErrorCode, toAtollError } from "../core/errors.ts";

/** Status of each code. The guest is an upstream: what goes wrong in it is a bad gateway. */
const STATUS: Record<ErrorCode, number> = {
  invalid_argument: 400,
  unknown_tool: 404,
  not_found: 404,
  too_large: 413,
  overloaded: 503,
  rate_limited: 429,
  deadline: 504,
  // No standard code: nobody is left to read it. 499 is what proxies write to their logs.
  cancelled: 499,
  denied: 403,
  limit: 502,
  trap: 502,
  panic: 500,
  config: 500,
  manifest: 500,
  component: 500,
  build: 500,
  unsupported: 501,
  address_in_use: 500,
  io: 500,
  no_memory: 503,
  closed: 503,
  version: 500,
  internal: 500,
};

const TITLE: Record<number, string> = {
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  429: "Too Many Requests",
  499: "Client Closed Request",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

export interface ProblemLog {
  error(message: string, fields?: Record<string, unknown>): void;
}

/** A problem that has no AtollError: wrong method, media type, route. */
export function problem(
  status: number,
  detail: string,
  headers: Record<string, string> = {},
): Response {
  const body = { type: "about:blank", title: TITLE[status] ?? "Error", status, detail };
  return response(status, body, headers);
}

/** The status of an error. */
export function statusOf(error: AtollError): number {
  return STATUS[error.code];
}

/**
 * The response to anything that was thrown. What is no AtollError is a bug: it is logged with an
 * id, and the caller gets the id.
 */
export function problemOf(thrown: unknown, log: ProblemLog): Response {
  const error = toAtollError(thrown);
  if (error.code === "internal") return unexpected(error, log);
  const status = statusOf(error);
  const retryAfter = error.data.retryAfterSeconds ?? (status === 503 ? 1 : undefined);
  const { message, ...facts } = error.toJSON();
  const body = {
    type: `urn:atoll:problem:${error.code}`,
    title: TITLE[status] ?? "Error",
    status,
    detail: message,
    ...facts,
  };
  return response(
    status,
    body,
    retryAfter === undefined ? {} : { "retry-after": String(Math.ceil(retryAfter)) },
  );
}

function unexpected(error: AtollError, log: ProblemLog): Response {
  const id = crypto.randomUUID();
  const cause = error.cause ?? error;
  log.error("Cannot answer a request: unexpected error", {
    id,
    error: cause instanceof Error ? cause.stack ?? cause.message : String(cause),
  });
  return response(500, {
    type: "urn:atoll:problem:internal",
    title: TITLE[500],
    status: 500,
    detail: "An unexpected error; the log has it under this id",
    code: "internal",
    id,
  }, {});
}

function response(status: number, body: object, headers: Record<string, string>): Response {
  return new Response(JSON.stringify(body), {
    status,
    headers: { "content-type": "application/problem+json", ...headers },
  });
}
