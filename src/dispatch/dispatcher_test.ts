import assert from "node:assert/strict";
import { fixtureBytes } from "../../tests/fixtures/build.ts";
import { test } from "../../tests/harness.ts";
import { AtollError } from "../core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../core/limits.ts";
import { openPortableSandbox } from "../sandbox/portable.ts";
import type { LoadedComponent, Sandbox } from "../sandbox/sandbox.ts";
import { type CallableTool, Dispatcher } from "./dispatcher.ts";

async function withSandbox(body: (sandbox: Sandbox) => Promise<void>): Promise<void> {
  const sandbox = await openPortableSandbox({});
  try {
    await body(sandbox);
  } finally {
    await sandbox.close();
  }
}

async function load(
  sandbox: Sandbox,
  name: "tiny" | "hostile",
  limits: Partial<Limits> = {},
): Promise<LoadedComponent> {
  const bytes = await fixtureBytes(name);
  return await sandbox.load({ id: name, bytes, limits: { ...DEFAULT_LIMITS, ...limits } });
}

function toolOf(component: LoadedComponent, name: string): CallableTool {
  const functionIndex = component.functions.findIndex((one) => one.name === name);
  assert.notEqual(functionIndex, -1);
  return { functionIndex, plugin: { id: "one", component } };
}

/** A plugin whose component was exchanged between two looks at it. */
function movingPlugin(components: readonly LoadedComponent[]): CallableTool["plugin"] {
  let looks = 0;
  return {
    id: "moving",
    get component(): LoadedComponent {
      const component = components[Math.min(looks++, components.length - 1)];
      assert.ok(component !== undefined);
      return component;
    },
  };
}

const code = (expected: string) => (error: unknown) =>
  error instanceof AtollError && error.code === expected;

test("a call is answered, and not in flight any more", async () => {
  await withSandbox(async (sandbox) => {
    const dispatcher = new Dispatcher();
    const tool = toolOf(await load(sandbox, "tiny"), "add");
    assert.deepEqual(await dispatcher.callTool(tool, '{"a":2,"b":3}'), { kind: "ok", json: "5" });
    await assert.rejects(
      async () => await dispatcher.callTool(tool, '{"a":"2","b":3}'),
      code("invalid_argument"),
    );
    assert.equal(dispatcher.inFlight, 0);
  });
});

test("a call that the old engine never started is made again on the new one", async () => {
  await withSandbox(async (sandbox) => {
    const dispatcher = new Dispatcher();
    const before = await load(sandbox, "tiny");
    const after = await load(sandbox, "tiny");
    await before.unload();
    const functionIndex = before.functions.findIndex((one) => one.name === "add");
    const plugin = movingPlugin([before, after]);
    const outcome = await dispatcher.callTool({ functionIndex, plugin }, '{"a":1,"b":1}');
    assert.equal(outcome.json, "2");
  });
});

test("a plugin that is gone is closed, not tried for ever", async () => {
  await withSandbox(async (sandbox) => {
    const dispatcher = new Dispatcher();
    const component = await load(sandbox, "tiny");
    const other = await load(sandbox, "tiny");
    await component.unload();
    await other.unload();
    const functionIndex = 0;
    for (const plugin of [movingPlugin([component]), movingPlugin([component, other])]) {
      await assert.rejects(
        async () => await dispatcher.callTool({ functionIndex, plugin }, '{"a":1,"b":1}'),
        code("closed"),
      );
    }
    assert.equal(dispatcher.inFlight, 0);
  });
});

test("A25: stopping refuses new calls and waits for running ones", async () => {
  await withSandbox(async (sandbox) => {
    const dispatcher = new Dispatcher();
    const tool = toolOf(await load(sandbox, "hostile"), "sleep");
    const running = dispatcher.callTool(tool, '{"ms":100}');
    assert.equal(dispatcher.inFlight, 1);
    const stopped = dispatcher.stop(60_000);
    await assert.rejects(
      async () => await dispatcher.callTool(tool, '{"ms":0}'),
      code("closed"),
    );
    assert.equal((await running).kind, "ok");
    assert.equal(await stopped, true);
    assert.equal(dispatcher.inFlight, 0);
  });
});

test("A25: stopping answers what still runs after the grace time", async () => {
  await withSandbox(async (sandbox) => {
    const dispatcher = new Dispatcher();
    const tool = toolOf(await load(sandbox, "hostile"), "sleep");
    const controller = new AbortController();
    const running = Promise.resolve(
      dispatcher.callTool(tool, '{"ms":20000}', { signal: controller.signal }),
    );
    const closed = assert.rejects(running, { ...code("closed"), message: /waited 20 ms/ });
    assert.equal(await dispatcher.stop(20), false);
    await closed;
    assert.equal(dispatcher.inFlight, 0);
    controller.abort();
  });
});
