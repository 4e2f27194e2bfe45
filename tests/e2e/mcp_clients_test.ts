/**
 * The official MCP clients against the real server: `@modelcontextprotocol/client` for 2026-07-28,
 * `@modelcontextprotocol/sdk` for the older revisions; over HTTP and over standard input and output,
 * the server under Deno and under Bun.
 */
import assert from "node:assert/strict";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { Client as LegacyClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport as LegacyStdio } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport as LegacyHttp } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { fixtureFolder } from "../fixtures/build.ts";
import { test } from "../harness.ts";
import type { RuntimeName } from "../runtimes.ts";
import { ROOT, serveCommand, serveEnvironment, type ServeOptions, withServer } from "./support.ts";

const TOOLS = ["text_analyse", "text_reverse", "units_convert"];
const INFO = { name: "atoll-e2e", version: "1.0.0" };
const RUNTIMES: readonly RuntimeName[] = ["deno", "bun"];

const options = (runtime: RuntimeName): ServeOptions => ({
  runtime,
  plugins: [fixtureFolder("text"), fixtureFolder("units")],
  tools: TOOLS,
});

/** What both clients have; their result types differ in name only. */
interface AnyClient {
  listTools(): Promise<{ tools: readonly { name: string; description?: string | undefined }[] }>;
  callTool(params: { name: string; arguments: Record<string, unknown> }): Promise<unknown>;
  close(): Promise<void>;
}

interface ToolResult {
  readonly content: readonly { type: string; text: string }[];
  readonly structuredContent?: unknown;
  readonly isError?: boolean;
}

async function callTool(
  client: AnyClient,
  name: string,
  args: Record<string, unknown>,
): Promise<ToolResult> {
  return await client.callTool({ name, arguments: args }) as ToolResult;
}

/** Everything the contract says about `text` and `units`, the same for each client and transport. */
async function exercise(client: AnyClient, modern: boolean): Promise<void> {
  const { tools } = await client.listTools();
  assert.deepEqual(tools.map((tool) => tool.name), TOOLS);
  for (const tool of tools) assert.ok((tool.description ?? "") !== "");

  const counted = await callTool(client, "text_analyse", { input: "two words" });
  assert.ok(!counted.isError);
  assert.deepEqual(counted.structuredContent, { words: 2, chars: 9 });
  assert.deepEqual(JSON.parse(counted.content[0]?.text ?? ""), { words: 2, chars: 9 });

  const data = btoa("abc");
  const reversed = await callTool(client, "text_reverse", { data });
  const turned = btoa("cba");
  assert.deepEqual(reversed.structuredContent, modern ? turned : { result: turned });

  const converted = await callTool(client, "units_convert", { value: 1, from: "km", to: "m" });
  assert.deepEqual(converted.structuredContent, { value: 1000, unit: "m" });

  const refused = await callTool(client, "text_analyse", { input: "" });
  assert.equal(refused.isError, true);
  assert.ok(refused.structuredContent !== undefined);

  const wrong = await callTool(client, "text_analyse", { input: 7 });
  assert.equal(wrong.isError, true);
  assert.match(wrong.content[0]?.text ?? "", /arguments\.input/);

  await assert.rejects(callTool(client, "text_analize", {}), /text_analyse/);

  const many = await Promise.all(
    Array.from(
      { length: 20 },
      (_, index) => callTool(client, "text_analyse", { input: "x".repeat(index + 1) }),
    ),
  );
  many.forEach((result, index) =>
    assert.deepEqual(result.structuredContent, { words: 1, chars: index + 1 })
  );
}

async function using(client: AnyClient, body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } finally {
    await client.close();
  }
}

const modernClient = () =>
  new Client(INFO, { versionNegotiation: { mode: { pin: "2026-07-28" } } });

/** The program and arguments of a server on standard input and output. */
function stdioParameters(runtime: RuntimeName) {
  const [command = "", ...args] = serveCommand({ ...options(runtime), args: ["--stdio"] });
  return { command, args, cwd: ROOT, env: serveEnvironment({}), stderr: "inherit" as const };
}

for (const runtime of RUNTIMES) {
  test(`the client of 2026-07-28 over HTTP, server under ${runtime}`, async () => {
    await withServer(options(runtime), async ({ url }) => {
      const client = modernClient();
      await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`)));
      await using(client, async () => {
        assert.equal(client.getNegotiatedProtocolVersion(), "2026-07-28");
        await exercise(client, true);
      });
    });
  });

  test(`the client of older revisions over HTTP, server under ${runtime}`, async () => {
    await withServer(options(runtime), async ({ url }) => {
      const client = new LegacyClient(INFO);
      await client.connect(new LegacyHttp(new URL(`${url}/mcp`)) as never);
      await using(client, () => exercise(client, false));
    });
  });

  test(`the client of 2026-07-28 over standard input, server under ${runtime}`, async () => {
    await withServer(options(runtime), async () => {}); // builds the plugins once
    const client = modernClient();
    await client.connect(new StdioClientTransport(stdioParameters(runtime)));
    await using(client, () => exercise(client, true));
  });

  test(`the client of older revisions over standard input, server under ${runtime}`, async () => {
    await withServer(options(runtime), async () => {});
    const client = new LegacyClient(INFO);
    await client.connect(new LegacyStdio(stdioParameters(runtime)));
    await using(client, () => exercise(client, false));
  });
}

test("a client that can do both finds out by itself", async () => {
  await withServer(options("deno"), async ({ url }) => {
    const client = new Client(INFO, { versionNegotiation: { mode: "auto" } });
    await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`)));
    await using(client, async () => {
      assert.equal(client.getNegotiatedProtocolVersion(), "2026-07-28");
      assert.equal((await client.listTools()).tools.length, TOOLS.length);
    });
  });
});
