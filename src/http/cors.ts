/**
 * What a browser has to be told before a page may call the MCP endpoint.
 *
 * Owns: the answer to a preflight, the fields of an answer that a page may read. Must not know which
 * origins may call: `origin.ts` has let them pass before. An origin is always named, never `*`.
 * Source: Fetch standard, "HTTP CORS protocol".
 */

/** Sent by clients of any revision; JSON in a body alone makes a browser ask. */
const ALLOWED_FIELDS = [
  "Content-Type",
  "Authorization",
  "MCP-Protocol-Version",
  "Mcp-Method",
  "Mcp-Name",
  "Mcp-Session-Id",
  "Last-Event-ID",
].join(", ");

/** What an answer of the endpoint tells in its head. */
const EXPOSED_FIELDS = "MCP-Protocol-Version, Retry-After";

/** The longest time that browsers keep such an answer. */
const MAX_AGE_SECONDS = "7200";

/** Whether a browser asks for leave instead of sending a message. */
export function isPreflight(request: Request): boolean {
  return request.method === "OPTIONS" && request.headers.has("access-control-request-method");
}

/** The answer to a preflight of an origin that may call. */
export function preflightResponse(origin: string): Response {
  return new Response(null, {
    status: 204,
    headers: {
      "access-control-allow-origin": origin,
      "access-control-allow-methods": "POST",
      "access-control-allow-headers": ALLOWED_FIELDS,
      "access-control-max-age": MAX_AGE_SECONDS,
      vary: "Origin",
    },
  });
}

/** Lets a page of that origin read a response, which is changed in place. */
export function readableBy(origin: string, response: Response): Response {
  const { headers } = response;
  headers.set("access-control-allow-origin", origin);
  headers.set("access-control-expose-headers", EXPOSED_FIELDS);
  headers.append("vary", "Origin");
  return response;
}
