import assert from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import {
  ECHO,
  envelopeServer,
  type EnvelopeTool,
  type Json,
} from "../../tests/mcp/envelope_tools.ts";
import { AtollError } from "../core/errors.ts";
import type { Fields } from "./envelope.ts";
import {
  HTTP_REVISIONS,
  R2025_06_18,
  R2025_11_25,
  R2026_07_28,
  type Revision,
  STDIO_REVISIONS,
} from "./revisions.ts";
import type { Context, McpServer } from "./server.ts";

interface Asked {
  readonly status: number;
  readonly body: Json;
  readonly retryAfterSeconds?: number | undefined;
}

async function ask(
  server: McpServer,
  revision: Revision,
  method: string,
  params: Fields = {},
  more: Partial<Context> = {},
): Promise<Asked> {
  const reply = await server.request({ kind: "request", id: 7, method, params }, {
    revision,
    revisions: HTTP_REVISIONS,
    clientCapabilities: revision.modern ? {} : null,
    ...more,
  });
  if (typeof reply === "string") return { status: 200, body: JSON.parse(reply) };
  const { text, httpStatus, retryAfterSeconds } = reply;
  return { status: httpStatus, body: JSON.parse(text), retryAfterSeconds };
}

const call = (server: McpServer, revision: Revision, name: string, args: unknown = {}) =>
  ask(server, revision, "tools/call", { name, arguments: args });

const SERVER_INFO = { name: "atoll", version: "0.0.0-test" };
const ALL = STDIO_REVISIONS;

test("initialize agrees on the asked revision, or on the newest with a handshake", async () => {
  const { server } = envelopeServer([]);
  for (const revision of HTTP_REVISIONS.filter((one) => !one.modern)) {
    const params = { protocolVersion: revision.name, capabilities: {}, clientInfo: {} };
    const { body } = await ask(server, R2025_06_18, "initialize", params);
    assert.deepEqual(body, {
      jsonrpc: "2.0",
      id: 7,
      result: {
        protocolVersion: revision.name,
        capabilities: { tools: {}, prompts: {}, resources: {} },
        serverInfo: SERVER_INFO,
      },
    });
  }
  for (const unknown of ["2024-11-05", "1900-01-01", "2026-07-28"]) {
    const { body } = await ask(server, R2025_06_18, "initialize", { protocolVersion: unknown });
    assert.equal(body.result.protocolVersion, "2025-11-25");
  }
  const { body } = await ask(server, R2025_06_18, "initialize", {});
  assert.equal(body.error.code, -32602);
});

test("2024-11-05 is agreed on where the transport has it", async () => {
  const { server } = envelopeServer([]);
  const { body } = await ask(server, R2025_11_25, "initialize", { protocolVersion: "2024-11-05" }, {
    revisions: STDIO_REVISIONS,
  });
  assert.equal(body.result.protocolVersion, "2024-11-05");
});

test("server/discover names revisions, capabilities, itself and how long it holds", async () => {
  const { server } = envelopeServer([], { ttlMs: 5, instructions: "Be kind" });
  const { body } = await ask(server, R2026_07_28, "server/discover");
  assert.deepEqual(body.result, {
    resultType: "complete",
    supportedVersions: ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"],
    capabilities: { tools: {}, prompts: {}, resources: {}, logging: {} },
    instructions: "Be kind",
    ttlMs: 5,
    cacheScope: "public",
    _meta: { "io.modelcontextprotocol/serverInfo": SERVER_INFO },
  });
});

test("A5: methods of the other era and unknown ones are not found", async () => {
  const { server } = envelopeServer([]);
  for (const method of ["initialize", "ping", "logging/setLevel", "resources/subscribe", "x/y"]) {
    const { status, body } = await ask(server, R2026_07_28, method, { protocolVersion: "x" });
    assert.equal(status, 404, method);
    assert.equal(body.error.code, -32601);
    assert.equal(body.id, 7);
  }
  const { status, body } = await ask(server, R2025_11_25, "server/discover");
  assert.equal(status, 200);
  assert.equal(body.error.code, -32601);
});

