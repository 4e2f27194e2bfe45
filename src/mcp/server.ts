/**
 * The Model Context Protocol without a transport: a checked message in, the text of its answer out.
 *
 * Owns: methods, what each revision allows, errors of calls. Must not know HTTP, standard input or
 * how a sandbox works. `tools/call` is the hot path: no promise when the dispatcher answers at
 * once, no schema library, no copy of the result.
 */
import { AtollError, toAtollError } from "../core/errors.ts";
import type { Limits } from "../core/limits.ts";
import { nearest } from "../core/nearest.ts";
import type { CallableTool } from "../dispatch/dispatcher.ts";
import type { CallFollower, CallOptions, CallOutcome } from "../sandbox/sandbox.ts";
import { argumentsText } from "./arguments.ts";
import { Catalog, type ListedTool, type ToolSource } from "./catalog.ts";
import {
  type Fields,
  isObject,
  type Notification,
  type Request,
  type RequestId,
} from "./envelope.ts";
import {
  httpStatus,
  INTERNAL_ERROR,
  INVALID_PARAMS,
  METHOD_NOT_FOUND,
  protocolCode,
} from "./errors.ts";
import {
  badCursor,
  type Failure,
  invalidLevel,
  invalidParams,
  missingCapability,
  shortened,
  stillStarting,
} from "./failures.ts";
import {
  CallNotifications,
  isLogLevel,
  type LogLevel,
  type Notifier,
  progressToken,
  requestedLogLevel,
} from "./notifications.ts";
import { wrapsError } from "./output_schema.ts";
import { errorText, explain, Renderer, type ServerInfo } from "./render.ts";
import { negotiate, type Revision } from "./revisions.ts";

/** A tool as the protocol sees it: listed by the catalog, called by the dispatcher. */
export interface McpTool extends ListedTool, CallableTool {
  readonly plugin: ListedTool["plugin"] & CallableTool["plugin"] & {
    readonly limits: Pick<Limits, "logBytes">;
  };
  /** Capabilities that the client must have declared, as `sampling`; absent: none. */
  readonly requiredClientCapabilities?: readonly string[];
}

/** What the protocol needs of the dispatcher. */
export interface ToolCaller {
  callTool(
    tool: McpTool,
    argumentsJson: string,
    options?: CallOptions,
  ): CallOutcome | Promise<CallOutcome>;
}

export interface McpLog {
  error(message: string, fields?: Record<string, unknown>): void;
}

export interface McpServerOptions {
  readonly registry: ToolSource<McpTool>;
  readonly dispatcher: ToolCaller;
  readonly info: ServerInfo;
  readonly log: McpLog;
  /** How long clients may keep lists, in milliseconds. */
  readonly ttlMs?: number;
  /** Tools in one page of `tools/list`. */
  readonly pageSize?: number;
  /** Guidance for models, sent by `initialize` and `server/discover`. */
  readonly instructions?: string;
}

/** Options of a call, to which the protocol adds who follows it. */
export interface RequestOptions extends CallOptions {
  follower?: CallFollower;
}

/** What a client that stays connected has set. */
export interface LogSession {
  /** Null: it has not said. */
  level: LogLevel | null;
}

/** Who asks, and under which rules. */
export interface Context {
  readonly revision: Revision;
  /** Revisions that the transport speaks. */
  readonly revisions: readonly Revision[];
  /** What the client declared; null when it cannot be known (older revisions without a session). */
  readonly clientCapabilities: Fields | null;
  /** Passed to the sandbox; `signal` may be a getter, so that it costs only when read. */
  readonly call?: RequestOptions;
  /** Absent: the answer is all that the client can be sent. */
  readonly notifier?: Notifier;
  /** Of a client that says once what it wants to be told (`logging/setLevel`). */
  readonly logging?: LogSession;
  /** Called by `initialize` with the revision that was agreed on. */
  readonly onInitialize?: (revision: Revision, clientCapabilities: Fields) => void;
}

