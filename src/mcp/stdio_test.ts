import assert from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import {
  ECHO,
  envelopeServer,
  type EnvelopeTool,
  type Json,
  MODERN_META,
} from "../../tests/mcp/envelope_tools.ts";
import { openStdio } from "./stdio.ts";

/** A session whose input the test writes and whose output it reads. */
function open(
  tools: readonly EnvelopeTool[] = [ECHO],
  lineBytes = 10_000,
  write?: (text: string) => Promise<void>,
) {
  const { server } = envelopeServer(tools);
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const lines: string[] = [];
  const wakes: (() => void)[] = [];
  const serving = openStdio({
    server,
    input: readable,
    lineBytes,
    write: async (text) => {
      await write?.(text);
      assert.ok(text.endsWith("\n"));
      lines.push(...text.slice(0, -1).split("\n"));
      for (const wake of wakes.splice(0)) wake();
    },
  });
  return {
    lines,
    answered: () => serving.answered(),
    send: (value: unknown) =>
      writer.write(
        value instanceof Uint8Array
          ? value
          : new TextEncoder().encode(`${JSON.stringify(value)}\n`),
      ),
    /** The message at an index, once it is written. */
    async at(index: number): Promise<Json> {
      while (lines.length <= index) await new Promise<void>((resolve) => wakes.push(resolve));
      return JSON.parse(lines[index] ?? "");
    },
    async end(): Promise<string[]> {
      await writer.close();
      await serving.ended;
      return lines;
    },
  };
}

const request = (id: unknown, method: string, params: object = {}) => ({
  jsonrpc: "2.0",
  id,
  method,
  params,
});

const initialize = (version: string) =>
  request(0, "initialize", { protocolVersion: version, capabilities: {}, clientInfo: {} });

test("every revision with a handshake is agreed on, 2024-11-05 too", async () => {
  for (const version of ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]) {
    const session = open();
    await session.send(initialize(version));
    assert.equal((await session.at(0)).result.protocolVersion, version);
    await session.send({ jsonrpc: "2.0", method: "notifications/initialized" });
    await session.send(request(1, "tools/call", { name: "unit_echo", arguments: { a: 1 } }));
    assert.deepEqual((await session.at(1)).result.structuredContent, { a: 1 });
    assert.equal((await session.end()).length, 2);
  }
});

test("modern requests need no handshake and carry their metadata", async () => {
  const session = open();
  await session.send(request("d", "server/discover", { _meta: MODERN_META }));
  const { result } = await session.at(0);
  assert.equal(result.resultType, "complete");
  assert.deepEqual(result.supportedVersions.at(-1), "2024-11-05");
  await session.send(request("e", "server/discover"));
  assert.equal((await session.at(1)).error.code, -32602);
  const meta = { ...MODERN_META, "io.modelcontextprotocol/protocolVersion": "v999" };
  await session.send(request("f", "tools/list", { _meta: meta }));
  assert.equal((await session.at(2)).error.code, -32022);
  await session.end();
});

test("A5: a batch is served where the agreed revision has it", async () => {
  const batch = [request(1, "ping"), request(2, "ping")];
  const old = open();
  await old.send(initialize("2025-03-26"));
  await old.send(batch);
  assert.deepEqual((await old.at(1)).map((one: Json) => one.id), [1, 2]);
  await old.end();
  const later = open();
  await later.send(initialize("2025-06-18"));
  await later.send(batch);
  assert.equal((await later.at(1)).error.code, -32600);
  await later.end();
});

test("A6: lines that are no messages are answered and the session goes on", async () => {
  const session = open([ECHO], 200);
  await session.send(Uint8Array.of(0xff, 0x0a));
  assert.equal((await session.at(0)).error.code, -32700);
  await session.send(new TextEncoder().encode("{\n\n  \r\n"));
  assert.equal((await session.at(1)).error.code, -32700);
  await session.send(request(1, "ping", { filler: "x".repeat(300) }));
  assert.equal((await session.at(2)).error.code, -32600);
  await session.send(request(2, "ping"));
  assert.equal((await session.at(3)).id, 2);
  assert.equal((await session.end()).length, 4);
});

