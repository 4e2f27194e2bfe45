/** Plugins move from the portable engine to the native one while they serve: no call fails. */
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { buildNative, cacheFolder } from "../../native/build/build.ts";
import type { NativePaths } from "../../native/build/cache.ts";
import { loadConfig } from "../../src/config/load.ts";
import type { Grants } from "../../src/core/grants.ts";
import { Dispatcher } from "../../src/dispatch/dispatcher.ts";
import { Registry } from "../../src/plugins/registry.ts";
import { openNativeSandbox } from "../../src/sandbox/native.ts";
import { openPortableSandbox } from "../../src/sandbox/portable.ts";
import type { LoadedComponent, Sandbox } from "../../src/sandbox/sandbox.ts";
import { Fleet } from "../../src/server/fleet.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { fixture, fixtureFolder, type FixtureName } from "../fixtures/build.ts";
import { test } from "../harness.ts";

test("plugins move to the native engine without a failed call", async () => {
  const libraries = await buildNative();
  const cacheDir = cacheFolder();
  const { config } = loadConfig({
    flags: { plugins: [fixtureFolder("text"), fixtureFolder("units")] },
    environment: { ATOLL_CACHE_DIR: cacheDir },
    cwd: process.cwd(),
  });
  const registry = new Registry();
  const dispatcher = new Dispatcher();
  const lines: string[] = [];
  const portable = await openPortableSandbox({ cacheDir });
  const fleet = new Fleet({
    config,
    registry,
    log: createLogger({ level: "error" }),
    announce: (line) => lines.push(line),
    show: () => {},
    stopping: new AbortController().signal,
  });
  fleet.find();
  await fleet.load(portable);
  assert.deepEqual(registry.failed(), []);
  const before = registry.generation;

  let moving = true;
  let calls = 0;
  const engines = new Set<string>();
  const caller = async () => {
    while (moving) {
      const tool = registry.tool("text_analyse");
      assert.ok(tool);
      const outcome = await dispatcher.callTool(tool, '{"input":"on the move"}');
      assert.deepEqual(JSON.parse(outcome.json), { words: 3, chars: 11 });
      engines.add(tool.plugin.component.engine);
      calls++;
      // A turn of the event loop: inline calls would not let the move go on.
      await new Promise((resolve) => setTimeout(resolve));
    }
  };
  const callers = Promise.all([caller(), caller(), caller()]);
  const native = await openNativeSandbox({
    libraries,
    engine: { instances: 50, workerThreads: 0 },
    cacheDir,
  });
  await fleet.moveTo(native);
  await new Promise((resolve) => setTimeout(resolve, 20));
  moving = false;
  await callers;

  assert.ok(calls > 0);
  assert.ok(engines.has("native"), [...engines].join());
  for (const plugin of registry.plugins()) assert.equal(plugin.component.engine, "native");
  assert.equal(registry.generation, before, "clients need not list again");
  assert.equal(lines.length, 4);
  await fleet.close();
});