test("changes are not announced: none is declared, and there is nothing to listen to", async () => {
  const { server } = envelopeServer([ECHO]);
  const { result } = (await ask(server, R2026_07_28, "server/discover")).body;
  assert.deepEqual(result.capabilities, { tools: {}, prompts: {}, resources: {}, logging: {} });
  const asked = await ask(server, R2026_07_28, "subscriptions/listen", {
    notifications: { toolsListChanged: true },
  });
  assert.deepEqual([asked.status, asked.body.error.code], [404, -32601]);
  const subscribed = await ask(server, R2025_11_25, "resources/subscribe", { uri: "file:///x" });
  assert.deepEqual([subscribed.status, subscribed.body.error.code], [200, -32601]);
});

test("ping answers with an empty object", async () => {
  const { server } = envelopeServer([]);
  const { body } = await ask(server, R2025_11_25, "ping");
  assert.deepEqual(body, { jsonrpc: "2.0", id: 7, result: {} });
});

test("lists of what is not offered are empty, and cacheable since 2026-07-28", async () => {
  const { server } = envelopeServer([]);
  const lists = [
    ["prompts/list", "prompts"],
    ["resources/list", "resources"],
    ["resources/templates/list", "resourceTemplates"],
  ] as const;
  for (const [method, field] of lists) {
    const modern = (await ask(server, R2026_07_28, method)).body.result;
    assert.deepEqual(modern[field], []);
    assert.equal(modern.ttlMs, 60_000);
    assert.equal(modern.cacheScope, "public");
    assert.deepEqual((await ask(server, R2025_11_25, method)).body.result, { [field]: [] });
  }
});

test("a resource that is not there has the code of its revision", async () => {
  const { server } = envelopeServer([]);
  const read = (revision: Revision) =>
    ask(server, revision, "resources/read", { uri: "file:///x" });
  assert.equal((await read(R2026_07_28)).body.error.code, -32602);
  assert.equal((await read(R2025_11_25)).body.error.code, -32002);
  assert.deepEqual((await read(R2026_07_28)).body.error.data, { uri: "file:///x" });
  assert.equal(
    (await ask(server, R2026_07_28, "prompts/get", { name: "x" })).body.error.code,
    -32602,
  );
  assert.equal((await ask(server, R2026_07_28, "resources/read")).body.error.code, -32602);
});

const named = (name: string): EnvelopeTool => ({ ...ECHO, name });

test("tools are listed in the order of their names, page by page", async () => {
  const names = ["b", "a", "Z", "d", "c"];
  const { server } = envelopeServer(names.map(named), { pageSize: 2 });
  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const params = cursor === undefined ? {} : { cursor };
    const { result } = (await ask(server, R2026_07_28, "tools/list", params)).body;
    assert.equal(result.cacheScope, "public");
    seen.push(...result.tools.map((tool: { name: string }) => tool.name));
    cursor = result.nextCursor;
  } while (cursor !== undefined);
  assert.deepEqual(seen, ["Z", "a", "b", "c", "d"]);
});

test("a page of huge tools ends before it is too long, and never without a tool", async () => {
  const description = "d".repeat(3 * 1024 * 1024);
  const names = ["a", "b", "c"];
  const { server } = envelopeServer(names.map((name) => ({ ...ECHO, name, description })));
  const seen: string[][] = [];
  let cursor: string | undefined;
  do {
    const params = cursor === undefined ? {} : { cursor };
    const { result } = (await ask(server, R2026_07_28, "tools/list", params)).body;
    seen.push(result.tools.map((tool: { name: string }) => tool.name));
    cursor = result.nextCursor;
  } while (cursor !== undefined);
  assert.deepEqual(seen, [["a"], ["b"], ["c"]]);
});

