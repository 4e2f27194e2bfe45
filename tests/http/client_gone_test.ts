/**
 * A client that goes away, in each phase of a request: nothing of its call is left, and others are
 * served meanwhile.
 */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import type { NativeSandbox } from "../../src/sandbox/native.ts";
import type { Sandbox } from "../../src/sandbox/sandbox.ts";
import { ENGINES } from "../conformance/support.ts";
import { test } from "../harness.ts";
import { type RunningApp, withApp } from "./support.ts";

/** No call ends by itself as long as a test runs, except where its client has gone. */
const LIMITS = { wallMs: 3_600_000, cpuMs: 3_600_000, concurrency: 4, queue: 0 };

interface Phase {
  readonly name: string;
  /** What is sent before the client goes. */
  readonly text: string;
  /** What the client waits for before it goes: text of the answer, or that its call runs. */
  readonly until?: string | "running";
}

const HOST = "host: 127.0.0.1\r\n";
const LONG = "content-length: 100000\r\n";
const post = (path: string) => `POST /http/hostile-http${path} HTTP/1.1\r\n${HOST}`;
const get = (path: string) => `GET /http/hostile-http${path} HTTP/1.1\r\n${HOST}\r\n`;

function mcp(name: string, args: object, meta: object = {}): string {
  const params = { name, arguments: args, _meta: meta };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params });
  const fields = [
    "POST /mcp HTTP/1.1",
    "host: 127.0.0.1",
    "content-type: application/json",
    "accept: application/json, text/event-stream",
    "mcp-protocol-version: 2025-11-25",
    `content-length: ${body.length}`,
  ];
  return `${fields.join("\r\n")}\r\n\r\n${body}`;
}

const PHASES: readonly Phase[] = [
  { name: "connecting", text: "" },
  { name: "half a head", text: post("/count").slice(0, -9) },
  { name: "the head", text: `${post("/count")}${LONG}\r\n` },
  {
    name: "half a body, of which the guest waits for the rest",
    text: `${post("/count")}${LONG}\r\n${"x".repeat(40_000)}`,
    until: "running",
  },
  {
    name: "half a body, which the guest echoes",
    text: `POST /http/hello-http/echo HTTP/1.1\r\n${HOST}${LONG}\r\n${"x".repeat(40_000)}`,
    until: "xxxx",
  },
  { name: "waiting", text: get("/park"), until: "running" },
  { name: "waiting for a guest that spins", text: get("/spin"), until: "running" },
  { name: "a response that has begun and stands still", text: get("/stuck-body"), until: "begun" },
  { name: "a response without an end", text: get("/forever"), until: "xxxx" },
  { name: "the last byte", text: get("/ok"), until: "\r\n\r\n" },
  { name: "MCP: half a head", text: mcp("hostile_park", {}).slice(0, 90) },
  { name: "MCP: half a body", text: mcp("hostile_park", {}).slice(0, -20) },
  { name: "MCP: waiting", text: mcp("hostile_park", {}), until: "running" },
  { name: "MCP: waiting for a guest that spins", text: mcp("hostile_spin", {}), until: "running" },
  {
    name: "MCP: a stream of events that has begun",
    text: mcp("test_report_and_park", {}, { progressToken: 1 }),
    until: '"progress":1',
  },
  { name: "MCP: the last byte", text: mcp("text_analyse", { input: "a b" }), until: "words" },
];

for (const engine of ENGINES) {
  test(`A18, A30, ${engine.kind}: whenever a client goes away, nothing of its call is left`, () => {
    let sandbox: Sandbox | null = null;
    const open = async () => sandbox = await engine.open();
    const plugins = ["hostile", "hostile-http", "hello-http", "test", "text"] as const;
    return withApp({ plugins, open, limits: LIMITS }, async (app) => {
      for (const phase of PHASES) {
        await goAway(app, phase);
        await answersOthers(app);
        await leftNothing(app, sandbox, phase.name);
      }
      // Many at once, of every phase, more than there are places for.
      await Promise.all(PHASES.flatMap((phase) => [goAway(app, phase, 5), goAway(app, phase, 50)]));
      await leftNothing(app, sandbox, "all at once");
      await answersOthers(app);
    });
  });
}

// A server that reads no further, because the guest does not, sees no end of the connection either:
// Deno tells of it when it reads again, so that such a call may last until its wall clock.
for (const engine of ENGINES) {
  test(`A18, ${engine.kind}: a client that goes away from a guest that reads nothing`, () => {
    let sandbox: Sandbox | null = null;
    const open = async () => sandbox = await engine.open();
    const plugins = ["hostile-http", "text"] as const;
    return withApp({ plugins, open, limits: { ...LIMITS, wallMs: 1_500 } }, async (app) => {
      const text = `${post("/hold")}${LONG}\r\n${"x".repeat(100_000)}`;
      await goAway(app, { name: "hold", text, until: "running" });
      await answersOthers(app);
      await leftNothing(app, sandbox, "hold");
    });
  });
}

/** Sends what the phase says and goes away when it has come that far, or after `ms`. */
async function goAway(app: RunningApp, phase: Phase, ms?: number): Promise<void> {
  const socket = connect(app.port, "127.0.0.1");
  socket.on("error", () => {});
  socket.write(phase.text);
  if (ms !== undefined) await sleep(ms);
  else if (phase.until === "running") { while (app.dispatcher.inFlight === 0) await sleep(5); }
  else if (phase.until !== undefined) await heard(socket, phase.until);
  socket.destroy();
}

/** Resolves when a text was received, or the connection is closed. */
function heard(socket: Socket, text: string): Promise<void> {
  return new Promise((resolve) => {
    let all = "";
    socket.on("data", (chunk) => {
      all += chunk.toString("latin1");
      if (all.includes(text)) resolve();
    });
    socket.on("close", () => resolve());
  });
}

async function answersOthers(app: RunningApp): Promise<void> {
  const tool = app.registry.tool("text_analyse");
  assert.ok(tool);
  const { json } = await app.dispatcher.callTool(tool, '{"input":"still here"}');
  assert.deepEqual(JSON.parse(json), { words: 2, chars: 10 });
}

/** A leak would have this wait until the watchdog ends it; the phase is in what it says then. */
async function leftNothing(app: RunningApp, sandbox: Sandbox | null, phase: string): Promise<void> {
  const begun = performance.now();
  for (let told = false;;) {
    const left = app.dispatcher.inFlight + await leftInEngine(sandbox);
    if (left === 0) return;
    if (!told && performance.now() - begun > 10_000) console.error(`${phase}: ${left} are left`);
    told ||= performance.now() - begun > 10_000;
    await sleep(10);
  }
}

async function leftInEngine(sandbox: Sandbox | null): Promise<number> {
  if (sandbox?.kind !== "native") return 0;
  const { callsRunning, pool } = await (sandbox as NativeSandbox).engineStats();
  return callsRunning + pool.componentInstances + pool.memories + pool.stacks;
}

const sleep = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms));