test("a folder that is not there is refused before anything is loaded", async () => {
  const folder = mkdtempSync(join(tmpdir(), "atoll-fleet-"));
  try {
    const { config } = loadConfig({
      flags: { plugins: [join(folder, "absent")] },
      environment: {},
      cwd: folder,
    });
    const registry = new Registry();
    const fleet = new Fleet({
      config,
      registry,
      log: createLogger({ level: "silent" }),
      announce: () => {},
      show: () => {},
      stopping: new AbortController().signal,
    });
    assert.throws(() => fleet.find(), /absent/);
    assert.deepEqual(registry.pending(), []);
    await fleet.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** A fleet on the portable engine with one component, whose file the test may change. */
async function withComponent(
  name: FixtureName,
  body: (
    fleet: Fleet,
    registry: Registry,
    loading: Promise<void>,
    file: string,
    lines: string[],
  ) => Promise<void>,
  grants: Partial<Grants> = {},
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "atoll-fleet-"));
  const file = join(folder, "one.wasm");
  copyFileSync(await fixture(name), file);
  writeFileSync(
    join(folder, "atoll.json"),
    JSON.stringify({ pluginSettings: { one: { grants } } }),
  );
  const { config } = loadConfig({ flags: { plugins: [file] }, environment: {}, cwd: folder });
  const registry = new Registry();
  const lines: string[] = [];
  const fleet = new Fleet({
    config,
    registry,
    log: createLogger({ level: "warn", format: "json", write: (line) => lines.push(line) }),
    announce: () => {},
    show: () => {},
    stopping: new AbortController().signal,
  });
  try {
    fleet.find();
    assert.deepEqual(registry.pending(), ["one"], "known before there is an engine");
    const loading = fleet.load(await openPortableSandbox({}));
    await body(fleet, registry, loading, file, lines);
  } finally {
    await fleet.close();
    rmSync(folder, { recursive: true });
  }
}

/** An engine of the other kind that gives out these components, and counts what becomes of them. */
class OtherEngine implements Sandbox {
  readonly kind = "native";
  readonly loaded: Uint8Array[] = [];
  unloaded = 0;
  closed = 0;

  constructor(readonly component: Partial<LoadedComponent> = {}) {}

  load({ bytes }: { readonly bytes: Uint8Array }): Promise<LoadedComponent> {
    this.loaded.push(bytes);
    return Promise.resolve({
      engine: this.kind,
      digest: "",
      wit: "package root:component;\nworld root {}",
      functions: [],
      http: false,
      origin: { kind: "cache", ms: 0 },
      call: () => assert.fail("it is not called"),
      handle: () => assert.fail("it is not called"),
      unload: () => Promise.resolve(void this.unloaded++),
      ...this.component,
    });
  }

  close(): Promise<void> {
    return Promise.resolve(void this.closed++);
  }
}

test("a plugin moves as it was loaded, whatever became of its file", async () => {
  await withComponent("tiny", async (fleet, registry, loading, file) => {
    await loading;
    const [plugin] = registry.plugins();
    assert.ok(plugin);
    const { digest, wit, functions } = plugin.component;
    writeFileSync(file, "something else");
    const other = new OtherEngine({ digest, wit, functions });
    await fleet.moveTo(other);
    assert.equal(plugin.component.engine, "native");
    assert.equal(other.loaded.length, 1);
  });
});

test("a component that does not fit is unloaded again, and the plugin stays", async () => {
  await withComponent("tiny", async (fleet, registry, loading, _, lines) => {
    await loading;
    const other = new OtherEngine();
    await fleet.moveTo(other);
    assert.equal(registry.plugins()[0]?.component.engine, "portable");
    assert.deepEqual([other.loaded.length, other.unloaded], [1, 1]);
    assert.match(lines.join(), /stays on the portable engine/);
    await fleet.close();
    assert.equal(other.closed, 1);
  });
});

test("a fleet that is closed ends its loads and takes no other engine", async () => {
  await withComponent("units", async (fleet, registry, loading) => {
    const other = new OtherEngine();
    const moving = fleet.moveTo(other);
    await fleet.close();
    await loading;
    await moving;
    assert.deepEqual(registry.failed().map(({ error }) => error.code), ["closed"]);
    assert.deepEqual([other.loaded.length, other.closed], [0, 1]);
  });
});

function openSmall(libraries: NativePaths) {
  const engine = { instances: 10, workerThreads: 1 };
  return openNativeSandbox({ libraries, engine, cacheDir: cacheFolder() });
}

test("what the old engine refused is loaded by the new one", async () => {
  const libraries = await buildNative();
  await withComponent("wide-memory", async (fleet, registry, loading) => {
    await loading;
    assert.deepEqual(registry.failed().map(({ id }) => id), ["one"]);
    await fleet.moveTo(await openSmall(libraries));
    assert.deepEqual(registry.failed(), []);
    const tool = registry.tool("one_add");
    assert.ok(tool);
    const outcome = await new Dispatcher().callTool(tool, '{"a":1,"b":2}');
    assert.equal(outcome.json, "3");
  });
});

test("a plugin with grants waits for the engine that can grant them", async () => {
  const libraries = await buildNative();
  await withComponent("hostile", async (fleet, registry, loading) => {
    await loading;
    const [refused] = registry.failed();
    assert.match(refused?.error.message ?? "", /the portable engine cannot grant env\.LANG/);
    await fleet.moveTo(await openSmall(libraries));
    assert.deepEqual(registry.failed(), []);
    const tool = registry.tool("one_environment");
    assert.ok(tool);
    const outcome = await new Dispatcher().callTool(tool, "{}");
    assert.equal(outcome.json, '["LANG=C"]');
  }, { env: { LANG: "C" } });
});

test("a call that runs on does not hold up the move of other plugins", async () => {
  const libraries = await buildNative();
  const { config } = loadConfig({
    flags: { plugins: [fixtureFolder("hostile"), fixtureFolder("text")] },
    environment: { ATOLL_CACHE_DIR: cacheFolder() },
    cwd: process.cwd(),
  });
  const registry = new Registry();
  const fleet = new Fleet({
    config,
    registry,
    log: createLogger({ level: "error" }),
    announce: () => {},
    show: () => {},
    stopping: new AbortController().signal,
  });
  try {
    fleet.find();
    await fleet.load(await openPortableSandbox({ cacheDir: cacheFolder() }));
    const sleep = registry.tool("hostile_sleep");
    assert.ok(sleep);
    let answered = false;
    const call = Promise.resolve(new Dispatcher().callTool(sleep, '{"ms":3000}'));
    const running = call.finally(() => answered = true);
    const moving = fleet.moveTo(
      await openNativeSandbox({
        libraries,
        engine: { instances: 10, workerThreads: 1 },
        cacheDir: cacheFolder(),
      }),
    );
    while (registry.plugin("text")?.component.engine !== "native") {
      assert.equal(answered, false, "text moves while the call runs");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.equal((await running).kind, "ok");
    await moving;
  } finally {
    await fleet.close();
  }
});

test("an actor is one through the server, and its log says what it lost in a move", async () => {
  const libraries = await buildNative();
  const folder = mkdtempSync(join(tmpdir(), "atoll-actor-"));
  const lines: string[] = [];
  copyFileSync(await fixture("hostile"), join(folder, "hostile.wasm"));
  const manifest = {
    id: "counter",
    version: "1.0.0",
    component: "hostile.wasm",
    isolation: { mode: "actor" },
  };
  writeFileSync(join(folder, "plugin.json"), JSON.stringify(manifest));
  const { config } = loadConfig({
    flags: { plugins: [folder] },
    environment: { ATOLL_CACHE_DIR: cacheFolder() },
    cwd: process.cwd(),
  });
  const registry = new Registry();
  const fleet = new Fleet({
    config,
    registry,
    log: createLogger({ level: "warn", format: "json", write: (text) => lines.push(text) }),
    announce: () => {},
    show: () => {},
    stopping: new AbortController().signal,
  });
  const dispatcher = new Dispatcher();
  const call = async (name: string) => {
    const tool = registry.tool(`counter_${name}`);
    assert.ok(tool);
    return (await dispatcher.callTool(tool, "{}")).json;
  };
  try {
    fleet.find();
    await fleet.load(await openPortableSandbox({ cacheDir: cacheFolder() }));
    const engine = { instances: 10, workerThreads: 1 };
    for (let moved = 0; moved < 2; moved++) {
      assert.deepEqual([await call("calls_before"), await call("calls_before")], ["0", "1"]);
      await assert.rejects(() => call("trap"), { code: "trap" });
      assert.equal(await call("calls_before"), "0");
      if (moved > 0) break;
      await fleet.moveTo(
        await openNativeSandbox({ libraries, engine, cacheDir: cacheFolder() }),
      );
    }
    // A line of a call that ended inline comes behind its reply.
    while (lines.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.match(lines[0]!, /the actor begins anew, its state is lost: the guest trapped/);
    assert.match(lines[1]!, /left its actors' state on the portable engine/);
    assert.match(lines[2]!, /the actor begins anew, its state is lost: the guest trapped/);
  } finally {
    await fleet.close();
    rmSync(folder, { recursive: true });
  }
});
