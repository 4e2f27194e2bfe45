/** How the real server ends: by a signal under load, at the end of standard input. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
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

test("A25: what runs on after the grace time is answered, and the server ends with 0", async () => {
  const server = await startServer({
    plugins: [fixtureFolder("hostile")],
    tools: ["hostile_sleep"],
    env: { ATOLL_HTTP__GRACE_MS: "300" },
  });
  const running = Array.from({ length: 4 }, () => sleepCall(server.url, 20_000));
  await new Promise((resolve) => setTimeout(resolve, 500));
  const stopped = server.stop("SIGTERM");
  for (const { error } of await Promise.all(running)) {
    assert.equal(error?.code, -32000);
    assert.equal(error?.data.reason, "closed");
  }
  assert.equal(await stopped, 0);
});

test("SIGTERM with standard input and output: a large answer is written whole", async () => {
  const options = {
    plugins: [fixtureFolder("hostile")],
    args: ["--stdio", "--engine", "portable"],
    env: { ATOLL_LIMITS__OUTPUT_BYTES: "4000000" },
  };
  const [program = "", ...args] = serveCommand(options);
  const child = spawn(program, args, { cwd: ROOT, env: serveEnvironment(options) });
  let stderr = "";
  child.stderr.on("data", (chunk) => stderr += String(chunk));
  const ready = async () => {
    while (!stderr.includes("hostile_big_output")) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  await ready();
  const call = {
    jsonrpc: "2.0",
    id: 1,
    method: "tools/call",
    params: { name: "hostile_big_output", arguments: { bytes: 1_000_000 } },
  };
  child.stdin.write(`${JSON.stringify(call)}\n`);
  // A pipe holds 64 KiB: from here on the server waits for its reader.
  let stdout = "";
  child.stdout.once("data", (chunk) => {
    stdout += String(chunk);
    child.stdout.pause();
  });
  while (stdout === "") await new Promise((resolve) => setTimeout(resolve, 5));
  if (child.pid !== undefined) process.kill(child.pid, "SIGTERM");
  await new Promise((resolve) => setTimeout(resolve, 200));
  const ended = once(child, "close");
  child.stdout.on("data", (chunk) => stdout += String(chunk));
  child.stdout.resume();
  const [status] = await ended as [number | null];
  assert.equal(status, 0);
  assert.ok(stdout.endsWith("\n"), `cut after ${stdout.length} bytes`);
  const answer = JSON.parse(stdout) as { id: number; result?: unknown };
  assert.equal(answer.id, 1);
  assert.ok(answer.result !== undefined && stdout.length > 1_000_000, stdout.slice(0, 200));
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
