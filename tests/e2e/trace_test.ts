/**
 * A request's trace context on its way through the real server: from the field `traceparent` to the
 * lines that the guest writes while it serves that request.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildNative } from "../../native/build/build.ts";
import { fixtureFolder } from "../fixtures/build.ts";
import { test } from "../harness.ts";
import { type ServerProcess, withServer } from "./support.ts";

const FIRST = "4bf92f3577b34da6a3ce929d0e0e4736";
const SECOND = "0af7651916cd43dd8448eb211c80319c";

/** Has the guest write a line to standard output and to standard error. */
async function write(server: ServerProcess, line: string, traceparent?: string): Promise<void> {
  const response = await fetch(`${server.url}/mcp`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "mcp-protocol-version": "2025-11-25",
      ...(traceparent === undefined ? {} : { traceparent }),
    },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method: "tools/call",
      params: { name: "hostile_log", arguments: { line } },
    }),
  });
  const answer = await response.json() as { result?: { isError?: boolean } };
  assert.ok(answer.result !== undefined && !answer.result.isError, JSON.stringify(answer));
}

/** The guest's lines in the server's log, as `MESSAGE STREAM TRACE-ID`. */
function guestLines(server: ServerProcess): string[] {
  return server.stderr().split("\n").filter((line) => line.startsWith("{") && line.endsWith("}"))
    .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>)
    .filter((line) => line.plugin === "hostile" && line.stream !== undefined)
    .map((line) => `${line.message} ${line.stream} ${line.traceId ?? "untraced"}`)
    .sort();
}

for (const engine of ["native", "portable"] as const) {
  test(`a guest's lines name the trace of their request (${engine})`, async () => {
    await buildNative();
    const folder = mkdtempSync(join(tmpdir(), "atoll-trace-"));
    const config = join(folder, "atoll.json");
    writeFileSync(config, JSON.stringify({ log: { level: "info", format: "json" } }));
    try {
      await withServer({
        plugins: [fixtureFolder("hostile")],
        args: ["--engine", engine, "--config", config],
        tools: ["hostile_log"],
      }, async (server) => {
        // At once: each line has the trace of its own request.
        await Promise.all([
          write(server, "a", `00-${FIRST}-00f067aa0ba902b7-01`),
          write(server, "b", `00-${SECOND}-b7ad6b7169203331-00`),
          write(server, "c"),
          write(server, "d", "00-nonsense"),
        ]);
        while (guestLines(server).length < 8) {
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        const both = (line: string, trace: string) => [
          `${line} stderr ${trace}`,
          `${line} stdout ${trace}`,
        ];
        assert.deepEqual(guestLines(server), [
          ...both("a", FIRST),
          ...both("b", SECOND),
          ...both("c", "untraced"),
          ...both("d", "untraced"),
        ]);
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}
