/**
 * Streamable HTTP on one endpoint: a POST is one message, its response is one JSON body, or a stream
 * of events where the client has asked to be told of its call and there is something to tell.
 *
 * Owns: methods and media types, the version header, batches of 2025-03-26, status codes. Must not
 * know routes, Host and Origin (the app checks them before) or what a method does.
 * Source: "Streamable HTTP" of 2026-07-28, "Transports" of 2025-03-26 to 2025-11-25.
 *
 * No session is opened: GET and DELETE, which need one, are answered with 405. A client that goes
 * away cancels its request: the result could not be delivered any more.
 */
import { ClientGone } from "../dispatch/client_gone.ts";
import { readBody } from "./body.ts";
import { isObject, parseJson, parseMessage, type Request as Message } from "./envelope.ts";
import { HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST } from "./errors.ts";
import { declaredCapabilities, declaredVersion } from "./metadata.ts";
import { EventStream } from "./event_stream.ts";
import { unsupportedVersion } from "./failures.ts";
import { errorText } from "./render.ts";
import { headerMismatch } from "./request_headers.ts";
import {
  BATCH_MAX,
  findRevision,
  HTTP_REVISIONS,
  R2025_03_26,
  R2026_07_28,
  type Revision,
} from "./revisions.ts";
import { type Context, type McpServer, type Reply } from "./server.ts";

/** Builds the response to what is refused before it is a message (problem+json). */
export type Refuse = (
  status: number,
  detail: string,
  headers?: Record<string, string>,
) => Response;

export interface McpHttpOptions {
  readonly server: McpServer;
  /** The longest body in bytes. */
  readonly bodyBytes: number;
  readonly refuse: Refuse;
}

/** How a request is answered, and how it ends early. */
interface Way {
  readonly call: ClientGone;
  /** Null: the client takes JSON only, or it is one of several in a batch. */
  readonly events: EventStream | null;
}

const JSON_INIT = { headers: { "content-type": "application/json" } };
const SUPPORTED_MEDIA_TYPE = /^application\/json\s*(;|$)/i;
const CHARSET = /;\s*charset\s*=\s*"?([^";\s]+)/i;
const MODERN = R2026_07_28.name;

export class McpHttpHandler {
  readonly #server: McpServer;
  readonly #bodyBytes: number;
  readonly #refuse: Refuse;
  /** The last Accept field that has room for JSON: clients send the same one again and again. */
  #lastAccept = "";

  constructor(options: McpHttpOptions) {
    this.#server = options.server;
    this.#bodyBytes = options.bodyBytes;
    this.#refuse = options.refuse;
  }