/** A text is an ordinary answer (HTTP 200). */
export type Reply = string | Failure;

/**
 * Every feature is offered in each revision; nothing is announced when a list changes, so neither
 * `listChanged` nor `subscribe` is declared. `subscriptions/listen` (2026-07-28) would have nothing
 * to deliver and is a method that is not found, as "Streamable HTTP" has it for those a server does
 * not implement; `server/discover` is the only one that each server must. `ttlMs` says when to ask.
 */
const FEATURES = `"tools":{},"prompts":{},"resources":{}`;
/**
 * Log messages go to clients of 2026-07-28, which ask for them in each request. Of older ones only a
 * connection that lasts can have said what it wants; HTTP has no sessions here.
 */
const CAPABILITIES = `"capabilities":{${FEATURES}}`;
const CAPABILITIES_AND_LOGGING = `"capabilities":{${FEATURES},"logging":{}}`;
const UNCACHED = `,"ttlMs":0,"cacheScope":"public"`;
/** Parameters of a request that carries none. */
const NO_ARGUMENTS = "{}";

export class McpServer {
  readonly #options: McpServerOptions;
  readonly #catalog: Catalog;
  readonly #render: Renderer;
  /** `ttlMs` and `cacheScope`: the same lists for everybody, as no caller has rights of its own. */
  readonly #caching: string;
  readonly #instructions: string;

  constructor(options: McpServerOptions) {
    this.#options = options;
    this.#catalog = new Catalog(options.registry, options.pageSize ?? 200);
    this.#render = new Renderer(options.info);
    this.#caching = `,"ttlMs":${options.ttlMs ?? 60_000},"cacheScope":"public"`;
    this.#instructions = options.instructions === undefined
      ? ""
      : `,"instructions":${JSON.stringify(options.instructions)}`;
  }

  /** Answers a request. Never throws and never rejects. */
  request(request: Request, context: Context): Reply | Promise<Reply> {
    if (request.method === "tools/call") return this.#callTool(request, context);
    try {
      return context.revision.modern
        ? this.#modern(request, context)
        : this.#legacy(request, context);
    } catch (error) {
      return this.#unexpected(request.id, error);
    }
  }

  /** Takes a notification; those that Atoll does not know are ignored, as JSON-RPC wants it. */
  notification(_notification: Notification, _context: Context): void {
    // `notifications/initialized` and `notifications/roots/list_changed` change nothing here;
    // `notifications/cancelled` belongs to the transport that knows the request.
  }

