/** What may reach the server at all: Host, Origin, malformed HTTP, media types, body limits. */
import assert from "node:assert/strict";
import { connect } from "node:http2";
import { withSmallBody } from "../../src/http/plugin_routes.ts";
import { readBody } from "../../src/mcp/body.ts";
import { runtime, test } from "../harness.ts";
import { rawExchange, rawRequest } from "./raw.ts";
import { withApp } from "./support.ts";

const PING = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" });
const JSON_FIELDS = ["Content-Type: application/json", `Content-Length: ${PING.length}`];

const ping = (port: number, host: string, ...fields: string[]) =>
  rawExchange(port, rawRequest("POST /mcp", [`Host: ${host}`, ...JSON_FIELDS, ...fields], PING));

test("A1: a foreign Origin and null are refused with 403, loopback may call", async () => {
  await withApp({}, async ({ port }) => {
    for (const origin of ["https://evil.example", "null", "http://localhost.evil.example"]) {
      const { status, text } = await ping(port, "localhost", `Origin: ${origin}`);
      assert.equal(status, 403, origin);
      assert.match(text, /application\/problem\+json/);
    }
    for (const origin of ["http://localhost:5173", `http://127.0.0.1:${port}`]) {
      assert.equal((await ping(port, "localhost", `Origin: ${origin}`)).status, 200, origin);
    }
  });
});

test("A2: a rebinding Host is refused with 403, loopback hosts are served", async () => {
  await withApp({}, async ({ port }) => {
    for (const host of ["localhost.evil.example", "evil.example", "127.0.0.1.evil.example:80"]) {
      assert.equal((await ping(port, host)).status, 403, host);
    }
    for (const host of ["localhost", `127.0.0.1:${port}`, "[::1]:80", "LOCALHOST"]) {
      assert.equal((await ping(port, host)).status, 200, host);
    }
  });
});

test("A2: an absolute request target does not get past the check", async () => {
  await withApp({}, async ({ port }) => {
    const start = "POST http://evil.example/mcp";
    const text = rawRequest(start, ["Host: evil.example", ...JSON_FIELDS], PING);
    assert.equal((await rawExchange(port, text)).status, 403);
    const both = rawRequest(start, ["Host: localhost", ...JSON_FIELDS], PING);
    const { text: answer } = await rawExchange(port, both);
    assert.ok(!answer.includes("evil.example") || answer.startsWith("HTTP/1.1 403"));
  });
});

test("A2: plugins' routes are guarded too, health is not", async () => {
  await withApp({}, async ({ port }) => {
    const get = (path: string) =>
      rawExchange(port, rawRequest(`GET ${path}`, ["Host: evil.example"]));
    assert.equal((await get("/http/x/")).status, 403);
    assert.equal((await get("/health/live")).status, 200);
    assert.equal((await get("/health/ready")).status, 200);
  });
});

if (runtime === "deno") {
  // Bun's server speaks HTTP/1.1 only.
  test("A2: the same over HTTP/2", async () => {
    await withApp({}, async ({ port }) => {
      assert.equal(await pingOverHttp2(port, "localhost"), 200);
      assert.equal(await pingOverHttp2(port, "localhost.evil.example"), 403);
    });
  });
}

function pingOverHttp2(port: number, authority: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const session = connect(`http://127.0.0.1:${port}`);
    session.on("error", reject);
    const request = session.request({
      ":method": "POST",
      ":path": "/mcp",
      ":authority": authority,
      "content-type": "application/json",
    });
    request.on("response", (headers) => {
      resolve(Number(headers[":status"]));
      session.destroy();
    });
    request.on("error", reject);
    request.end(PING);
  });
}

test("A2: configured names are served", async () => {
  await withApp({ http: { allowedHosts: ["tools.example"] } }, async ({ port }) => {
    assert.equal((await ping(port, "tools.example")).status, 200);
    assert.equal((await ping(port, "tools.example", "Origin: https://tools.example")).status, 200);
    assert.equal((await ping(port, "other.example")).status, 403);
  });
});

const CHUNKED = "Transfer-Encoding: chunked";
const LENGTH = `Content-Length: ${PING.length}`;
/** A whole message in chunks, and a second request behind it. */
const SMUGGLED = `${PING.length.toString(16)}\r\n${PING}\r\n0\r\n\r\n` +
  "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
const MANY_FIELDS = Array.from({ length: 1_000 }, (_, i) => `x-${i}: 1`);
/** Deno and Bun do not refuse alike, but both do. */
const TOO_MANY = runtime === "deno" ? 400 : 431;

/** But for its framing each is a request that is served. */
const MALFORMED:
  readonly (readonly [name: string, fields: string[], body: string, status: number])[] = [
    ["CL+TE", [LENGTH, CHUNKED], SMUGGLED, 400],
    ["TE+CL", [CHUNKED, LENGTH], SMUGGLED, 400],
    ["different lengths", [LENGTH, `Content-Length: ${PING.length + 1}`], `${PING} `, 400],
    ["equal lengths", [LENGTH, LENGTH], PING, 400],
    ["two lengths in one field", [`${LENGTH}, ${PING.length}`], PING, 400],
    ["negative length", [`Content-Length: -${PING.length}`], PING, 400],
    ["length with a sign", [`Content-Length: +${PING.length}`], PING, 400],
    ["two hosts", [LENGTH, "Host: evil.example"], PING, runtime === "deno" ? 400 : 403],
    ["unknown coding", ["Transfer-Encoding: xchunked"], SMUGGLED, 400],
    ["1,000 fields", [LENGTH, ...MANY_FIELDS], PING, TOO_MANY],
    ["a field of 1 MiB", [LENGTH, `x: ${"a".repeat(1 << 20)}`], PING, TOO_MANY],
  ];

