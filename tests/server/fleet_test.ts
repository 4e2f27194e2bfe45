/** Plugins move from the portable engine to the native one while they serve: no call fails. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { buildNative, cacheFolder } from "../../native/build/build.ts";
import { loadConfig } from "../../src/config/load.ts";
import { Dispatcher } from "../../src/dispatch/dispatcher.ts";
import { Registry } from "../../src/plugins/registry.ts";
import { openNativeSandbox } from "../../src/sandbox/native.ts";
import { openPortableSandbox } from "../../src/sandbox/portable.ts";
import { Fleet } from "../../src/server/fleet.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { fixtureFolder } from "../fixtures/build.ts";
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
  const fleet = new Fleet(portable, {
    config,
    registry,
    log: createLogger({ level: "error" }),
    announce: (line) => lines.push(line),
    show: () => {},
    stopping: new AbortController().signal,
  });
  await fleet.load();
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
    const sandbox = await openPortableSandbox({});
    const fleet = new Fleet(sandbox, {
      config,
      registry,
      log: createLogger({ level: "silent" }),
      announce: () => {},
      show: () => {},
      stopping: new AbortController().signal,
    });
    assert.throws(() => fleet.load(), /absent/);
    assert.deepEqual(registry.pending(), []);
    await fleet.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
