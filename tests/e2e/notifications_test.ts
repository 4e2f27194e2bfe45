/**
 * What a client is told of its call while it runs, by the real server: log lines and progress, as
 * server-sent events in front of the answer.
 */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { buildNative } from "../../native/build/build.ts";
import { fixtureFolder } from "../fixtures/build.ts";
import { test } from "../harness.ts";
import { withServer } from "./support.ts";

const BOTH = "application/json, text/event-stream";

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: { readonly structuredContent?: unknown; readonly isError?: boolean };
  readonly error?: { readonly code: number; readonly message: string };
}

interface Answer {
  readonly type: string | null;
  readonly messages: readonly Message[];
}

async function withTools(engine: string, body: (url: string) => Promise<void>): Promise<void> {
  if (engine === "native") await buildNative();
  await withServer({
    plugins: [fixtureFolder("test"), fixtureFolder("text")],
    args: ["--engine", engine],
    // The portable engine takes the time that its thread waits for a processor for the guest's.
    env: { ATOLL_LIMITS__CPU_MS: "30000" },
    tools: ["test_tool_with_progress", "text_analyse"],
  }, (server) => body(server.url));
}

function callRequest(name: string, args: object, meta: object, accept: string): RequestInit {
  const _meta = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": { name: "test", version: "0.0.0" },
    "io.modelcontextprotocol/clientCapabilities": {},
    ...meta,
  };
  return {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept,
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "tools/call",
      "mcp-name": name,
    },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 7,
      method: "tools/call",
      params: { name, arguments: args, _meta },
    }),
  };
}

async function call(
  url: string,
  name: string,
  { args = {}, meta = {}, accept = BOTH }: { args?: object; meta?: object; accept?: string } = {},
): Promise<Answer> {
  const response = await fetch(`${url}/mcp`, callRequest(name, args, meta, accept));
  const type = response.headers.get("content-type");
  const text = await response.text();
  const events = type === "text/event-stream" ? text.split("\n\n").slice(0, -1) : [`data: ${text}`];
  return {
    type,
    messages: events.map((event) => {
      assert.ok(event.startsWith("data: "), event);
      return JSON.parse(event.slice("data: ".length)) as Message;
    }),
  };
}

const LOG_LEVEL = "io.modelcontextprotocol/logLevel";

