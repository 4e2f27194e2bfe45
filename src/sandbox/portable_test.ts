/**
 * What only the portable engine has: its cache, its workers, how it leaves the process alone.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { fixture, fixtureBytes } from "../../tests/fixtures/build.ts";
import { currentRuntime, runScript } from "../../tests/runtimes.ts";
import { test } from "../../tests/harness.ts";
import { AtollError } from "../core/errors.ts";
import { DEFAULT_LIMITS } from "../core/limits.ts";
import { openPortableSandbox } from "./portable.ts";

const limits = DEFAULT_LIMITS;

test("portable: A22: a cached file that was changed is made again, not run", async () => {
  const cacheDir = mkdtempSync(join(tmpdir(), "atoll-portable-"));
  const bytes = await fixtureBytes("tiny");
  const load = async () => {
    const sandbox = await openPortableSandbox({ cacheDir });
    const component = await sandbox.load({ id: "tiny", bytes, limits });
    const { json } = await component.call(0, '{"a":2,"b":3}');
    assert.equal(json, "5");
    await sandbox.close();
    return component.origin.kind;
  };
  assert.equal(await load(), "compiled");
  assert.equal(await load(), "cache");
  const folder = join(cacheDir, "portable");
  const [name = ""] = readdirSync(folder);
  const path = join(folder, name);
  assert.equal(statSync(path).mode & 0o077, 0);
  const content = readFileSync(path);
  const spoiled = [
    (file: Uint8Array) => file[file.length - 5]! ^= 1,
    (file: Uint8Array) => file[40]! ^= 0x80,
    (file: Uint8Array) => file[0]! ^= 1,
  ];
  for (const spoil of spoiled) {
    const copy = new Uint8Array(content);
    spoil(copy);
    writeFileSync(path, copy);
    assert.equal(await load(), "compiled");
  }
  for (const short of [0, 10, 33, content.length - 1]) {
    writeFileSync(path, content.subarray(0, short));
    assert.equal(await load(), "compiled");
  }
  rmSync(cacheDir, { recursive: true });
});

test("portable: two calls run at once, the others wait for them", async () => {
  const sandbox = await openPortableSandbox({});
  const hostile = await sandbox.load({
    id: "hostile",
    bytes: await fixtureBytes("hostile"),
    limits,
  });
  const sleep = hostile.functions.findIndex((each) => each.name === "sleep");
  const started = performance.now();
  const runs = Array.from({ length: 4 }, () => hostile.call(sleep, '{"ms":200}'));
  for (const run of await Promise.all(runs)) assert.equal(run.kind, "ok");
  // Two at a time take 400 ms at least; how much more depends on the machine.
  assert.ok(performance.now() - started >= 395);
  await sandbox.close();
});

test("portable: A30: a worker that is ended with calls in flight ends each of them once", async () => {
  const sandbox = await openPortableSandbox({});
  const hostile = await sandbox.load({
    id: "hostile",
    bytes: await fixtureBytes("hostile"),
    limits,
  });
  const park = hostile.functions.findIndex((each) => each.name === "park");
  const runs = Array.from({ length: 5 }, () => hostile.call(park, "{}"));
  const ends = Promise.allSettled(runs);
  await new Promise((resolve) => setTimeout(resolve, 50));
  await sandbox.close();
  for (const end of await ends) {
    assert.ok(end.status === "rejected" && end.reason instanceof AtollError);
    assert.ok(["closed", "panic"].includes(end.reason.code), end.reason.message);
  }
});

test("portable: closing ends what is being loaded and what waits for it", async () => {
  const sandbox = await openPortableSandbox({});
  const bytes = [await fixtureBytes("units"), await fixtureBytes("hostile")];
  const loads = bytes.map((each) => sandbox.load({ id: "late", bytes: each, limits }));
  const tiny = { id: "tiny", bytes: await fixtureBytes("tiny"), limits };
  const ends = Promise.allSettled(loads);
  await sandbox.close();
  for (const end of await ends) {
    assert.ok(end.status === "rejected" && end.reason instanceof AtollError);
    assert.equal(end.reason.code, "closed", end.reason.message);
  }
  await assert.rejects(sandbox.load(tiny), { code: "closed" });

  const second = await openPortableSandbox({});
  await (await second.load(tiny)).unload();
  // Transpiled before, so that it waits for its worker only.
  const again = second.load(tiny);
  const end = again.then(() => null, (error: unknown) => error);
  await second.close();
  const error = await end;
  assert.ok(error instanceof AtollError && error.code === "closed", String(error));
});

test("portable: memory does not grow with calls that use it up", async () => {
  const sandbox = await openPortableSandbox({});
  const hostile = await sandbox.load({
    id: "hostile",
    bytes: await fixtureBytes("hostile"),
    limits: { ...limits, cpuMs: 60_000, wallMs: 120_000 },
  });
  const grow = hostile.functions.findIndex((each) => each.name === "grow");
  const round = async (calls: number) => {
    for (let count = 0; count < calls; count++) {
      await assert.rejects(async () => await hostile.call(grow, "{}"), /linear memory/);
    }
    return process.memoryUsage().rss;
  };
  const before = await round(10);
  const after = await round(40);
  // Forty times 64 MiB were touched in between.
  assert.ok(after - before < 512 * 1024 * 1024, `${before} to ${after}`);
  await sandbox.close();
});

test("portable: an idle engine does not keep its process alive, a pending call does", async () => {
  const script = fileURLToPath(new URL("./portable_idle_probe.ts", import.meta.url));
  const [command = "", ...args] = runScript(currentRuntime, script);
  const hostile = await fixture("hostile");
  const output = await new Promise<string>((resolve, reject) => {
    execFile(command, [...args, hostile], (error, stdout) => {
      if (error === null) resolve(stdout);
      else reject(error);
    });
  });
  assert.deepEqual(output.trim().split("\n"), ["loaded", "answered 100"]);
});