test("a cursor that is not ours is refused", async () => {
  const { server } = envelopeServer([ECHO]);
  for (const cursor of ["x", "", "%%", btoa("before:a"), 1, null]) {
    const { body } = await ask(server, R2026_07_28, "tools/list", { cursor });
    assert.equal(body.error?.code, -32602, String(cursor));
  }
});

test("a tool is listed with its schemas, wrapped before 2026-07-28", async () => {
  const tool: EnvelopeTool = {
    ...ECHO,
    outputSchema: { type: "number" },
    wrapsResult: true,
  };
  const { server } = envelopeServer([tool]);
  const modern = (await ask(server, R2026_07_28, "tools/list")).body.result.tools[0];
  assert.deepEqual(modern, {
    name: "unit_echo",
    description: "Function of the plugin unit",
    inputSchema: { type: "object" },
    outputSchema: { type: "number" },
  });
  const legacy = (await ask(server, R2025_11_25, "tools/list")).body.result.tools[0];
  assert.deepEqual(legacy.outputSchema, {
    type: "object",
    properties: { result: { type: "number" } },
    required: ["result"],
  });
});

test("a result is structured content and its JSON as text", async () => {
  const json = '{"words":2,"text":"\\u2028 \\"x\\""}';
  const body = () => ({ kind: "ok", json }) as const;
  const { server } = envelopeServer([{ name: "t", body, outputSchema: { type: "object" } }]);
  const modern = (await call(server, R2026_07_28, "t")).body.result;
  assert.deepEqual(modern, {
    resultType: "complete",
    content: [{ type: "text", text: json }],
    structuredContent: JSON.parse(json),
    isError: false,
    _meta: { "io.modelcontextprotocol/serverInfo": SERVER_INFO },
  });
  const legacy = (await call(server, R2025_11_25, "t")).body.result;
  assert.deepEqual(legacy, {
    content: [{ type: "text", text: json }],
    structuredContent: JSON.parse(json),
    isError: false,
  });
});

test("a result that is no object is wrapped before 2026-07-28 only", async () => {
  for (const json of ["1.5", '"a"', "[1]", "null", "true"]) {
    const body = () => ({ kind: "ok", json }) as const;
    const { server } = envelopeServer([{ name: "t", body, outputSchema: {}, wrapsResult: true }]);
    for (const revision of ALL) {
      const { result } = (await call(server, revision, "t")).body;
      const value = JSON.parse(json);
      assert.deepEqual(result.structuredContent, revision.modern ? value : { result: value });
      assert.equal(result.content[0].text, json);
    }
  }
});

test("a value that may be no object is wrapped even when it is one", async () => {
  const body = () => ({ kind: "ok", json: '{"a":1}' }) as const;
  const outputSchema = { anyOf: [{ type: "object" }, { type: "null" }] };
  const { server } = envelopeServer([{ name: "t", body, outputSchema, wrapsResult: true }]);
  const { result } = (await call(server, R2025_11_25, "t")).body;
  assert.deepEqual(result.structuredContent, { result: { a: 1 } });
});

test("a function without a value has nothing to tell", async () => {
  const { server } = envelopeServer([{ name: "t", body: () => ({ kind: "ok", json: "null" }) }]);
  for (const revision of ALL) {
    const { result } = (await call(server, revision, "t")).body;
    assert.deepEqual(result.content, []);
    assert.equal(result.isError, false);
    assert.ok(!("structuredContent" in result));
  }
});

test("an error that is an object is not wrapped", async () => {
  const body = () => ({ kind: "error", json: '{"case":"a"}' }) as const;
  const errorSchema = { type: "object" };
  const { server } = envelopeServer([{ name: "t", body, errorSchema }]);
  const { result } = (await call(server, R2025_11_25, "t")).body;
  assert.deepEqual(result.structuredContent, { case: "a" });
});

