/**
 * A peer: the official MCP TypeScript SDK v2 on Hono, with a tool of the same name, schemas and
 * answer as Atoll's `text_analyse`, served statelessly as its documentation has it.
 *
 * Owns: one process of the benches. Argument: the folder where npm installed the SDK. It is loaded
 * from there by path, since it is no dependency of Atoll.
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

interface Schema {
  describe(text: string): Schema;
  int(): Schema;
}

interface Zod {
  object(fields: Record<string, Schema>): Schema;
  string(): Schema;
  number(): Schema;
}

interface SdkServer {
  registerTool(name: string, options: object, body: (args: { input: string }) => object): void;
}

interface Sdk {
  McpServer: new (info: { name: string; version: string }) => SdkServer;
  createMcpHandler(factory: () => SdkServer): {
    fetch(request: Request, options?: { parsedBody?: unknown }): Promise<Response>;
  };
}

interface HonoContext {
  readonly req: { readonly raw: Request };
  get(key: "parsedBody"): unknown;
}

interface HonoApp {
  all(path: string, handler: (context: HonoContext) => Promise<Response>): void;
  fetch(request: Request): Response | Promise<Response>;
}

const [folder = "."] = process.argv.slice(2);
const require = createRequire(join(folder, "package.json"));
const load = async <T>(name: string) =>
  await import(pathToFileURL(require.resolve(name)).href) as T;

const { McpServer, createMcpHandler } = await load<Sdk>("@modelcontextprotocol/server");
const { createMcpHonoApp } = await load<{ createMcpHonoApp(): HonoApp }>(
  "@modelcontextprotocol/hono",
);
const { z } = await load<{ z: Zod }>("zod");

const inputSchema = z.object({ input: z.string().describe("The text") });
const outputSchema = z.object({ words: z.number().int(), chars: z.number().int() });

const handler = createMcpHandler(() => {
  const server = new McpServer({ name: "peer", version: "1.0.0" });
  const description = "Counts the words and characters of a text.";
  server.registerTool("text_analyse", { description, inputSchema, outputSchema }, ({ input }) => {
    const words = input.split(/\s+/).filter((word) => word !== "").length;
    const structuredContent = { words, chars: [...input].length };
    const text = JSON.stringify(structuredContent);
    return { content: [{ type: "text", text }], structuredContent };
  });
  return server;
});
const app = createMcpHonoApp();
app.all("/mcp", (c) => handler.fetch(c.req.raw, { parsedBody: c.get("parsedBody") }));

const address = { hostname: "127.0.0.1", port: 0 };
const runtimes = globalThis as unknown as {
  Deno?: { serve(options: object, handler: HonoApp["fetch"]): { addr: { port: number } } };
  Bun?: { serve(options: object): { port: number } };
};
const fetchHandler = (request: Request) => app.fetch(request);
const port = runtimes.Deno?.serve({ ...address, onListen: () => {} }, fetchHandler).addr.port ??
  runtimes.Bun?.serve({ ...address, fetch: fetchHandler }).port;
process.stderr.write(`listening on http://127.0.0.1:${port}\n`);