/** Answers when it is told to, or when it is cancelled. */
function waiting() {
  const calls: { answer: () => void; signal: AbortSignal | undefined }[] = [];
  const tool: EnvelopeTool = {
    name: "unit_wait",
    body: (_, options) => {
      const signal = options?.signal;
      return new Promise((resolve) => {
        const answer = () => resolve({ kind: "ok", json: '"late"' });
        signal?.addEventListener("abort", answer);
        calls.push({ answer, signal });
      });
    },
  };
  return { calls, tool };
}

test("requests run beside each other and answers come as they are ready", async () => {
  const { calls, tool } = waiting();
  const session = open([ECHO, tool]);
  await session.send(request("slow", "tools/call", { name: "unit_wait" }));
  await session.send(request("fast", "tools/call", { name: "unit_echo" }));
  assert.equal((await session.at(0)).id, "fast");
  calls[0]?.answer();
  assert.equal((await session.at(1)).id, "slow");
  await session.end();
});

test("a cancelled request is aborted and never answered", async () => {
  const { calls, tool } = waiting();
  const session = open([tool]);
  const cancel = (requestId: unknown) =>
    session.send({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId } });
  await session.send(request(1, "tools/call", { name: "unit_wait" }));
  await session.send(request("1", "tools/call", { name: "unit_wait" }));
  await cancel(2);
  await cancel({});
  await cancel("1");
  await session.send(request(2, "ping"));
  assert.equal((await session.at(0)).id, 2);
  assert.equal(calls[0]?.signal?.aborted, false);
  assert.equal(calls[1]?.signal?.aborted, true);
  calls[0]?.answer();
  assert.equal((await session.at(1)).id, 1);
  assert.equal((await session.end()).length, 2);
});

test("the end of input waits for what runs", async () => {
  const { calls, tool } = waiting();
  const session = open([tool]);
  await session.send(request(1, "tools/call", { name: "unit_wait" }));
  const ended = session.end();
  setTimeout(() => calls[0]?.answer(), 20);
  const lines = await ended;
  assert.equal(JSON.parse(lines[0] ?? "").id, 1);
});

test("A6: a last line that is too long and has no newline is answered too", async () => {
  const session = open([ECHO], 200);
  await session.send(new TextEncoder().encode("x".repeat(300)));
  const lines = await session.end();
  assert.equal(lines.length, 1);
  assert.match(JSON.parse(lines[0] ?? "").error.message, /A line is over 200 bytes/);
});

const pause = () => new Promise((resolve) => setTimeout(resolve, 10));

test("a text is written when the one before it is taken, and short ones together", async () => {
  const takers: (() => void)[] = [];
  const texts: string[] = [];
  const session = open([ECHO], 200_000, (text) => {
    texts.push(text);
    return new Promise((resolve) => takers.push(resolve));
  });
  const messages = [1, 2, 3, 4].map((id) => request(id, "ping"));
  const long = request(5, "tools/call", {
    name: "unit_echo",
    arguments: { text: "x".repeat(100_000) },
  });
  const bytes = [...messages, long].map((one) => `${JSON.stringify(one)}\n`).join("");
  await session.send(new TextEncoder().encode(bytes));
  for (let taken = 0; taken < 3; taken++) {
    while (takers.length <= taken) await pause();
    // Nothing else is begun while this one is under way, however long that takes.
    await pause();
    assert.equal(texts.length, taken + 1);
    takers[taken]?.();
  }
  const ids = texts.map((text) => text.trimEnd().split("\n").map((line) => JSON.parse(line).id));
  assert.deepEqual(ids, [[1], [2, 3, 4], [5]]);
  await session.end();
});

test("answered() waits for what runs and for its answer to be taken, not for more input", async () => {
  const { calls, tool } = waiting();
  let take: (() => void) | null = null;
  const session = open([tool], 10_000, () => new Promise((resolve) => take = resolve));
  await session.send(request(1, "tools/call", { name: "unit_wait" }));
  while (calls.length === 0) await pause();
  let done = false;
  const answered = session.answered().then(() => done = true);
  await pause();
  assert.equal(done, false);
  calls[0]?.answer();
  while (take === null) await pause();
  await pause();
  assert.equal(done, false);
  (take as () => void)();
  await answered;
  assert.equal(JSON.parse(session.lines[0] ?? "").id, 1);
  await session.end();
});

