/**
 * Tools for the unit tests of the protocol's envelope: what is around a call, not the call itself.
 * Everything that is about guests is tested with real components, in `tests/mcp` and `tests/e2e`.
 */
import { AtollError } from "../../src/core/errors.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { Dispatcher } from "../../src/dispatch/dispatcher.ts";
import { McpServer, type McpTool } from "../../src/mcp/server.ts";
import type { CallOptions, CallOutcome, LoadedComponent } from "../../src/sandbox/sandbox.ts";

/** The body of a tool: arguments as JSON text in, an outcome out. */
export type Body = (
  argumentsJson: string,
  options?: CallOptions,
) => CallOutcome | Promise<CallOutcome>;

type Shape = Partial<
  Pick<
    McpTool,
    "description" | "outputSchema" | "errorSchema" | "wrapsResult" | "inputSchema"
  >
>;

/** A tool as a test writes it. */
export interface EnvelopeTool extends Shape {
  readonly name: string;
  readonly body: Body;
  readonly requiredClientCapabilities?: readonly string[];
}

/** An engine whose functions are written in the test. */
class EnvelopeComponent implements LoadedComponent {
  readonly engine = "portable";
  readonly digest = "0".repeat(64);
  readonly wit = "";
  readonly functions = [];
  readonly http = false;
  readonly origin = { kind: "compiled", ms: 0 } as const;

  constructor(readonly bodies: readonly Body[]) {}

  call(index: number, json: string, options?: CallOptions): CallOutcome | Promise<CallOutcome> {
    const body = this.bodies[index];
    if (body === undefined) throw new AtollError("internal", `no function ${index}`);
    return body(json, options);
  }

  handle(): never {
    throw new AtollError("not_found", "no handler");
  }

  unload(): Promise<void> {
    return Promise.resolve();
  }
}

export interface LoggedLine {
  readonly message: string;
  readonly fields: Record<string, unknown>;
}

/** A server over tools written in the test, and what it logs. */
export function envelopeServer(
  tools: readonly EnvelopeTool[],
  { pending = [], ...options }: {
    pageSize?: number;
    ttlMs?: number;
    instructions?: string;
    /** Plugins that are still being built. */
    pending?: readonly string[];
  } = {},
): { server: McpServer; logged: LoggedLine[]; dispatcher: Dispatcher } {
  const component = new EnvelopeComponent(tools.map((tool) => tool.body));
  const plugin = { id: "unit", component, limits: DEFAULT_LIMITS };
  const all: McpTool[] = tools.map(({ body: _, ...tool }, functionIndex) => ({
    inputSchema: { type: "object" },
    wrapsResult: false,
    ...tool,
    functionIndex,
    plugin,
  }));
  const logged: LoggedLine[] = [];
  const dispatcher = new Dispatcher();
  const server = new McpServer({
    registry: {
      generation: 1,
      tools: () => all,
      tool: (name) => all.find((tool) => tool.name === name),
      pending: () => pending,
    },
    dispatcher,
    info: { name: "atoll", version: "0.0.0-test" },
    log: { error: (message, fields = {}) => void logged.push({ message, fields }) },
    ...options,
  });
  return { server, logged, dispatcher };
}

/** Echoes its arguments. */
export const ECHO: EnvelopeTool = {
  name: "unit_echo",
  outputSchema: { type: "object" },
  body: (json) => ({ kind: "ok", json }),
};

/** The `_meta` that every request of 2026-07-28 has. */
export const MODERN_META = {
  "io.modelcontextprotocol/protocolVersion": "2026-07-28",
  "io.modelcontextprotocol/clientInfo": { name: "test", version: "1" },
  "io.modelcontextprotocol/clientCapabilities": {},
};

/** A JSON value of which a test says what it expects. */
// deno-lint-ignore no-explicit-any -- answers are checked by assertions, field by field
export type Json = any;