test("A9: malformed HTTP is refused and the server goes on", async () => {
  await withApp({}, async ({ port }) => {
    const post = (fields: readonly string[], body: string) => {
      const all = ["Host: localhost", "Content-Type: application/json", ...fields];
      return rawExchange(port, rawRequest("POST /mcp", all, body));
    };
    for (const [name, fields, body, expected] of MALFORMED) {
      const { status, text } = await post(fields, body);
      assert.equal(status, expected, name);
      assert.equal(text.match(/HTTP\/1\.1 /g)?.length, 1, name);
    }
    const fine = await post([CHUNKED], SMUGGLED.slice(0, SMUGGLED.indexOf("GET ")));
    assert.equal(fine.status, 200);
    assert.equal((await post([LENGTH], PING)).status, 200);
  });
});

test("A9: a length that is none is a problem on plugins' routes too", async () => {
  await withApp({ plugins: ["hello-http"] }, async ({ port }) => {
    const fields = ["Host: localhost", "Content-Length: 2", "Content-Length: 2"];
    const { status, text } = await rawExchange(
      port,
      rawRequest("POST /http/hello-http/", fields, "ab"),
    );
    assert.equal(status, 400);
    assert.match(text, /application\/problem\+json/i);
  });
});

test("A6: body over the limit, invalid UTF-8, text/plain", async () => {
  await withApp({ http: { bodyBytes: 1_000 } }, async ({ url }) => {
    const post = (body: BodyInit, type = "application/json") =>
      fetch(`${url}/mcp`, { method: "POST", headers: { "content-type": type }, body });
    const tooLong = await post(" ".repeat(1_001));
    assert.equal(tooLong.status, 413);
    assert.equal(tooLong.headers.get("content-type"), "application/problem+json");
    await tooLong.body?.cancel();
    const invalid = await post(Uint8Array.of(0x7b, 0x22, 0xc3, 0x28, 0x22, 0x7d));
    assert.equal(invalid.status, 400);
    assert.equal((await invalid.json() as { error: { code: number } }).error.code, -32700);
    const plain = await post(PING, "text/plain");
    assert.equal(plain.status, 415);
    await plain.body?.cancel();
    const fine = await post(PING);
    assert.equal(fine.status, 200);
    await fine.body?.cancel();
  });
});

test("A6: a chunked body over the limit is refused before it is read to its end", async () => {
  await withApp({ http: { bodyBytes: 1_000 } }, async ({ port }) => {
    const chunk = `400\r\n${"x".repeat(0x400)}\r\n`;
    const text = rawRequest("POST /mcp", [
      "Host: localhost",
      "Content-Type: application/json",
      "Transfer-Encoding: chunked",
    ], `${chunk.repeat(64)}0\r\n\r\n`);
    assert.equal((await rawExchange(port, text)).status, 413);
  });
});

test("paths and methods that are not there are problems", async () => {
  await withApp({}, async ({ url }) => {
    const ask = async (path: string, method = "GET") => {
      const response = await fetch(url + path, { method });
      const body = await response.json() as { status: number; detail: string };
      assert.equal(response.headers.get("content-type"), "application/problem+json");
      assert.equal(body.status, response.status);
      return { status: response.status, allow: response.headers.get("allow") };
    };
    assert.equal((await ask("/")).status, 404);
    assert.equal((await ask("/nothing")).status, 404);
    assert.equal((await ask("/http/nobody/")).status, 404);
    assert.equal((await ask("/http/")).status, 404);
    assert.equal((await ask("/health/other")).status, 404);
    assert.deepEqual(await ask("/mcp"), { status: 405, allow: "POST" });
    assert.deepEqual(await ask("/mcp", "DELETE"), { status: 405, allow: "POST" });
    assert.deepEqual(await ask("/health/live", "POST"), { status: 405, allow: "GET, HEAD" });
  });
});

test("a body that breaks off is the client's doing and not logged as a bug", async () => {
  const broken = () =>
    new ReadableStream({
      pull: (controller) => controller.error(new TypeError("connection lost")),
    });
  for (const length of [null, "500"]) {
    const headers = { "content-type": "application/json", host: "localhost" };
    const request = new Request("http://localhost/mcp", {
      method: "POST",
      headers: length === null ? headers : { ...headers, "content-length": length },
      body: broken(),
      duplex: "half",
    } as RequestInit);
    await assert.rejects(readBody(request, length, 1_000), { code: "cancelled" });
  }
  const request = new Request("http://localhost/http/x/", {
    method: "POST",
    headers: { "content-length": "500" },
    body: broken(),
    duplex: "half",
  } as RequestInit);
  const whole = withSmallBody(request, {
    method: "POST",
    url: request.url,
    fields: [],
    body: null,
  });
  assert.ok(whole);
  await assert.rejects(whole, { code: "cancelled" });
});

test("HTTP/1.0 without Host: refused, or served under the path that was asked for", async () => {
  await withApp({}, async ({ port }) => {
    const { text } = await rawExchange(port, "GET /health/live HTTP/1.0\r\n\r\n");
    if (runtime === "deno") assert.match(text, /^HTTP\/1\.0 200 /);
    else assert.match(text, /^HTTP\/1\.1 400 .*\r\ncontent-type: application\/problem\+json/is);
    const moved = await rawExchange(port, "GET /localhost/health/live HTTP/1.0\r\n\r\n");
    assert.doesNotMatch(moved.text, /"live"/);
  });
});
