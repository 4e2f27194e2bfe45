/** Plugins and their tools in the registry, with real components on the portable engine. */
import { deepEqual, equal, match, notEqual, ok, rejects, throws } from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import { NO_GRANTS } from "../../src/core/grants.ts";
import { AtollError } from "../../src/core/errors.ts";
import { CALL_ISOLATION } from "../../src/core/isolation.ts";
import {
  loadComponent,
  loadPlugin,
  Plugin,
  type PluginProfile,
  profileOf,
} from "../../src/plugins/plugin.ts";
import { Registry } from "../../src/plugins/registry.ts";
import { openPortableSandbox } from "../../src/sandbox/portable.ts";
import type { Sandbox } from "../../src/sandbox/sandbox.ts";
import { fixture, fixtureBytes } from "../fixtures/build.ts";
import { test } from "../harness.ts";

const { config } = loadConfig({ cwd: "/" });

async function withSandbox(use: (sandbox: Sandbox) => Promise<void>): Promise<void> {
  const cacheDir = mkdtempSync(join(tmpdir(), "atoll-registry-"));
  const sandbox = await openPortableSandbox({ cacheDir });
  try {
    await use(sandbox);
  } finally {
    await sandbox.close();
    rmSync(cacheDir, { recursive: true, force: true });
  }
}

async function plugin(
  sandbox: Sandbox,
  name: "text" | "units" | "two-faces" | "hello-http",
  id: string = name,
  settings: Config["pluginSettings"][string] = { enabled: true },
): Promise<Plugin> {
  const found = { id, path: await fixture(name), manifest: null };
  const withSettings = { ...config, pluginSettings: { [id]: settings } };
  return loadPlugin(found, { sandbox, config: withSettings });
}

const names = (registry: Registry) => registry.tools().map((tool) => tool.name);

test("tools of all plugins are one sorted list, made once for each change", async () => {
  await withSandbox(async (sandbox) => {
    const registry = new Registry();
    registry.add(await plugin(sandbox, "units"));
    const first = registry.tools();
    const before = registry.generation;
    equal(registry.tools(), first);
    registry.add(await plugin(sandbox, "text"));
    notEqual(registry.generation, before);
    deepEqual(names(registry), ["text_analyse", "text_reverse", "units_convert"]);
    deepEqual(registry.plugins().map(({ id }) => id), ["text", "units"]);
    const tool = registry.tool("text_analyse");
    ok(tool);
    const outcome = await tool.plugin.component.call(tool.functionIndex, '{"input":"a b"}');
    deepEqual([outcome.kind, JSON.parse(outcome.json)], ["ok", { words: 2, chars: 3 }]);
    equal(registry.tool("__proto__"), undefined);

    registry.remove("text");
    deepEqual([names(registry), registry.plugin("text")], [["units_convert"], undefined]);
  });
});

test("A15: a tool's name that is taken is refused naming both plugins, and nothing is added", async () => {
  await withSandbox(async (sandbox) => {
    const registry = new Registry();
    registry.add(await plugin(sandbox, "text"));
    const before = registry.generation;
    const second = await plugin(sandbox, "text", "other", { enabled: true, prefix: "text" });
    throws(() => registry.add(second), (error: AtollError) => {
      equal(error.code, "manifest");
      match(error.message, /plugin "other".*"text_analyse".*plugin "text".*another prefix/);
      return true;
    });
    deepEqual([registry.plugin("other"), registry.generation], [undefined, before]);
    throws(() => registry.add(registry.plugin("text") as Plugin), /its id is taken/);
    registry.add(await plugin(sandbox, "text", "other", { enabled: true, prefix: null }));
    deepEqual(names(registry), ["analyse", "reverse", "text_analyse", "text_reverse"]);
  });
});

test("a plugin that is being loaded or has failed leaves the list as it is", async () => {
  await withSandbox(async (sandbox) => {
    const registry = new Registry();
    registry.begin("text");
    registry.begin("broken");
    deepEqual(registry.pending(), ["broken", "text"]);
    registry.fail("broken", new AtollError("build", "no"));
    registry.add(await plugin(sandbox, "text"));
    deepEqual(registry.pending(), []);
    deepEqual(registry.failed().map(({ id, error }) => [id, error.code]), [["broken", "build"]]);
    equal(names(registry).length, 2);
  });
});

test("a plugin moves to another loaded component of the same bytes, and to no other", async () => {
  await withSandbox(async (sandbox) => {
    const text = await plugin(sandbox, "text");
    const [tool] = text.tools;
    const again = await loadComponent(sandbox, text, await fixtureBytes("text"));
    const before = text.component;
    equal(text.swap(again), before);
    deepEqual([text.component, text.tools[0]], [again, tool]);
    await before.unload();
    await rejects(async () => await before.call(0, '{"input":"a"}'), (error: AtollError) => {
      equal(error.code, "closed");
      return true;
    });
    const other = await loadComponent(sandbox, text, await fixtureBytes("units"));
    throws(() => text.swap(other), /it is not the component that is running/);
    equal(text.component, again);
  });
});

test("routes and prefixes come from settings, then the manifest, then the id", async () => {
  await withSandbox(async (sandbox) => {
    equal((await plugin(sandbox, "hello-http")).httpRoute, "/http/hello-http/");
    const off = { enabled: true, routes: { http: false } };
    equal((await plugin(sandbox, "hello-http", "hello-http", off)).httpRoute, null);
    equal((await plugin(sandbox, "text")).httpRoute, null);
  });
  const manifest = {
    id: "my-text",
    version: "1.2.3",
    component: "x.wasm",
    routes: { http: true },
    limits: { wallMs: 5, cpuMs: 6 },
    wants: { env: ["LANG", "TOKEN"], keyvalue: ["notes", "other"] },
    isolation: { mode: "actor", idleMs: null, shared: false } as const,
    config: { a: true, b: 2, c: { list: ["x"] }, d: "a text" },
  };
  const found = { id: "my-text", path: "/p", manifest };
  const profile = profileOf(found, {
    ...config,
    pluginSettings: { "my-text": { enabled: true, limits: { cpuMs: 7 }, config: { b: 3 } } },
  });
  deepEqual([profile.prefix, profile.version, profile.config], ["my_text", "1.2.3", {
    a: "true",
    b: "3",
    c: '{"list":["x"]}',
    d: "a text",
  }]);
  deepEqual([profile.limits.wallMs, profile.limits.cpuMs], [5, 7]);
  deepEqual(profile.isolation, manifest.isolation);
  const fresh = { "my-text": { enabled: true, isolation: CALL_ISOLATION } };
  deepEqual(profileOf(found, { ...config, pluginSettings: fresh }).isolation, CALL_ISOLATION);
  equal(profile.limits.memoryBytes, config.limits.memoryBytes);
  // Whatever a manifest wants, it has what the operator grants.
  const wanted = ["env.LANG", "env.TOKEN", "keyvalue.notes", "keyvalue.other"];
  const missing = (of: PluginProfile) => of.missingGrants.map(({ name }) => name);
  deepEqual([profile.grants, missing(profile)], [NO_GRANTS, wanted]);
  const grants = {
    env: { TOKEN: "t" },
    keyvalue: [{ name: "notes", bytes: 1, shared: false }],
  };
  const granting = { "my-text": { enabled: true, grants } };
  const granted = profileOf(found, { ...config, pluginSettings: granting });
  deepEqual([granted.grants, missing(granted)], [grants, ["env.LANG", "keyvalue.other"]]);
  equal(profileOf({ ...found, manifest: { ...manifest, prefix: "t" } }, config).prefix, "t");
});
