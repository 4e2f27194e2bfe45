/**
 * How many MCP tool calls a second does one core answer, each in a fresh sandbox?
 *
 * Owns: the question `mcp`. Atoll's `text_analyse` on 64 characters in 2026-07-28, against the
 * official TypeScript SDK with an equal tool, and against the runtime's HTTP server alone; and what a
 * second worker adds on two cores.
 */
import { fileURLToPath } from "node:url";
import { runScript } from "../tests/runtimes.ts";
import { type ServeOptions, startServer } from "../tests/e2e/support.ts";
import type { Bench, Contender } from "./harness.ts";
import {
  generatorName,
  type LoadRequest,
  pinnedTo,
  requestsPerSecond,
  startPeer,
} from "./http_load.ts";
import { typescriptSdkFolder } from "./peers/install.ts";
import { askScaling } from "./scaling.ts";
import { noteShare } from "./share.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const TEXT = "the quick brown fox jumps over the lazy dog and runs into a fog!";
const EXPECTED = '"structuredContent":{"words":14,"chars":64}';

const REQUEST: LoadRequest = {
  method: "POST",
  path: "/mcp",
  headers: {
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": "text_analyse",
  },
  body: JSON.stringify({
    jsonrpc: "2.0",
    id: 1,
    method: "tools/call",
    params: {
      name: "text_analyse",
      arguments: { input: TEXT },
      _meta: {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { name: "bench", version: "1.0.0" },
        "io.modelcontextprotocol/clientCapabilities": {},
      },
    },
  }),
};

export async function run(bench: Bench): Promise<void> {
  const shape = bench.small ? { connections: 4, seconds: 0.2 } : { connections: 32, seconds: 3 };
  bench.header({
    request: `tools/call text_analyse, ${TEXT.length} characters, 2026-07-28`,
    connections: shape.connections,
    generator: generatorName(bench.small),
    "server's core": pinnedTo(0).join(" ") || "not pinned",
  });
  const server: ServeOptions = {
    runtime: bench.runtime,
    plugins: [here("../plugins/text")],
    args: ["--engine", bench.small ? "auto" : "native", "--log-level", "warn"],
    omit: ["RUST_BACKTRACE"],
  };
  const servers: { url: string; stop(): Promise<unknown> }[] = [];
  try {
    const atoll = await startServer({
      ...server,
      tools: ["text_analyse"],
      prefix: pinnedTo(0),
    });
    servers.push(atoll);
    const answer = await checked(atoll.url);
    const peers: Contender[] = [];
    if (!bench.small) {
      const sdk = await startPeer(sdkCommand(bench));
      servers.push(sdk);
      await checked(sdk.url);
      peers.push(contender("typescript-sdk-v2", sdk.url));
    }
    const script = here("./peers/bare_http.ts");
    const bare = await startPeer([
      ...runScript(bench.runtime, script),
      ...[answer, "application/json"],
    ]);
    servers.push(bare);
    peers.push(contender("bare-http", bare.url));
    await bench.ask({
      case: "fresh",
      unit: "req/s",
      better: "higher",
      about: "a fresh instance a call; bare-http reads the body and answers fixed bytes",
      atoll: contender("atoll", atoll.url),
      peers,
    });
    // The generator keeps the server's core busy, so that a request takes all of it for that long. The
    // counters are in the server's process; a call takes one slot if its client has kept none.
    noteShare(bench, {
      what: "a request",
      ns: 1e9 / bench.results[0]!.value,
      slots: 1,
      slotsAtMost: true,
    });
  } finally {
    for (const server of servers) await server.stop();
  }
  await askScaling(bench, {
    server: { ...server, tools: ["text_analyse"] },
    request: REQUEST,
    shape,
    check: checked,
  });

  function contender(name: string, url: string): Contender {
    return { name, measure: () => requestsPerSecond(url, REQUEST, shape, bench.small) };
  }
}

function sdkCommand(bench: Bench): readonly string[] {
  const folder = typescriptSdkFolder((text) => bench.note(text));
  const [program = "", ...args] = runScript(bench.runtime, here("./peers/typescript_sdk.ts"));
  if (bench.runtime === "bun") return [program, ...args, folder];
  // Deno resolves what npm installed elsewhere only when it is told to leave it as it is.
  const [run = "", ...rest] = args;
  return [program, run, "--no-config", "--node-modules-dir=manual", ...rest, folder];
}

/** One call before the load, so that a wrong answer is not taken for a fast one. */
async function checked(url: string): Promise<string> {
  const { method, path, headers, body = "" } = REQUEST;
  const response = await fetch(url + path, { method, headers, body });
  const text = await response.text();
  if (response.status !== 200 || !text.includes(EXPECTED)) {
    throw new Error(`${url} answered ${response.status}: ${text}`);
  }
  return text;
}