/** A tool that says what it does and how far it is, then waits for its release. */
function tellingTool(release: Promise<void>): EnvelopeTool {
  return {
    name: "unit_tell",
    body: async (_, options) => {
      const follower = options?.follower;
      follower?.log({ stream: "stdout", level: "info", text: "begun", lost: 0 });
      follower?.log({ stream: "stderr", level: "warn", text: "odd", lost: 2 });
      follower?.progress({ progress: 1, total: 2 });
      await release;
      follower?.log({ stream: "stderr", level: "warn", text: "ended", lost: 0 });
      return { kind: "ok", json: "null" };
    },
  };
}

test("a client that set a level is told of its calls before their answers", async () => {
  const session = open([tellingTool(Promise.resolve())]);
  await session.send(initialize("2025-11-25"));
  assert.deepEqual((await session.at(0)).result.capabilities.logging, {});
  await session.send(request(1, "tools/call", { name: "unit_tell" }));
  assert.equal((await session.at(1)).id, 1);
  await session.send(request(2, "logging/setLevel", { level: "loud" }));
  assert.equal((await session.at(2)).error.code, -32602);
  await session.send(request(3, "logging/setLevel", { level: "warning" }));
  assert.deepEqual((await session.at(3)).result, {});
  const _meta = { progressToken: "t" };
  await session.send(request(4, "tools/call", { name: "unit_tell", _meta }));
  const lines = await session.end();
  assert.deepEqual(lines.slice(4).map((line) => JSON.parse(line).params ?? JSON.parse(line).id), [
    { level: "warning", logger: "unit", data: { lost: 2, text: "odd" } },
    { progressToken: "t", progress: 1, total: 2 },
    { level: "warning", logger: "unit", data: "ended" },
    4,
  ]);
});

test("a request of 2026-07-28 says for itself what it wants to be told", async () => {
  const session = open([tellingTool(Promise.resolve())]);
  const level = { "io.modelcontextprotocol/logLevel": "info" };
  await session.send(
    request(1, "tools/call", { name: "unit_tell", _meta: { ...MODERN_META, ...level } }),
  );
  await session.send(request(2, "tools/call", { name: "unit_tell", _meta: MODERN_META }));
  const told = (await session.end()).map((line) => JSON.parse(line) as Json);
  assert.deepEqual(
    told.filter((message) => message.method !== undefined).map((message) => message.params.level),
    ["info", "warning", "warning"],
  );
});

test("nothing more is said of a request that was cancelled", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const session = open([tellingTool(promise)]);
  const _meta = { ...MODERN_META, "io.modelcontextprotocol/logLevel": "debug" };
  await session.send(request(1, "tools/call", { name: "unit_tell", _meta }));
  await session.at(1);
  await session.send({
    jsonrpc: "2.0",
    method: "notifications/cancelled",
    params: { requestId: 1 },
  });
  await session.send(request(2, "tools/list", { _meta: MODERN_META }));
  assert.equal((await session.at(2)).id, 2);
  resolve();
  assert.equal((await session.end()).length, 3);
});

test("a client that does not read gets no more than the log's limit, and its answer", async () => {
  let free: () => void = () => {};
  const blocked = new Promise<void>((resolve) => free = resolve);
  const flood: EnvelopeTool = {
    name: "unit_flood",
    body: async (_, options) => {
      for (let n = 0; n < 5_000; n++) {
        options?.follower?.log({ stream: "stdout", level: "info", text: "x".repeat(100), lost: 0 });
      }
      await Promise.resolve();
      return { kind: "ok", json: "null" };
    },
  };
  const session = open([flood], 10_000, () => blocked);
  const _meta = { ...MODERN_META, "io.modelcontextprotocol/logLevel": "debug" };
  await session.send(request(1, "tools/call", { name: "unit_flood", _meta }));
  setTimeout(free, 20);
  const lines = await session.end();
  assert.ok(lines.join("\n").length < 70_000, `${lines.join("\n").length}`);
  assert.equal(JSON.parse(lines.at(-1) ?? "").id, 1);
});