  /** Answers a request to the endpoint; rejects only when the body cannot be read. */
  async handle(request: Request): Promise<Response> {
    if (request.method !== "POST") {
      return this.#refuse(405, "The MCP endpoint takes POST only: it has no sessions", {
        allow: "POST",
      });
    }
    const headers = request.headers;
    const refusal = this.#refuseMedia(headers);
    if (refusal !== null) return refusal;
    const bytes = await readBody(request, headers.get("content-length"), this.#bodyBytes);
    if (bytes === null) {
      return this.#refuse(413, `The body is over ${this.#bodyBytes} bytes (http.bodyBytes)`);
    }
    const parsed = parseJson(bytes);
    if (!("value" in parsed)) return respond(badRequest(parsed.code, parsed.message));
    const version = headers.get("mcp-protocol-version");
    if (Array.isArray(parsed.value)) {
      return respond(await this.#batch(parsed.value, version, request));
    }
    const call = new ClientGone(headers);
    const events = acceptsEvents(headers) ? new EventStream(() => call.gone()) : null;
    const reply = this.#single(parsed.value, version, request, { call, events });
    return events === null ? respond(await reply) : await answer(reply, events);
  }

  #refuseMedia(headers: Headers): Response | null {
    const type = headers.get("content-type");
    if (type !== "application/json" && !isJson(type)) {
      return this.#refuse(415, "The body must be application/json in UTF-8");
    }
    const accept = headers.get("accept");
    if (accept !== null && accept !== this.#lastAccept) {
      if (!acceptsJson(accept)) {
        return this.#refuse(406, "The answer is application/json, which Accept leaves out");
      }
      this.#lastAccept = accept;
    }
    return null;
  }

  #single(
    value: unknown,
    version: string | null,
    request: Request,
    way: Way,
  ): Reply | null | Promise<Reply | null> {
    const message = parseMessage(value);
    switch (message.kind) {
      case "request":
        return this.#request(message, version, request, way);
      case "malformed":
        return badRequest(message.code, message.message, message.id);
      case "notification": {
        const revision = revisionOfHeader(version);
        if (revision === null) return unsupportedVersion(null, version ?? "", HTTP_REVISIONS);
        this.#server.notification(message, {
          revision,
          revisions: HTTP_REVISIONS,
          clientCapabilities: null,
        });
        return null;
      }
      case "answer":
        return version === MODERN
          ? badRequest(INVALID_REQUEST, "A client sends requests and notifications only")
          : null;
    }
  }

  #request(
    message: Message,
    version: string | null,
    request: Request,
    way: Way,
  ): Reply | Promise<Reply> {
    const declared = declaredVersion(message.params);
    if (version !== MODERN && declared === null) {
      const revision = revisionOfHeader(version);
      return revision === null
        ? unsupportedVersion(message.id, version ?? "", HTTP_REVISIONS)
        : this.#serve(message, revision, null, request, way);
    }
    if (declared !== null && declared !== version) {
      return mismatch(
        message,
        version === null
          ? "Header mismatch: the MCP-Protocol-Version header is missing"
          : `Header mismatch: MCP-Protocol-Version is '${version}', the body has '${declared}'`,
      );
    }
    if (version !== MODERN) {
      const revision = findRevision(HTTP_REVISIONS, version ?? "");
      // A version with a handshake, repeated in the body: nothing in it is of the newer protocol.
      return revision === undefined
        ? unsupportedVersion(message.id, version ?? "", HTTP_REVISIONS)
        : this.#serve(message, revision, null, request, way);
    }
    const different = headerMismatch(request.headers, message);
    if (different !== null) return mismatch(message, different);
    const capabilities = declaredCapabilities(message.params);
    if (typeof capabilities === "string") {
      return badRequest(INVALID_PARAMS, capabilities, message.id);
    }
    return this.#serve(message, R2026_07_28, capabilities, request, way);
  }

  #serve(
    message: Message,
    revision: Revision,
    capabilities: Context["clientCapabilities"],
    request: Request,
    { call, events }: Way,
  ): Reply | Promise<Reply> {
    const reply = this.#server.request(message, {
      revision,
      revisions: HTTP_REVISIONS,
      clientCapabilities: capabilities,
      call,
      ...(events === null ? {} : { notifier: events }),
    });
    if (reply instanceof Promise) call.follow(request.signal);
    return reply;
  }

  /** Several messages in one array: 2025-03-26 has to take them, all others refuse. */
  async #batch(values: unknown[], version: string | null, request: Request): Promise<Reply | null> {
    const revision = revisionOfHeader(version);
    if (revision === null) return unsupportedVersion(null, version ?? "", HTTP_REVISIONS);
    if (!revision.batches) {
      return badRequest(INVALID_REQUEST, `Protocol version ${revision.name} has no batches`);
    }
    if (values.length === 0) return badRequest(INVALID_REQUEST, "The batch is empty");
    if (values.length > BATCH_MAX) {
      return badRequest(INVALID_REQUEST, `The batch has over ${BATCH_MAX} messages`);
    }
    const replies = await Promise.all(values.map((value) => this.#inBatch(value, request)));
    const texts = replies.filter((reply) => reply !== null).map(textOf);
    return texts.length === 0 ? null : `[${texts.join(",")}]`;
  }

  #inBatch(value: unknown, request: Request): Reply | null | Promise<Reply | null> {
    if (isObject(value) && value.method === "initialize") {
      return badRequest(INVALID_REQUEST, "initialize must not be part of a batch");
    }
    const call = new ClientGone(request.headers);
    return this.#single(value, R2025_03_26.name, request, { call, events: null });
  }
}

/** Without the header the revision is 2025-03-26, the last that did not have it; null: unknown. */
function revisionOfHeader(version: string | null): Revision | null {
  if (version === null) return R2025_03_26;
  return findRevision(HTTP_REVISIONS, version) ?? null;
}

function isJson(type: string | null): boolean {
  if (type === null || !SUPPORTED_MEDIA_TYPE.test(type)) return false;
  const charset = CHARSET.exec(type)?.[1];
  return charset === undefined || charset.toLowerCase() === "utf-8";
}

/** Whether an Accept field has room for JSON. Weights but `q=0` do not matter: there is one form. */
function acceptsJson(accept: string): boolean {
  return accept.split(",").some((range) => {
    const [type, ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    const matches = type === "application/json" || type === "application/*" || type === "*/*";
    return matches && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
  });
}

/** Whether a client takes a stream of events: each that follows the protocol names it. */
function acceptsEvents(headers: Headers): boolean {
  return headers.get("accept")?.toLowerCase().includes("text/event-stream") ?? false;
}

/** As JSON, unless there is something to tell before the answer is there. */
async function answer(
  reply: Reply | null | Promise<Reply | null>,
  events: EventStream,
): Promise<Response> {
  if (reply instanceof Promise) {
    await Promise.race([reply, events.begun]);
    // What comes in the same turn as the answer would make a stream of it for nothing.
    if (!events.started) return respond(await reply);
    const response = events.response();
    reply.then((done) => events.end(done === null ? "" : textOf(done)));
    return response;
  }
  if (!events.started || reply === null) return respond(reply);
  events.end(textOf(reply));
  return events.response();
}

function mismatch(message: Message, detail: string): Reply {
  return badRequest(HEADER_MISMATCH, detail, message.id);
}

function badRequest(code: number, message: string, id: Message["id"] | null = null): Reply {
  return { text: errorText(id, code, message), httpStatus: 400 };
}

function textOf(reply: Reply): string {
  return typeof reply === "string" ? reply : reply.text;
}

/** Null: nothing to answer, as for a notification. */
function respond(reply: Reply | null): Response {
  if (typeof reply === "string") return new Response(reply, JSON_INIT);
  if (reply === null) return new Response(null, { status: 202 });
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (reply.retryAfterSeconds !== undefined) {
    headers["retry-after"] = String(Math.ceil(reply.retryAfterSeconds));
  }
  return new Response(reply.text, { status: reply.httpStatus, headers });
}