test("the error side of a function is an error result with structured content", async () => {
  const body = () => ({ kind: "error", json: '"empty"' }) as const;
  const { server } = envelopeServer([{ name: "t", body }]);
  const modern = (await call(server, R2026_07_28, "t")).body.result;
  assert.equal(modern.isError, true);
  assert.equal(modern.structuredContent, "empty");
  const legacy = (await call(server, R2025_06_18, "t")).body.result;
  assert.equal(legacy.isError, true);
  assert.deepEqual(legacy.structuredContent, { result: "empty" });
});

test("A7: a tool named __proto__ is unknown, as is every inherited name", async () => {
  const { server } = envelopeServer([ECHO]);
  for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty", ""]) {
    for (const revision of ALL) {
      const { body } = await call(server, revision, name);
      assert.equal(body.error.code, -32602, name);
    }
  }
});

test("an unknown tool is answered with the nearest name", async () => {
  const { server } = envelopeServer([ECHO]);
  const { body } = await call(server, R2026_07_28, "unit_ehco");
  assert.deepEqual(body.error.data, { code: "unknown_tool", nearest: "unit_echo" });
  assert.match(body.error.message, /unit_ehco.*unit_echo/);
});

test("a call without a name, or with arguments that are no object, is malformed", async () => {
  const { server } = envelopeServer([ECHO]);
  for (const params of [{}, { name: 1 }, { name: "unit_echo", arguments: [] }]) {
    const { body } = await ask(server, R2026_07_28, "tools/call", params);
    assert.equal(body.error.code, -32602);
  }
  const { body } = await ask(server, R2026_07_28, "tools/call", { name: "unit_echo" });
  assert.deepEqual(body.result.structuredContent, {});
});

test("arguments that cannot be written as JSON are refused", async () => {
  const { server } = envelopeServer([ECHO]);
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  const { body } = await call(server, R2026_07_28, "unit_echo", circle);
  assert.equal(body.error.code, -32602);
});

test("a number beyond f64 is refused by its path instead of being taken for absent", async () => {
  const { server } = envelopeServer([ECHO]);
  const cases: [text: string, path: string][] = [
    ['{"a":1e400}', "arguments.a"],
    ['{"ok":null,"a":{"b":[0,-1e999]}}', "arguments.a.b[1]"],
    [`{"a b":${"9".repeat(400)}}`, 'arguments["a b"]'],
  ];
  for (const [text, path] of cases) {
    const { result } = (await call(server, R2026_07_28, "unit_echo", JSON.parse(text))).body;
    assert.equal(result.isError, true);
    assert.equal(result.content[0].text, `${path}: number out of range for f64`);
    const { error } = (await call(server, R2025_06_18, "unit_echo", JSON.parse(text))).body;
    assert.deepEqual([error.code, error.data.path], [-32602, path]);
  }
  const kept = { text: "null", nothing: null, list: [null, 1e308] };
  const { result } = (await call(server, R2026_07_28, "unit_echo", kept)).body;
  assert.deepEqual(result.structuredContent, kept);
});

function failing(error: unknown): McpServer {
  return envelopeServer([
    {
      name: "t",
      body: () => {
        throw error;
      },
    },
    { name: "later", body: () => Promise.reject(error) },
  ]).server;
}

test("A20: overloaded is -32000 with its reason and when to come back", async () => {
  const server = failing(new AtollError("overloaded", "full", { retryAfterSeconds: 2 }));
  for (const name of ["t", "later"]) {
    const { status, body, retryAfterSeconds } = await call(server, R2026_07_28, name);
    assert.equal(status, 200);
    assert.equal(retryAfterSeconds, 2);
    assert.equal(body.error.code, -32000);
    assert.equal(body.error.data.reason, "overloaded");
    assert.equal(body.error.data.retryAfterSeconds, 2);
  }
});

