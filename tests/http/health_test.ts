/** Health routes: alive, ready with its plugins, not ready while stopping. */
import assert from "node:assert/strict";
import { AtollError } from "../../src/core/errors.ts";
import { test } from "../harness.ts";
import { withApp } from "./support.ts";

test("alive as long as it answers", async () => {
  await withApp({}, async ({ url, setState }) => {
    setState("stopping");
    const response = await fetch(`${url}/health/live`);
    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), { status: "live" });
    assert.equal((await fetch(`${url}/health/live`, { method: "HEAD" })).status, 200);
  });
});

test("readiness names plugins, what is pending and what failed", async () => {
  await withApp({ plugins: ["text", "hello-http"] }, async ({ url, registry, setState }) => {
    registry.begin("slow");
    registry.fail("broken", new AtollError("build", "cargo is missing"));
    const ready = await fetch(`${url}/health/ready`);
    assert.equal(ready.status, 200);
    assert.deepEqual(await ready.json(), {
      status: "ready",
      plugins: [
        {
          id: "hello-http",
          version: "0.1.0",
          engine: "portable",
          tools: 0,
          http: "/http/hello-http/",
        },
        { id: "text", version: "0.1.0", engine: "portable", tools: 2, http: null },
      ],
      pending: ["slow"],
      failed: [{ id: "broken", error: "cargo is missing" }],
    });
    for (const state of ["starting", "stopping"] as const) {
      setState(state);
      const response = await fetch(`${url}/health/ready`);
      assert.equal(response.status, 503);
      assert.equal((await response.json() as { status: string }).status, state);
    }
  });
});
