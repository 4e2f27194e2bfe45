import assert from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { ECHO, envelopeServer, type Json, MODERN_META } from "../../tests/mcp/envelope_tools.ts";
import { McpHttpHandler } from "./http_handler.ts";

const refuse = (status: number, detail: string, headers: Record<string, string> = {}) =>
  new Response(detail, { status, headers });

const { server } = envelopeServer([ECHO]);
const handler = new McpHttpHandler({ server, bodyBytes: 2_000, refuse });

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly json: Json;
}

async function post(
  body: BodyInit,
  headers: Record<string, string | null> = {},
  method = "POST",
): Promise<Answer> {
  const all: Record<string, string | null> = {
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    ...headers,
  };
  const present = Object.entries(all).filter((entry): entry is [string, string] =>
    entry[1] !== null
  );
  const init = { method, headers: present, ...(method === "POST" ? { body, duplex: "half" } : {}) };
  const response = await handler.handle(new Request("http://localhost/mcp", init));
  const text = await response.text();
  const isJson = response.headers.get("content-type") === "application/json";
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: isJson ? JSON.parse(text) : undefined,
  };
}

const request = (method: string, params: object = {}, id: unknown = 1) =>
  JSON.stringify({ jsonrpc: "2.0", id, method, params });

const modern = (method: string, params: object = {}, id: unknown = 1) =>
  request(method, { ...params, _meta: MODERN_META }, id);

const VERSION = { "mcp-protocol-version": "2026-07-28" };
const CALL = { ...VERSION, "mcp-method": "tools/call", "mcp-name": "unit_echo" };
const ECHO_CALL = modern("tools/call", { name: "unit_echo", arguments: { a: 1 } });

test("a modern call is answered with JSON", async () => {
  const { status, headers, json } = await post(ECHO_CALL, CALL);
  assert.equal(status, 200);
  assert.equal(headers.get("content-type"), "application/json");
  assert.deepEqual(json.result.structuredContent, { a: 1 });
});

test("A3: header fields that are absent or different from the body are -32020", async () => {
  const wrong = [
    { ...CALL, "mcp-name": null },
    { ...CALL, "mcp-method": null },
    { ...CALL, "mcp-name": "other" },
    { ...CALL, "mcp-method": "tools/list" },
  ];
  for (const headers of wrong) {
    const { status, json } = await post(ECHO_CALL, headers);
    assert.equal(status, 400);
    assert.equal(json.error.code, -32020);
    assert.equal(json.id, 1);
  }
});

test("A4: a version header that is absent or different from the body is -32020", async () => {
  for (const version of [null, "2025-11-25", "v999"]) {
    const { status, json } = await post(ECHO_CALL, { ...CALL, "mcp-protocol-version": version });
    assert.equal(status, 400);
    assert.equal(json.error.code, -32020);
  }
});

test("A4: an unknown version is -32022 and names those that are spoken", async () => {
  const meta = { ...MODERN_META, "io.modelcontextprotocol/protocolVersion": "v999" };
  const bodies = [request("server/discover", { _meta: meta }), request("tools/list")];
  for (const body of bodies) {
    const { status, json } = await post(body, {
      "mcp-protocol-version": "v999",
      "mcp-method": "server/discover",
    });
    assert.equal(status, 400);
    assert.equal(json.error.code, -32022);
    assert.equal(json.error.data.requested, "v999");
    assert.ok(json.error.data.supported.includes("2026-07-28"));
  }
  const { status } = await post(request("ping"), { "mcp-protocol-version": "2024-11-05" });
  assert.equal(status, 400);
});

test("a modern request without its metadata is -32602 with 400", async () => {
  const { "io.modelcontextprotocol/clientCapabilities": _, ...noCapabilities } = MODERN_META;
  const { "io.modelcontextprotocol/protocolVersion": __, ...noVersion } = MODERN_META;
  for (const params of [{}, { _meta: noCapabilities }, { _meta: noVersion }, { _meta: 1 }]) {
    const { status, json } = await post(request("server/discover", params, 9), {
      ...VERSION,
      "mcp-method": "server/discover",
    });
    assert.equal(status, 400);
    assert.equal(json.error.code, -32602);
    assert.equal(json.id, 9);
  }
});

test("A5: an unknown method is -32601 with 404", async () => {
  const { status, json } = await post(modern("no/such"), { ...VERSION, "mcp-method": "no/such" });
  assert.equal(status, 404);
  assert.equal(json.error.code, -32601);
});

test("A5: an id that is null or an object is 400", async () => {
  for (const id of [null, {}]) {
    const { status, json } = await post(request("ping", {}, id));
    assert.equal(status, 400);
    assert.equal(json.error.code, -32600);
    assert.ok(!("id" in json));
  }
});

test("A5: a batch is refused since 2025-06-18", async () => {
  const batch = `[${request("ping")}]`;
  for (const version of ["2025-06-18", "2025-11-25", "2026-07-28"]) {
    const { status, json } = await post(batch, { "mcp-protocol-version": version });
    assert.equal(status, 400);
    assert.equal(json.error.code, -32600);
  }
});

test("A5: a batch has an end", async () => {
  const batch = JSON.stringify(Array(101).fill(1));
  const { status } = await post(batch, { "mcp-protocol-version": "2025-03-26" });
  assert.equal(status, 400);
});

