/** Calls that come too fast, at the doors that a client sees. */
import assert from "node:assert/strict";
import { test } from "../harness.ts";
import { withApp } from "./support.ts";

/** What each door tells: the same facts. */
const FACTS = {
  code: "rate_limited",
  limit: "rate",
  value: 3,
  key: "limits.requestsPerSecond",
  retryAfterSeconds: 1,
};

const settings = { plugins: ["hello-http", "text"], limits: { requestsPerSecond: 3 } } as const;

function assertFacts(told: Record<string, unknown>): void {
  for (const [name, fact] of Object.entries(FACTS)) assert.equal(told[name], fact, name);
}

test("A20: a plugin's route answers 429 with Retry-After beyond its calls a second", async () => {
  await withApp(settings, async ({ url }) => {
    for (;;) {
      const response = await fetch(`${url}/http/hello-http/`);
      if (response.status === 200) {
        await response.text();
        continue;
      }
      assert.equal(response.status, 429);
      assert.equal(response.headers.get("retry-after"), "1");
      assertFacts(await response.json() as Record<string, unknown>);
      return;
    }
  });
});

test("A20: a tool's call beyond them is a JSON-RPC error with the same facts", async () => {
  await withApp(settings, async ({ url }) => {
    const params = { name: "text_analyse", arguments: { input: "x" } };
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params });
    for (;;) {
      const response = await fetch(`${url}/mcp`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "accept": "application/json, text/event-stream",
          "mcp-protocol-version": "2025-06-18",
        },
        body,
      });
      const answer = await response.json() as {
        readonly result?: unknown;
        readonly error?: { readonly code: number; readonly data: Record<string, unknown> };
      };
      if (answer.error === undefined) {
        assert.notEqual(answer.result, undefined);
        continue;
      }
      assert.equal(answer.error.code, -32000);
      assert.equal(response.headers.get("retry-after"), "1");
      assert.equal(answer.error.data.reason, "rate_limited");
      assertFacts(answer.error.data);
      return;
    }
  });
});
