/** Pages of other origins: what a browser asks before it sends a message, and what it lets be read. */
import assert from "node:assert/strict";
import { test } from "../harness.ts";
import { rawExchange, rawRequest } from "./raw.ts";
import { type AppSettings, withApp } from "./support.ts";

const PAGE = "https://page.example";
const PING = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" });

interface Answer {
  readonly status: number | null;
  readonly fields: Headers;
}

async function ask(port: number, start: string, fields: readonly string[], body = "") {
  const text = rawRequest(start, ["Host: localhost", ...fields], body);
  const answer = await rawExchange(port, text);
  const head = answer.text.slice(0, answer.text.indexOf("\r\n\r\n")).split("\r\n").slice(1);
  const pairs = head.map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  return { status: answer.status, fields: new Headers(pairs) } satisfies Answer;
}

const preflight = (port: number, origin: string, headers: string) =>
  ask(port, "OPTIONS /mcp", [
    `Origin: ${origin}`,
    "Access-Control-Request-Method: POST",
    `Access-Control-Request-Headers: ${headers}`,
  ]);

const post = (port: number, origin: string, body: string, ...fields: string[]) =>
  ask(port, "POST /mcp", [
    `Origin: ${origin}`,
    "Content-Type: application/json",
    `Content-Length: ${body.length}`,
    ...fields,
  ], body);

const allowing = (...allowedOrigins: string[]): AppSettings => ({
  http: { allowedOrigins, bodyBytes: 1_000 },
});

const words = (field: string | null) => field?.toLowerCase().split(/\s*,\s*/) ?? [];

test("a page of an allowed origin is let through its preflight, with MCP's fields", async () => {
  const sent = ["content-type", "mcp-protocol-version", "mcp-method", "mcp-name"];
  await withApp(allowing(PAGE), async ({ port }) => {
    const { status, fields } = await preflight(port, PAGE, sent.join(", "));
    assert.equal(status, 204);
    assert.equal(fields.get("access-control-allow-origin"), PAGE);
    assert.deepEqual(words(fields.get("access-control-allow-methods")), ["post"]);
    const allowed = words(fields.get("access-control-allow-headers"));
    for (const name of sent) assert.ok(allowed.includes(name), name);
    assert.deepEqual(words(fields.get("vary")), ["origin"]);
  });
});

test("a page of an allowed origin may read answers, refusals too", async () => {
  await withApp(allowing(PAGE), async ({ port }) => {
    const equal = `Content-Length: ${PING.length}`;
    const answers: [expected: number, answer: Answer][] = [
      [200, await post(port, PAGE, PING)],
      [400, await post(port, PAGE, "{")],
      [413, await post(port, PAGE, " ".repeat(1_001))],
      [400, await post(port, PAGE, PING, equal)],
      [405, await ask(port, "GET /mcp", [`Origin: ${PAGE}`])],
      [200, await post(port, "http://localhost:5173", PING)],
    ];
    for (const [expected, { status, fields }] of answers) {
      assert.equal(status, expected);
      const origin = fields.get("access-control-allow-origin");
      assert.ok(origin === PAGE || origin === "http://localhost:5173", `${expected}: ${origin}`);
      assert.deepEqual(words(fields.get("vary")), ["origin"]);
      assert.ok(words(fields.get("access-control-expose-headers")).includes("retry-after"));
    }
  });
});

test("A1: a page of a foreign origin gets no leave, neither before nor after", async () => {
  await withApp(allowing(PAGE), async ({ port }) => {
    for (const origin of ["https://evil.example", "null"]) {
      const asked = await preflight(port, origin, "content-type");
      const posted = await post(port, origin, PING);
      for (const { status, fields } of [asked, posted]) {
        assert.equal(status, 403);
        assert.equal(fields.get("access-control-allow-origin"), null);
      }
    }
  });
});

test("an origin is named also where all may call, and who has none is told nothing", async () => {
  await withApp(allowing("*"), async ({ port }) => {
    const { fields } = await post(port, PAGE, PING);
    assert.equal(fields.get("access-control-allow-origin"), PAGE);
    const plain = await ask(port, "POST /mcp", [
      "Content-Type: application/json",
      `Content-Length: ${PING.length}`,
    ], PING);
    assert.equal(plain.status, 200);
    assert.equal(plain.fields.get("access-control-allow-origin"), null);
    const asked = await ask(port, "OPTIONS /mcp", []);
    assert.equal(asked.status, 405);
  });
});