test("A5: a batch is served for 2025-03-26, with the header and without", async () => {
  const note = JSON.stringify({ jsonrpc: "2.0", method: "notifications/initialized" });
  const batch = `[${request("ping", {}, "a")},${note},7,${request("no/such", {}, "b")}]`;
  for (const version of ["2025-03-26", null]) {
    const { status, json } = await post(batch, { "mcp-protocol-version": version });
    assert.equal(status, 200);
    assert.equal(json.length, 3);
    assert.deepEqual(json[0], { jsonrpc: "2.0", id: "a", result: {} });
    assert.equal(json[1].error.code, -32600);
    assert.equal(json[2].error.code, -32601);
  }
  assert.equal((await post(`[${note}]`)).status, 202);
  assert.equal((await post("[]")).status, 400);
  const { json } = await post(`[${request("initialize", { protocolVersion: "2025-03-26" })}]`);
  assert.equal(json[0].error.code, -32600);
});

test("A6: a body over the limit is 413, with its length declared or streamed", async () => {
  const long = `${" ".repeat(3_000)}${request("ping")}`;
  assert.equal((await post(long, { "content-length": String(long.length) })).status, 413);
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let index = 0; index < 4; index++) controller.enqueue(new Uint8Array(1_000));
      controller.close();
    },
  });
  assert.equal((await post(stream)).status, 413);
  const fitting = new Blob([request("ping")]).stream();
  assert.equal((await post(fitting)).status, 200);
});

test("A6: invalid UTF-8 is a parse error with 400", async () => {
  const { status, json } = await post(Uint8Array.of(0x7b, 0xff, 0x7d));
  assert.equal(status, 400);
  assert.equal(json.error.code, -32700);
  assert.equal((await post("{")).json.error.code, -32700);
  assert.equal((await post("")).json.error.code, -32700);
});

test("A6: a body that is not JSON by its media type is 415", async () => {
  const types = [
    "text/plain",
    "application/json-patch+json",
    "application/jsonx",
    "application/json; charset=latin1",
    "application/x-www-form-urlencoded",
    null,
  ];
  for (const type of types) {
    const blob = new Blob([request("ping")]);
    const body = type === null ? new Uint8Array(await blob.arrayBuffer()) : request("ping");
    assert.equal((await post(body, { "content-type": type })).status, 415, String(type));
  }
  for (const type of ["Application/JSON", 'application/json;charset="UTF-8"']) {
    assert.equal((await post(request("ping"), { "content-type": type })).status, 200);
  }
});

test("Accept has to leave room for JSON", async () => {
  for (const accept of ["text/event-stream", "application/json;q=0", "text/*"]) {
    assert.equal((await post(request("ping"), { accept })).status, 406, accept);
  }
  for (const accept of ["*/*", "application/*;q=0.1", "text/html, application/json", null]) {
    assert.equal((await post(request("ping"), { accept })).status, 200, String(accept));
  }
});

test("GET and DELETE are 405 with Allow: there are no sessions", async () => {
  for (const method of ["GET", "DELETE", "PUT", "OPTIONS"]) {
    const { status, headers } = await post("", { "content-type": null }, method);
    assert.equal(status, 405);
    assert.equal(headers.get("allow"), "POST");
  }
});

test("notifications are accepted with 202 and no body", async () => {
  const note = JSON.stringify({ jsonrpc: "2.0", method: "notifications/initialized" });
  for (const version of ["2025-11-25", "2026-07-28", null]) {
    const { status, text } = await post(note, { "mcp-protocol-version": version });
    assert.equal(status, 202);
    assert.equal(text, "");
  }
  assert.equal((await post(note, { "mcp-protocol-version": "v999" })).status, 400);
});

test("answers are accepted from older clients only", async () => {
  const answer = JSON.stringify({ jsonrpc: "2.0", id: 1, result: {} });
  assert.equal((await post(answer, { "mcp-protocol-version": "2025-11-25" })).status, 202);
  assert.equal((await post(answer, VERSION)).status, 400);
});

test("the handshake opens no session", async () => {
  const params = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "x" } };
  const { status, headers, json } = await post(request("initialize", params));
  assert.equal(status, 200);
  assert.equal(headers.get("mcp-session-id"), null);
  assert.equal(json.result.protocolVersion, "2025-11-25");
  const list = await post(request("tools/list"), { "mcp-protocol-version": "2025-11-25" });
  assert.equal(list.json.result.tools.length, 1);
});

test("a call has the trace context of its request, read only when it is asked for", async () => {
  const seen: (string | null | undefined)[] = [];
  const traced = envelopeServer([{
    name: "unit_echo",
    body: (json, options) => {
      seen.push(options?.traceparent);
      return { kind: "ok", json };
    },
  }]);
  const own = new McpHttpHandler({ server: traced.server, bodyBytes: 2_000, refuse });
  const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  for (const headers of [{ traceparent: parent }, {}]) {
    const response = await own.handle(
      new Request("http://localhost/mcp", {
        method: "POST",
        headers: { "content-type": "application/json", ...CALL, ...headers },
        body: ECHO_CALL,
      }),
    );
    assert.equal(response.status, 200);
  }
  assert.deepEqual(seen, [parent, null]);
});