  #modern(request: Request, context: Context): Reply {
    const { id, method, params } = request;
    const { revision } = context;
    switch (method) {
      case "server/discover": {
        const versions = JSON.stringify(context.revisions.map((one) => one.name));
        return this.#render.result(
          id,
          revision,
          `"supportedVersions":${versions},${CAPABILITIES_AND_LOGGING}${this.#instructions}${this.#caching}`,
        );
      }
      default:
        return this.#shared(id, method, params, revision);
    }
  }

  #legacy(request: Request, context: Context): Reply {
    const { id, method, params } = request;
    const { revision } = context;
    switch (method) {
      case "initialize":
        return this.#initialize(id, params, context);
      case "ping":
        return this.#render.result(id, revision, "");
      case "logging/setLevel":
        return context.logging === undefined
          ? this.#shared(id, method, params, revision)
          : this.#setLevel(id, params.level, revision, context.logging);
      default:
        return this.#shared(id, method, params, revision);
    }
  }

  /** Methods that every revision has. */
  #shared(id: RequestId, method: string, params: Fields, revision: Revision): Reply {
    const caching = revision.modern ? this.#cachingNow() : "";
    switch (method) {
      case "tools/list":
        return this.#listTools(id, params, revision, caching);
      case "prompts/list":
        return this.#listNothing(id, params, revision, `"prompts":[]${caching}`);
      case "resources/list":
        return this.#listNothing(id, params, revision, `"resources":[]${caching}`);
      case "resources/templates/list":
        return this.#listNothing(id, params, revision, `"resourceTemplates":[]${caching}`);
      case "prompts/get":
        return this.#missing(id, "prompt", params.name, INVALID_PARAMS, "name");
      case "resources/read":
        return this.#missing(id, "resource", params.uri, revision.resourceNotFound, "uri");
      default: {
        const text = errorText(id, METHOD_NOT_FOUND, `Method not found: ${method}`);
        return { text, httpStatus: httpStatus(METHOD_NOT_FOUND, revision) };
      }
    }
  }

  /** The handshake of older revisions. No session is opened: each request stands for itself. */
  #initialize(id: RequestId, params: Fields, context: Context): Reply {
    if (typeof params.protocolVersion !== "string") {
      return invalidParams(id, "initialize: params.protocolVersion must be a string");
    }
    const revision = negotiate(context.revisions, params.protocolVersion);
    const declared = isObject(params.capabilities) ? params.capabilities : {};
    context.onInitialize?.(revision, declared);
    return this.#render.result(
      id,
      revision,
      `"protocolVersion":"${revision.name}",` +
        `${context.logging === undefined ? CAPABILITIES : CAPABILITIES_AND_LOGGING},` +
        `"serverInfo":${JSON.stringify(this.#options.info)}${this.#instructions}`,
    );
  }

  #setLevel(id: RequestId, level: unknown, revision: Revision, session: LogSession): Reply {
    if (!isLogLevel(level)) return invalidLevel(id, level);
    session.level = level;
    return this.#render.result(id, revision, "");
  }

  /** A list that is about to grow must not be kept. */
  #cachingNow(): string {
    return this.#options.registry.pending().length > 0 ? UNCACHED : this.#caching;
  }

  #listTools(id: RequestId, params: Fields, revision: Revision, caching: string): Reply {
    const cursor = params.cursor;
    if (cursor !== undefined && typeof cursor !== "string") return badCursor(id);
    const page = this.#catalog.page(revision, cursor);
    if (page === null) return badCursor(id);
    const next = page.nextCursor === null ? "" : `,"nextCursor":"${page.nextCursor}"`;
    return this.#render.result(id, revision, `"tools":[${page.tools}]${next}${caching}`);
  }

  #listNothing(id: RequestId, params: Fields, revision: Revision, fields: string): Reply {
    // There is one page, so no cursor was ever given out.
    if (params.cursor !== undefined) return badCursor(id);
    return this.#render.result(id, revision, fields);
  }

  #missing(id: RequestId, noun: string, name: unknown, code: number, field: string): Reply {
    if (typeof name !== "string") return invalidParams(id, `params.${field} must be a string`);
    return {
      text: errorText(id, code, `No such ${noun}: ${name}`, { [field]: name }),
      httpStatus: 200,
    };
  }

  #callTool(request: Request, context: Context): Reply | Promise<Reply> {
    const { id, params } = request;
    const name = params.name;
    if (typeof name !== "string") return invalidParams(id, "params.name must be a string");
    const tool = this.#options.registry.tool(name);
    if (tool === undefined) return this.#unknownTool(id, name);
    let json = NO_ARGUMENTS;
    if (params.arguments !== undefined) {
      if (!isObject(params.arguments)) {
        return invalidParams(id, "params.arguments must be a JSON object");
      }
      try {
        json = argumentsText(params.arguments);
      } catch (error) {
        if (error instanceof AtollError) {
          return this.#failedCall(id, context.revision, tool, error);
        }
        return invalidParams(id, "params.arguments is nested too deep");
      }
    }
    if (tool.requiredClientCapabilities !== undefined) {
      const refusal = missingCapability(
        id,
        tool.name,
        tool.requiredClientCapabilities,
        context.clientCapabilities,
        context.revision,
      );
      if (refusal !== null) return refusal;
    }
    const notifications = notificationsOf(request, tool, context);
    if (notifications !== null && "text" in notifications) return notifications;
    return this.#run(id, tool, json, context, notifications);
  }

  #run(
    id: RequestId,
    tool: McpTool,
    json: string,
    context: Context,
    notifications: CallNotifications | null,
  ): Reply | Promise<Reply> {
    const { revision } = context;
    let call = context.call;
    if (notifications !== null) {
      call ??= {};
      call.follower = notifications;
    }
    const failed = (error: unknown) => {
      notifications?.end();
      return this.#failedCall(id, revision, tool, error);
    };
    const ended = (outcome: CallOutcome) => {
      notifications?.end();
      return this.#outcome(id, revision, tool, outcome);
    };
    let outcome: CallOutcome | Promise<CallOutcome>;
    try {
      outcome = this.#options.dispatcher.callTool(tool, json, call);
    } catch (error) {
      return failed(error);
    }
    return outcome instanceof Promise ? outcome.then(ended, failed) : ended(outcome);
  }

  #outcome(id: RequestId, revision: Revision, tool: McpTool, outcome: CallOutcome): string {
    const { kind, json } = outcome;
    if (kind === "error") {
      return this.#render.toolResult(id, revision, json, true, wrapsError(tool));
    }
    return tool.outputSchema === undefined
      ? this.#render.toolDone(id, revision)
      : this.#render.toolResult(id, revision, json, false, tool.wrapsResult);
  }

  #unknownTool(id: RequestId, name: string): Reply {
    const pending = this.#options.registry.pending();
    if (pending.length > 0) return stillStarting(id, name, pending);
    const names = this.#options.registry.tools().map((tool) => tool.name);
    const near = nearest(name, names);
    const shown = shortened(name);
    const message = near === null
      ? `Unknown tool: ${shown}`
      : `Unknown tool: ${shown}; the nearest is ${near}`;
    const data = { code: "unknown_tool", ...(near === null ? {} : { nearest: near }) };
    return { text: errorText(id, INVALID_PARAMS, message, data), httpStatus: 200 };
  }

  #failedCall(id: RequestId, revision: Revision, tool: McpTool, thrown: unknown): Reply {
    const error = toAtollError(thrown);
    if (error.code === "internal") return this.#unexpected(id, error, tool.name);
    const code = protocolCode(error, revision);
    if (code === null) return this.#render.toolFailure(id, revision, error);
    const data = { reason: error.code, ...error.toJSON() };
    const text = errorText(id, code, explain(error), data);
    const status = httpStatus(code, revision);
    const { retryAfterSeconds } = error.data;
    return retryAfterSeconds === undefined
      ? { text, httpStatus: status }
      : { text, httpStatus: status, retryAfterSeconds };
  }

  /** A bug: the log has everything, the caller an id to ask about. */
  #unexpected(id: RequestId, thrown: unknown, tool?: string): Reply {
    const errorId = crypto.randomUUID();
    const cause = thrown instanceof AtollError && thrown.cause !== undefined
      ? thrown.cause
      : thrown;
    this.#options.log.error("Cannot answer an MCP request: unexpected error", {
      id: errorId,
      ...(tool === undefined ? {} : { tool }),
      error: cause instanceof Error ? cause.stack ?? cause.message : String(cause),
    });
    const message = `Internal error, logged with id ${errorId}`;
    const text = errorText(id, INTERNAL_ERROR, message, { code: "internal", id: errorId });
    return { text, httpStatus: 200 };
  }
}

/** Who follows a call for its client; null: it wants to be told of nothing, or cannot be. */
function notificationsOf(
  { id, params }: Request,
  tool: McpTool,
  { revision, notifier, logging }: Context,
): CallNotifications | Failure | null {
  const asked = revision.modern ? requestedLogLevel(params) : logging?.level ?? null;
  if (asked !== null && typeof asked !== "string") return invalidLevel(id, asked.wrong);
  if (notifier === undefined) return null;
  const token = progressToken(params);
  if (asked === null && token === null) return null;
  const { plugin } = tool;
  return new CallNotifications(
    notifier,
    { level: asked, token },
    plugin.id,
    plugin.limits.logBytes,
  );
}
