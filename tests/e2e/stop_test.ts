/** How the real server ends: by a signal under load, at the end of standard input. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fixtureFolder } from "../fixtures/build.ts";
import { test } from "../harness.ts";
import { ROOT, serveCommand, serveEnvironment, startServer } from "./support.ts";

interface CallAnswer {
  readonly result?: { readonly isError: boolean };
  readonly error?: { readonly code: number; readonly data: { readonly reason: string } };
}

async function sleepCall(url: string, ms: number): Promise<CallAnswer> {
  const response = await fetch(`${url}/mcp`, {
    method: "POST",
    headers: { "content-type": "application/json", "mcp-protocol-version": "2025-11-25" },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method: "tools/call",
      params: { name: "hostile_sleep", arguments: { ms } },
    }),
  });
  return await response.json() as CallAnswer;
}

test("A25: SIGTERM under load: running calls are answered, new ones refused, exit 0", async () => {
  const server = await startServer({
    plugins: [fixtureFolder("hostile")],
    tools: ["hostile_sleep"],
  });
  await sleepCall(server.url, 1);
  const running = Array.from({ length: 8 }, () => sleepCall(server.url, 1_500));
  // Long enough that all of them are in a guest, short enough that none has ended.
  await new Promise((resolve) => setTimeout(resolve, 500));
  const stopped = server.stop("SIGTERM");
  while (!server.stderr().includes("stopping")) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const late = await sleepCall(server.url, 1).catch(() => null);
  // Refused by the dispatcher, or the listener has closed already.
  assert.ok(late === null || late.error?.data.reason === "closed");
  for (const { result } of await Promise.all(running)) assert.equal(result?.isError, false);
  assert.equal(await stopped, 0);
});

test("the end of standard input: what was asked is answered, then exit 0", async () => {
  const options = { plugins: [fixtureFolder("text")], args: ["--stdio"] };
  const [program = "", ...args] = serveCommand(options);
  const child = spawn(program, args, { cwd: ROOT, env: serveEnvironment({}) });
  let stdout = "";
  child.stdout.on("data", (chunk) => stdout += String(chunk));
  const ended = once(child, "close");
  const lines = [
    { jsonrpc: "2.0", id: 1, method: "initialize", params: { protocolVersion: "2024-11-05" } },
    { jsonrpc: "2.0", method: "notifications/initialized" },
    { jsonrpc: "2.0", id: 2, method: "ping" },
  ];
  child.stdin.end(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const [status] = await ended as [number | null];
  assert.equal(status, 0);
  const answers = stdout.trimEnd().split("\n").map((line) => JSON.parse(line) as { id: number });
  assert.deepEqual(answers.map((answer) => answer.id), [1, 2]);
});
