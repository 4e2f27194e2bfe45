/** What the real server answers while it starts: nobody is told that a plugin does not exist. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { nativeFolder, prepareFolders } from "../../native/build/cache.ts";
import { takeLock } from "../../native/build/lock.ts";
import { fixtureFolder } from "../fixtures/build.ts";
import { test } from "../harness.ts";
import { ROOT, serveCommand, serveEnvironment } from "./support.ts";

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  assert.ok(address !== null && typeof address === "object");
  return address.port;
}

async function rpc(url: string, method: string, params: object): Promise<Record<string, unknown>> {
  const response = await fetch(`${url}/mcp`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "accept": "application/json, text/event-stream",
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": method,
      ...("name" in params ? { "mcp-name": String(params.name) } : {}),
    },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method,
      params: {
        ...params,
        _meta: {
          "io.modelcontextprotocol/protocolVersion": "2026-07-28",
          "io.modelcontextprotocol/clientInfo": { name: "test", version: "1" },
          "io.modelcontextprotocol/clientCapabilities": {},
        },
      },
    }),
  });
  return await response.json() as Record<string, unknown>;
}

test("while --engine native waits for its build, plugins are starting, not unknown", async () => {
  const cache = mkdtempSync(join(tmpdir(), "atoll-start-"));
  prepareFolders(cache);
  // Somebody else is building: the server waits for as long as the test needs.
  const lock = await takeLock(join(nativeFolder(cache), "lock"));
  const port = await freePort();
  const options = {
    plugins: [fixtureFolder("text"), fixtureFolder("hello-http")],
    args: ["--engine", "native", "--port", String(port)],
    env: { ATOLL_CACHE_DIR: cache },
  };
  const [program = "", ...args] = serveCommand(options);
  const child = spawn(program, args, { cwd: ROOT, env: serveEnvironment(options) });
  let stderr = "";
  child.stderr.on("data", (chunk) => stderr += String(chunk));
  const exited = once(child, "exit");
  try {
    const url = `http://127.0.0.1:${port}`;
    while (!await fetch(`${url}/health/live`).then((r) => r.ok, () => false)) {
      assert.equal(child.exitCode, null, stderr);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.equal((await fetch(`${url}/health/ready`)).status, 503);
    const list = await rpc(url, "tools/list", {}) as {
      result: { ttlMs: number; tools: unknown[] };
    };
    assert.deepEqual([list.result.tools, list.result.ttlMs], [[], 0]);
    const call = await rpc(url, "tools/call", {
      name: "text_reverse",
      arguments: { data: "" },
    }) as {
      error: { code: number; data: { reason: string; pending: string[] } };
    };
    assert.equal(call.error.code, -32000);
    assert.equal(call.error.data.reason, "starting");
    assert.deepEqual(call.error.data.pending, ["hello-http", "text"]);
    const route = await fetch(`${url}/http/hello-http/`);
    assert.equal(route.status, 503);
    assert.ok(route.headers.has("retry-after"));
    assert.doesNotMatch(stderr, /listening/);
    if (child.pid !== undefined) process.kill(child.pid, "SIGTERM");
    const [status] = await exited as [number | null];
    assert.equal(status, 0, stderr);
  } finally {
    if (child.exitCode === null) child.kill("SIGKILL");
    lock.release();
    rmSync(cache, { recursive: true });
  }
});
