/**
 * `/http/PLUGIN/*`: requests for the `wasi:http` handler of a plugin.
 *
 * Owns: what of a request the guest sees and what of its response the client sees. Must not know
 * how the sandbox works. Bodies are streamed both ways and never held as a whole.
 *
 * The guest is mounted at its own root: it sees the path without `/http/PLUGIN`, and the removed
 * part in `x-forwarded-prefix`, as behind any proxy that strips a prefix.
 */
import { AtollError } from "../core/errors.ts";
import { brokenOff } from "../dispatch/client_gone.ts";
import type { SandboxRequest, SandboxResponse } from "../sandbox/sandbox.ts";
import { declaredLength } from "../wire/content_length.ts";

const MOUNT = "/http/";

/** Fields that belong to one connection (RFC 9110 §7.6.1) or are set by this server. */
const NOT_FORWARDED: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
  "host",
  "x-forwarded-prefix",
]);

const NO_FIELDS: ReadonlySet<string> = new Set();

/** Statuses that have no body (Fetch, "null body status"). */
const NULL_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/** Where a request goes: the plugin's id, the path and query that its guest sees. */
export interface Target {
  readonly id: string;
  readonly path: string;
}

/** Takes the URL of a request apart; null when it is not under `/http/PLUGIN`. */
export function targetOf(url: string): Target | null {
  const pathStart = url.indexOf("/", url.indexOf("//") + 2);
  if (pathStart === -1 || !url.startsWith(MOUNT, pathStart)) return null;
  const idStart = pathStart + MOUNT.length;
  const idEnd = indexOfAny(url, idStart);
  if (idEnd === idStart) return null;
  const rest = url.slice(idEnd);
  const path = rest.startsWith("/") ? rest : `/${rest}`;
  return { id: url.slice(idStart, idEnd), path };
}

/** The request as the guest sees it. */
export function toSandboxRequest(request: Request, target: Target): SandboxRequest {
  const url = request.url;
  const authorityStart = url.indexOf("//") + 2;
  const origin = url.slice(0, url.indexOf("/", authorityStart));
  const fields = forwarded(request.headers);
  fields.push(["x-forwarded-prefix", MOUNT + target.id]);
  return { method: request.method, url: origin + target.path, fields, body: request.body };
}

/** Bodies up to this many bytes are read before the guest starts: they fit one slot with the head. */
const SMALL_BODY = 32 * 1024;

/**
 * The same request with its body as bytes when it is declared small, so that no guest waits for a
 * slow client and the call can end inline; null when the body is absent or to be streamed.
 * Rejects with AtollError cancelled when the body broke off.
 * @throws AtollError invalid_argument: Content-Length is no length
 */
export function withSmallBody(
  request: Request,
  sandboxRequest: SandboxRequest,
): Promise<SandboxRequest> | null {
  if (request.body === null) return null;
  const length = declaredLength(request.headers.get("content-length"));
  if (length === null || length > SMALL_BODY) return null;
  return request.arrayBuffer().then(
    (bytes) => ({ ...sandboxRequest, body: new Uint8Array(bytes) }),
    (cause) => {
      throw brokenOff(cause);
    },
  );
}

/**
 * The guest's response for the client.
 * @throws AtollError trap: a status that is not one of a final response.
 */
export function toResponse(response: SandboxResponse, method: string): Response {
  const { status } = response;
  if (status < 200 || status > 599) {
    void discard(response.body);
    throw new AtollError("trap", `The guest answered with status ${status}, which is not final`);
  }
  // The length of a whole body is known here better than to the guest.
  const whole = response.body instanceof Uint8Array && method !== "HEAD";
  const named = connectionFields(
    response.fields.filter(([name]) => name === "connection").map(([, value]) => value),
  );
  const headers = response.fields.filter(([name]) =>
    !NOT_FORWARDED.has(name) && !named.has(name) && !(whole && name === "content-length")
  ) as [string, string][];
  if (method === "HEAD" || NULL_BODY.has(status)) {
    void discard(response.body);
    return new Response(null, { status, headers });
  }
  return new Response(response.body as BodyInit | null, { status, headers });
}

function forwarded(headers: Headers): [string, string][] {
  const connection = headers.get("connection");
  const named = connectionFields(connection === null ? [] : [connection]);
  const fields: [string, string][] = [];
  headers.forEach((value, name) => {
    if (!NOT_FORWARDED.has(name) && !named.has(name)) fields.push([name, value]);
  });
  return fields;
}

/** Fields that `Connection` names are of this connection too. */
function connectionFields(values: readonly string[]): ReadonlySet<string> {
  if (values.length === 0) return NO_FIELDS;
  return new Set(
    values.flatMap((value) => value.split(",")).map((one) => one.trim().toLowerCase()),
  );
}

async function discard(body: SandboxResponse["body"]): Promise<void> {
  // The guest may go on until it notices; what it ends with concerns nobody any more.
  if (body instanceof ReadableStream) await body.cancel().catch(() => {});
}

/** Index of the first `/`, `?` or `#` from `start` on, or the length of the text. */
function indexOfAny(text: string, start: number): number {
  for (let index = start; index < text.length; index++) {
    const char = text.charCodeAt(index);
    if (char === 0x2f || char === 0x3f || char === 0x23) return index;
  }
  return text.length;
}
