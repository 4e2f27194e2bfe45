/** `/http/PLUGIN/*` with real guests: what passes, what is streamed, how guests fail. */
import assert from "node:assert/strict";
import { test } from "../harness.ts";
import { type RunningApp, withApp } from "./support.ts";

interface Problem {
  readonly status: number;
  readonly code: string;
  readonly limit?: string;
}

async function problemAt(url: string): Promise<Problem> {
  const response = await fetch(url);
  assert.equal(response.headers.get("content-type"), "application/problem+json");
  const body = await response.json() as Problem;
  assert.equal(body.status, response.status);
  return body;
}

/** Resolves when nothing is in flight any more. */
async function idle(app: RunningApp): Promise<void> {
  while (app.dispatcher.inFlight > 0) await new Promise((resolve) => setTimeout(resolve, 5));
}

test("hello, with and without the slash, with a query, as HEAD", async () => {
  await withApp({ plugins: ["hello-http"] }, async ({ url }) => {
    for (const path of ["/http/hello-http/", "/http/hello-http", "/http/hello-http/?x=1"]) {
      const response = await fetch(url + path);
      assert.equal(response.status, 200);
      assert.match(response.headers.get("content-type") ?? "", /^text\/plain/);
      assert.equal(await response.text(), "hello");
    }
    const missing = await fetch(`${url}/http/hello-http/nothing`);
    assert.equal(missing.status, 404);
    assert.equal(await missing.text(), "not found");
    const head = await fetch(`${url}/http/hello-http/`, { method: "HEAD" });
    assert.equal(head.status, 200);
    assert.match(head.headers.get("content-type") ?? "", /^text\/plain/);
    assert.equal(await head.text(), "");
  });
});

test("a plugin without a handler has no route", async () => {
  await withApp({ plugins: ["text"] }, async ({ url, registry }) => {
    assert.equal((await problemAt(`${url}/http/text/`)).code, "not_found");
    registry.begin("slow");
    const building = await fetch(`${url}/http/slow/`);
    assert.equal(building.status, 503);
    assert.ok(Number(building.headers.get("retry-after")) > 0);
    await building.body?.cancel();
  });
});

test("bodies come back as they were sent, small, large, empty and of any bytes", async () => {
  await withApp({ plugins: ["hello-http"] }, async ({ url }) => {
    for (const length of [0, 1, 1_000, 40_000, 300_000]) {
      const body = Uint8Array.from({ length }, (_, index) => (index * 7) % 256);
      const response = await fetch(`${url}/http/hello-http/echo`, {
        method: "POST",
        headers: { "content-type": "application/x-anything" },
        body,
      });
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("content-type"), "application/x-anything");
      assert.deepEqual(new Uint8Array(await response.arrayBuffer()), body);
    }
  });
});

test("a streamed request body reaches the guest as it comes", async () => {
  await withApp({ plugins: ["hello-http"] }, async ({ url }) => {
    const chunks = Array.from({ length: 20 }, (_, index) => `chunk ${index};`);
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        const chunk = chunks.shift();
        if (chunk === undefined) controller.close();
        else controller.enqueue(new TextEncoder().encode(chunk));
      },
    });
    const expected = chunks.join("");
    const init = { method: "POST", body, duplex: "half" };
    const response = await fetch(`${url}/http/hello-http/echo`, init);
    assert.equal(await response.text(), expected);
  });
});

test("a long response is streamed whole", async () => {
  await withApp({ plugins: ["hello-http"] }, async ({ url }) => {
    const response = await fetch(`${url}/http/hello-http/stream?bytes=3000000`);
    const text = await response.text();
    assert.equal(text.length, 3_000_000);
    assert.ok(text.startsWith("abcdefghijklmnopqrstuvwxyzabc"));
  });
});

test("a client that goes away ends its request", async () => {
  await withApp({ plugins: ["hostile-http"] }, async (app) => {
    for (const path of ["/park", "/forever"]) {
      const controller = new AbortController();
      const asked = fetch(`${app.url}/http/hostile-http${path}`, { signal: controller.signal });
      const ended = asked.then((response) => response.text()).then(() => false, () => true);
      // One never answers, the other never stops.
      if (path === "/forever") await asked;
      while (path === "/park" && app.dispatcher.inFlight === 0) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
      controller.abort();
      assert.ok(await ended);
      await idle(app);
    }
    const fine = await fetch(`${app.url}/http/hostile-http/ok`);
    assert.equal(fine.status, 200);
    await fine.body?.cancel();
  });
});

test("a guest that fails before its response is a bad gateway that says why", async () => {
  const limits = { cpuMs: 200, wallMs: 5_000 };
  await withApp({ plugins: ["hostile-http"], limits }, async ({ url }) => {
    const at = (path: string) => problemAt(`${url}/http/hostile-http${path}`);
    const trapped = await at("/trap");
    assert.equal(trapped.status, 502);
    assert.equal(trapped.code, "trap");
    const spun = await at("/spin");
    assert.equal(spun.status, 502);
    assert.equal(spun.code, "limit");
    assert.equal(spun.limit, "cpu");
    assert.equal((await at("/early")).status, 502);
  });
});

test("a guest that fails in the middle of its body cuts the connection", async () => {
  await withApp({ plugins: ["hostile-http"] }, async (app) => {
    const response = await fetch(`${app.url}/http/hostile-http/cut-body`);
    assert.equal(response.status, 200);
    await assert.rejects(response.text());
    await idle(app);
  });
});
