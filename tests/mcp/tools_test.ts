/** MCP over a real listener with real guests: results, errors, limits, cancellation, overload. */
import assert from "node:assert/strict";
import { type AppSettings, type RunningApp, withApp } from "../http/support.ts";
import { test } from "../harness.ts";
import { type Json, MODERN_META } from "./envelope_tools.ts";

interface Answer {
  readonly status: number;
  readonly retryAfter: string | null;
  readonly body: Json;
}

async function post(
  url: string,
  headers: Record<string, string>,
  message: object,
  signal?: AbortSignal,
): Promise<Answer> {
  const response = await fetch(`${url}/mcp`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(message),
    ...(signal === undefined ? {} : { signal }),
  });
  const retryAfter = response.headers.get("retry-after");
  return { status: response.status, retryAfter, body: await response.json() };
}

/** A call as a client of 2026-07-28 makes it. */
function call(url: string, name: string, args: object, signal?: AbortSignal): Promise<Answer> {
  const message = {
    jsonrpc: "2.0",
    id: 1,
    method: "tools/call",
    params: { name, arguments: args, _meta: MODERN_META },
  };
  const headers = {
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": name,
  };
  return post(url, headers, message, signal);
}

/** A call as a client of an older revision makes it. */
function legacyCall(url: string, version: string, name: string, args: object): Promise<Answer> {
  const params = { name, arguments: args };
  const message = { jsonrpc: "2.0", id: 1, method: "tools/call", params };
  return post(url, { "mcp-protocol-version": version }, message);
}

const shipped: AppSettings = { plugins: ["text", "units"] };

test("text and units answer as the contract says", async () => {
  await withApp(shipped, async ({ url }) => {
    const counted = (await call(url, "text_analyse", { input: "two words" })).body.result;
    assert.deepEqual(counted.structuredContent, { words: 2, chars: 9 });
    assert.equal(counted.isError, false);
    const reversed = (await call(url, "text_reverse", { data: btoa("abc") })).body.result;
    assert.equal(reversed.structuredContent, btoa("cba"));
    const convert = { value: 1, from: "km", to: "m" };
    const converted = (await call(url, "units_convert", convert)).body.result;
    assert.deepEqual(converted.structuredContent, { value: 1000, unit: "m" });
  });
});

test("values that are no objects are wrapped for older revisions", async () => {
  await withApp(shipped, async ({ url }) => {
    for (const version of ["2025-03-26", "2025-06-18", "2025-11-25"]) {
      const { result } =
        (await legacyCall(url, version, "text_reverse", { data: btoa("abc") })).body;
      assert.deepEqual(result.structuredContent, { result: btoa("cba") });
      assert.equal(result.resultType, undefined);
      const failed = (await legacyCall(url, version, "text_analyse", { input: "" })).body.result;
      assert.equal(failed.isError, true);
      assert.equal(typeof failed.structuredContent, "object");
    }
  });
});

test("arguments that do not fit are refused with their path", async () => {
  await withApp(shipped, async ({ url }) => {
    const cases: [object, RegExp][] = [
      [{ value: "x", from: "m", to: "km" }, /arguments\.value/],
      [{ value: 1, from: "m" }, /arguments\.to/],
      [{ value: 1, from: "m", to: "km", more: 1 }, /arguments\.more/],
    ];
    for (const [args, expected] of cases) {
      const { result } = (await call(url, "units_convert", args)).body;
      assert.equal(result.isError, true);
      assert.match(result.content[0].text, expected);
      assert.equal(result._meta["atoll/error"].code, "invalid_argument");
      const { error } = (await legacyCall(url, "2025-06-18", "units_convert", args)).body;
      assert.equal(error.code, -32602);
      assert.match(error.message, expected);
    }
  });
});

test("A7: a tool named __proto__", async () => {
  await withApp(shipped, async ({ url }) => {
    const { status, body } = await call(url, "__proto__", {});
    assert.equal(status, 200);
    assert.equal(body.error.code, -32602);
    assert.equal((await legacyCall(url, "2025-11-25", "__proto__", {})).body.error.code, -32602);
    const polluted = await post(
      url,
      { "mcp-protocol-version": "2025-11-25" },
      JSON.parse(
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"text_analyse",' +
          '"arguments":{"__proto__":{"input":"x"}}}}',
      ),
    );
    assert.equal(polluted.body.result.isError, true);
  });
});

test("tools/list follows the registry", async () => {
  await withApp(shipped, async ({ url, registry }) => {
    const list = async () => {
      const message = { jsonrpc: "2.0", id: 1, method: "tools/list" };
      const { body } = await post(url, { "mcp-protocol-version": "2025-11-25" }, message);
      return body.result.tools.map((tool: { name: string }) => tool.name);
    };
    assert.deepEqual(await list(), ["text_analyse", "text_reverse", "units_convert"]);
    registry.remove("text");
    assert.deepEqual(await list(), ["units_convert"]);
    assert.equal((await call(url, "text_analyse", {})).body.error.code, -32602);
  });
});

test("a guest that ends at its limit names it, and others go on", async () => {
  const limits = { cpuMs: 200, wallMs: 10_000, memoryBytes: 16 * 1024 * 1024 };
  await withApp({ plugins: ["hostile", "text"], limits }, async ({ url }) => {
    const spun = call(url, "hostile_spin", {});
    const other = await call(url, "text_analyse", { input: "a" });
    assert.equal(other.body.result.isError, false);
    const { result } = (await spun).body;
    assert.equal(result.isError, true);
    assert.equal(result._meta["atoll/error"].code, "limit");
    assert.equal(result._meta["atoll/error"].limit, "cpu");
    assert.match(result.content[0].text, /cpu/i);
    const trapped = (await call(url, "hostile_trap", {})).body.result;
    assert.equal(trapped.isError, true);
    assert.equal(trapped._meta["atoll/error"].code, "trap");
  });
});

/** Waits until a call of a plugin runs. */
async function running(app: RunningApp, calls: number): Promise<void> {
  while (app.dispatcher.inFlight < calls) await new Promise((resolve) => setTimeout(resolve, 5));
}

test("A20: calls beyond the places queue, then are overloaded; none is lost", async () => {
  const limits = { concurrency: 1, queue: 2 };
  await withApp({ plugins: ["hostile"], limits }, async ({ url }) => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => call(url, "hostile_sleep", { ms: 300 })),
    );
    const served = answers.filter(({ body }) => body.result?.isError === false);
    const refused = answers.filter(({ body }) => body.error !== undefined);
    assert.equal(served.length + refused.length, 8);
    assert.ok(served.length >= 3);
    assert.ok(refused.length >= 1);
    for (const { status, body, retryAfter } of refused) {
      assert.equal(status, 200);
      assert.equal(body.error.code, -32000);
      assert.equal(body.error.data.reason, "overloaded");
      assert.ok(Number(retryAfter) > 0);
      assert.ok(body.error.data.retryAfterSeconds > 0);
    }
  });
});

test("A25: while stopping new calls are refused as closed, running ones answered", async () => {
  await withApp({ plugins: ["hostile"] }, async (app) => {
    const slow = call(app.url, "hostile_sleep", { ms: 200 });
    await running(app, 1);
    const stopped = app.dispatcher.stop(60_000);
    const { body } = await call(app.url, "hostile_sleep", { ms: 0 });
    assert.equal(body.error.code, -32000);
    assert.equal(body.error.data.reason, "closed");
    assert.equal((await slow).body.result.isError, false);
    assert.equal(await stopped, true);
  });
});