for (const engine of ["native", "portable"]) {
  test(`${engine}: log lines come before the result, at the level that was asked for`, () =>
    withTools(engine, async (url) => {
      const name = "test_tool_with_logging";
      const told = await call(url, name, { meta: { [LOG_LEVEL]: "info" } });
      assert.equal(told.type, "text/event-stream");
      const texts = ["Tool execution started", "Tool processing data", "Tool execution completed"];
      assert.deepEqual(
        told.messages.slice(0, -1),
        texts.map((data) => ({
          jsonrpc: "2.0",
          method: "notifications/message",
          params: { level: "info", logger: "test", data },
        })),
      );
      assert.equal(told.messages.at(-1)?.result?.structuredContent, "logged");
      // Standard error is a warning, standard output is not.
      const warned = await call(url, "test_logging_tool", { meta: { [LOG_LEVEL]: "warning" } });
      assert.equal(warned.messages[0]?.params?.level, "warning");
      for (
        const quiet of [{ meta: { [LOG_LEVEL]: "error" } }, {}, {
          meta: { [LOG_LEVEL]: "debug" },
          accept: "application/json",
        }]
      ) {
        const { type, messages } = await call(url, name, quiet);
        assert.equal(type, "application/json");
        assert.equal(messages.length, 1);
      }
      const [wrong] = (await call(url, name, { meta: { [LOG_LEVEL]: "loud" } })).messages;
      assert.equal(wrong?.error?.code, -32602);
      assert.match(wrong?.error?.message ?? "", /"loud" is no log level/);
    }));

  test(`${engine}: progress grows, carries its token, and comes while the tool runs`, () =>
    withTools(engine, async (url) => {
      const meta = { progressToken: "far" };
      const asked = callRequest("test_tool_with_progress", {}, meta, BOTH);
      const response = await fetch(`${url}/mcp`, asked);
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      const first = await reader.read();
      assert.match(first.value ?? "", /^data: .*"progress":0,"total":100/);
      let rest = "";
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        rest += next.value;
      }
      assert.match(rest, /"progressToken":"far","progress":50,"total":100,"message":"half of it"/);
      assert.match(rest, /"progress":100.*\n\ndata: \{"jsonrpc":"2.0","id":7,"result"/s);
      // Without a token, or with one that is none, nobody is told.
      for (const token of [undefined, null, 1.5, {}]) {
        const quiet = await call(url, "test_tool_with_progress", {
          meta: { progressToken: token },
        });
        assert.equal(quiet.type, "application/json");
        assert.equal(quiet.messages[0]?.result?.structuredContent, "done");
      }
    }));

  test(`A19, ${engine}: a flood of reports and lines is thinned out and does not delay the result`, () =>
    withTools(engine, async (url) => {
      const reports = await call(url, "test_report_flood", {
        args: { reports: 10_000 },
        meta: { progressToken: 3 },
      });
      const values = reports.messages.slice(0, -1).map((message) =>
        Number(message.params?.progress)
      );
      // A burst, a few more each second that it takes, and the last one.
      assert.ok(values.length >= 10 && values.length < 500, `${values.length}`);
      assert.ok(values.every((value, index) => index === 0 || value > values[index - 1]!));
      assert.equal(reports.messages.at(-1)?.result?.structuredContent, 10_000);
      assert.equal(values.at(-1), 9_999);
      const lines = await call(url, "test_log_lines", {
        args: { lines: 2_000 },
        meta: { [LOG_LEVEL]: "info" },
      });
      assert.equal(lines.messages.at(-1)?.result?.structuredContent, 2_000);
      // What was not passed on was counted.
      const passed = lines.messages.slice(0, -1).map((message) => message.params?.data);
      const told = passed.reduce<number>((sum, data) => {
        if (typeof data === "string") return sum + 1;
        const { lost, text } = data as { lost: number; text: string };
        return sum + lost + (text === "" ? 0 : 1);
      }, 0);
      // Of the last ones the core tells nobody: the next line would have said it.
      if (engine === "portable") assert.equal(told, 2_000);
      else assert.ok(told > 0 && told <= 2_000, `${told}`);
    }));

  test(`${engine}: a client that reads no events holds nobody up, and one that leaves ends its call`, () =>
    withTools(engine, async (url) => {
      const port = Number(new URL(url).port);
      const meta = { [LOG_LEVEL]: "info" };
      const { headers, body } = callRequest("test_log_lines", { lines: 2_000 }, meta, BOTH);
      const fields = Object.entries(headers as Record<string, string>)
        .map(([name, value]) => `${name}: ${value}`);
      const head = [
        "POST /mcp HTTP/1.1",
        `host: 127.0.0.1:${port}`,
        `content-length: ${String(body).length}`,
        ...fields,
      ];
      const socket = connect(port, "127.0.0.1");
      socket.pause();
      socket.on("error", () => {});
      socket.write(`${head.join("\r\n")}\r\n\r\n${body}`);
      const other = await call(url, "text_analyse", { args: { input: "a b" } });
      assert.deepEqual(other.messages[0]?.result?.structuredContent, { words: 2, chars: 3 });
      socket.destroy();
      const again = await call(url, "test_log_lines", { args: { lines: 1 }, meta });
      assert.equal(again.messages.at(-1)?.result?.structuredContent, 1);
    }));
}

test("an older revision gets progress as events too, and no log over HTTP", () =>
  withTools("portable", async (url) => {
    const response = await fetch(`${url}/mcp`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: BOTH,
        "mcp-protocol-version": "2025-11-25",
      },
      body: JSON.stringify({
        jsonrpc: "2.0",
        id: 1,
        method: "tools/call",
        params: { name: "test_tool_with_progress", arguments: {}, _meta: { progressToken: 9 } },
      }),
    });
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    assert.equal((await response.text()).match(/"progressToken":9/g)?.length, 3);
  }));