test("a limit is an error result that names it", async () => {
  const data = { limit: "memory", value: 65536, key: "limits.memoryBytes" };
  const server = failing(new AtollError("limit", "The guest wanted more memory", data));
  for (const revision of ALL) {
    for (const name of ["t", "later"]) {
      const { result } = (await call(server, revision, name)).body;
      assert.equal(result.isError, true);
      assert.match(result.content[0].text, /memory.*limits\.memoryBytes = 65536/);
      assert.deepEqual(result._meta["atoll/error"], {
        code: "limit",
        message: "The guest wanted more memory",
        ...data,
      });
      assert.equal(result.structuredContent, undefined);
    }
  }
});

test("arguments that do not fit are a result since 2025-11-25, -32602 before", async () => {
  const message = "arguments.items[3].price: expected f64, got a string";
  const data = { path: "arguments.items[3].price", expected: "f64" };
  const server = failing(new AtollError("invalid_argument", message, data));
  for (const revision of [R2026_07_28, R2025_11_25]) {
    const { result } = (await call(server, revision, "t")).body;
    assert.equal(result.isError, true);
    assert.equal(result.content[0].text, message);
  }
  const { error } = (await call(server, R2025_06_18, "t")).body;
  assert.equal(error.code, -32602);
  assert.equal(error.message, message);
  assert.equal(error.data.path, data.path);
});

test("a bug is logged with an id, and only the id is told", async () => {
  const tool: EnvelopeTool = {
    name: "t",
    body: () => {
      throw new TypeError("secret");
    },
  };
  const { server, logged } = envelopeServer([tool]);
  const { body } = await call(server, R2026_07_28, "t");
  assert.equal(body.error.code, -32603);
  assert.ok(!JSON.stringify(body).includes("secret"));
  assert.equal(logged[0]?.fields.id, body.error.data.id);
  assert.match(String(logged[0]?.fields.error), /secret/);
});

test("a tool that needs a capability is refused to clients without it", async () => {
  const tool: EnvelopeTool = { ...ECHO, requiredClientCapabilities: ["sampling"] };
  const { server } = envelopeServer([tool]);
  const params = { name: "unit_echo" };
  const refused = await ask(server, R2026_07_28, "tools/call", params);
  assert.equal(refused.status, 400);
  assert.equal(refused.body.error.code, -32021);
  assert.deepEqual(refused.body.error.data, { requiredCapabilities: { sampling: {} } });
  const served = await ask(server, R2026_07_28, "tools/call", params, {
    clientCapabilities: { sampling: {} },
  });
  assert.equal(served.body.result.isError, false);
});

test("ids come back as they were sent", async () => {
  const { server } = envelopeServer([ECHO]);
  for (const id of ["", 'a"b\n\u2028', "\ud800", 0, -5, 1e21, 0.5]) {
    const request = { kind: "request", id, method: "tools/call", params: { name: "unit_echo" } };
    const reply = await server.request(request as never, {
      revision: R2026_07_28,
      revisions: HTTP_REVISIONS,
      clientCapabilities: {},
    });
    assert.equal(JSON.parse(reply as string).id, id);
  }
});

test("a call that ends at once is answered without a promise", () => {
  const { server } = envelopeServer([ECHO]);
  const reply = server.request(
    { kind: "request", id: 1, method: "tools/call", params: { name: "unit_echo" } },
    { revision: R2026_07_28, revisions: HTTP_REVISIONS, clientCapabilities: {} },
  );
  assert.equal(typeof reply, "string");
});

test("while a plugin is being built its tools are said to come, and lists are not to be kept", async () => {
  const { server } = envelopeServer([ECHO], { pending: ["text"], ttlMs: 60_000 });
  const { error } = (await call(server, R2026_07_28, "text_analyse")).body;
  assert.equal(error.code, -32000);
  assert.equal(error.data.reason, "starting");
  assert.deepEqual(error.data.pending, ["text"]);
  const listed = await ask(server, R2026_07_28, "tools/list");
  assert.equal(listed.body.result.ttlMs, 0);
  assert.equal((await call(server, R2026_07_28, "unit_echo")).body.result.isError, false);
});
