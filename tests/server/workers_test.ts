/**
 * Several workers with one native engine, in one process: what one thread loads all of them serve, and
 * one that dies takes nothing with it but its connections.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { buildNative, cacheFolder } from "../../native/build/build.ts";
import { loadConfig } from "../../src/config/load.ts";
import { CALL_ISOLATION, type Isolation } from "../../src/core/isolation.ts";
import type { WorkersHealth } from "../../src/http/health.ts";
import { discover } from "../../src/plugins/discovery.ts";
import { loadComponent, Plugin, profileOf } from "../../src/plugins/plugin.ts";
import { type NativeSandbox, openNativeSandbox } from "../../src/sandbox/native.ts";
import { Front } from "../../src/server/front.ts";
import { guestListeners } from "../../src/server/guest_listeners.ts";
import { Workers } from "../../src/server/workers/workers.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { fixture, fixtureBytes, type FixtureName } from "../fixtures/build.ts";
import { test, until } from "../harness.ts";
import { callByNewConnection } from "../new_connection.ts";

const FAULTY = new URL("./threads/faulty_worker.ts", import.meta.url);
/** With so many connections none of three listeners is left out: (2/3)^80 is nothing. */
const MANY = 80;

interface Served {
  readonly url: string;
  readonly sandbox: NativeSandbox;
  readonly workers: Workers;
  readonly front: Front;
  /** Lines of the log, of all workers. */
  readonly lines: string[];
  /** A folder of the test's own; a file `throw-now` in it ends a worker. */
  readonly cacheDir: string;
  load(name: FixtureName, isolation?: Isolation): Promise<Plugin>;
}

async function served(count: number, body: (served: Served) => Promise<void>): Promise<void> {
  const cacheDir = mkdtempSync(join(tmpdir(), "atoll-workers-"));
  const { config } = loadConfig({
    flags: { plugins: [] },
    environment: { ATOLL_CACHE_DIR: cacheDir, ATOLL_LOG__FORMAT: "text" },
    cwd: process.cwd(),
  });
  const lines: string[] = [];
  const log = createLogger({ format: "text", write: (line) => lines.push(line) });
  const engine = { instances: 200, workerThreads: 2 };
  const libraries = await buildNative();
  const sandbox = await openNativeSandbox({ libraries, engine, cacheDir: cacheFolder() });
  const before = sandbox.stats();
  const front: Front = new Front({
    config,
    log,
    state: () => "ready",
    workers: () => workers.health(),
  });
  const { registry } = front;
  const listener = await front.listen(0, true);
  const { port } = listener;
  const workers: Workers = new Workers({
    ...{ config, log, registry, sandbox, count, port },
    state: () => "ready",
    module: FAULTY,
  });
  const load = async (name: FixtureName, isolation = CALL_ISOLATION): Promise<Plugin> => {
    const [found] = discover([await fixture(name)]).found;
    assert.ok(found);
    // Of a bare component, which has no manifest that could say how long an instance lives.
    const profile = { ...profileOf(found, config), isolation };
    const bytes = await fixtureBytes(name);
    return new Plugin(
      profile,
      await loadComponent(sandbox, profile, bytes, guestListeners(log)),
    );
  };
  try {
    await workers.start();
    assert.equal(sandbox.stats().clients, before.clients + count - 1);
    await body({
      ...{ url: `http://127.0.0.1:${port}`, sandbox, workers, front, lines, cacheDir, load },
    });
  } finally {
    await workers.stop(5_000);
    await listener.stop(0);
    for (const plugin of registry.plugins()) await plugin.component.unload();
    rmSync(cacheDir, { recursive: true });
    assert.equal(sandbox.stats().clients, before.clients, "each worker has closed its client");
    await until(() => sandbox.stats().callsInFlight === 0);
    await sandbox.close();
  }
}

const ask = (url: string, tool: string, args: object) =>
  callByNewConnection<{ result?: Answer; error?: Fault }>(url, tool, args);

interface Answer {
  readonly structuredContent?: Readonly<Record<string, unknown>>;
  readonly isError?: boolean;
}
interface Fault {
  readonly message: string;
}

const analyse = (url: string) => ask(url, "text_analyse", { input: "two words" });
const many = <T>(make: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: MANY }, (_, index) => make(index)));

test("what is loaded late is served by all once it is said to be, what is removed by none", async () => {
  await served(3, async ({ url, front, workers, load, sandbox }) => {
    for (const { error } of await many(() => analyse(url))) {
      assert.match(error?.message ?? "", /Unknown tool/);
    }
    front.registry.begin("text");
    await workers.told();
    for (const { error } of await many(() => analyse(url))) {
      assert.match(error?.message ?? "", /not there yet: still building text/);
    }
    const text = await load("text");
    front.registry.add(text);
    await workers.told();
    const expected = { words: 2, chars: 9 };
    for (const { result } of await many(() => analyse(url))) {
      assert.deepEqual(result?.structuredContent, expected);
    }
    // Under load: each call is answered by the tool, or by its absence, never by one that is gone.
    const calls = many(() => analyse(url));
    front.registry.remove("text");
    await workers.told();
    await text.component.unload();
    for (const { result, error } of await calls) {
      if (error === undefined) assert.deepEqual(result?.structuredContent, expected);
      else assert.match(error.message, /Unknown tool/);
    }
    for (const { error } of await many(() => analyse(url))) {
      assert.match(error?.message ?? "", /Unknown tool/);
    }
    await until(async () => (await sandbox.engineStats()).components === 0);
  });
});

test("failures and the state reach all workers, and health is of all of them", async () => {
  await served(3, async ({ url, front, workers }) => {
    const { AtollError } = await import("../../src/core/errors.ts");
    front.registry.fail("broken", new AtollError("build", "cargo is missing"));
    await workers.told();
    const bodies = await many(async () => {
      const headers = { connection: "close" };
      const response = await fetch(`${url}/health/ready`, { headers });
      assert.equal(response.status, 200);
      return await response.json() as { failed: unknown; workers: WorkersHealth };
    });
    for (const { failed, workers } of bodies) {
      assert.deepEqual(failed, [{ id: "broken", error: "cargo is missing" }]);
      assert.deepEqual(workers, { wanted: 3, serving: 3, restarts: 0 });
    }
  });
});

test("an actor is one instance, whichever worker is asked", async () => {
  await served(3, async ({ url, front, workers, load }) => {
    front.registry.add(await load("hostile", { mode: "actor", idleMs: null, shared: false }));
    await workers.told();
    const counts: number[] = [];
    // One after the other: an actor takes one call at a time, and its queue is shorter than many.
    for (let i = 0; i < MANY; i++) {
      const { result } = await ask(url, "hostile_calls_before", {});
      counts.push(result?.structuredContent?.["result"] as number);
    }
    assert.deepEqual(counts, Array.from({ length: MANY }, (_, index) => index));
  });
});

test("guests' lines of all workers are whole lines of the one log", async () => {
  await served(3, async ({ url, front, workers, lines, load }) => {
    front.registry.add(await load("hostile"));
    await workers.told();
    await many((index) => ask(url, "hostile_log", { line: `line ${index}` }));
    await until(() => lines.length >= 2 * MANY);
    const expected = Array.from({ length: MANY }, (_, index) => [
      `atoll: line ${index} plugin=hostile stream=stdout\n`,
      `atoll: warning: line ${index} plugin=hostile stream=stderr\n`,
    ]).flat();
    assert.deepEqual(lines.toSorted(), expected.toSorted());
  });
});

test("what a guest is denied is told by each worker with the grant that allows it", async () => {
  await served(3, async ({ url, front, workers, lines, load }) => {
    front.registry.add(await load("hostile-http"));
    await workers.told();
    await many(async () => {
      const headers = { connection: "close" };
      const response = await fetch(`${url}/http/hostile-http/outgoing`, { headers });
      assert.equal(await response.text(), "Some(ErrorCode::HttpRequestDenied)");
    });
    await until(() => lines.length >= MANY);
    assert.equal(lines.length, MANY);
    for (const line of lines) {
      assert.match(line, /^atoll: warning: plugin "hostile-http" was denied http .*\n$/);
    }
  });
});

test("a worker that dies: its connections break, others go on, another one takes its place", async () => {
  await served(2, async ({ url, front, workers, lines, cacheDir, load, sandbox }) => {
    front.registry.add(await load("hostile"));
    front.registry.add(await load("text"));
    await workers.told();
    // Calls that run in both workers while one of them dies.
    const sleeps = many(() =>
      ask(url, "hostile_sleep", { ms: 1_500 }).then(() => "woke", () => "broke")
    );
    await until(() => sandbox.stats().callsInFlight >= 8);
    writeFileSync(join(cacheDir, "throw-now"), "");
    await until(() => workers.health().restarts === 1 && workers.health().serving === 2);
    const ends = await sleeps;
    assert.ok(ends.includes("woke") && ends.includes("broke"), ends.join());
    assert.match(
      lines.join(""),
      /worker 2 ended and its connections broke: a fault of its own; another/,
    );
    await many(async () => {
      const { result } = await analyse(url);
      assert.deepEqual(result?.structuredContent, { words: 2, chars: 9 });
    });
    // The dead one's calls were cancelled, and what it held is given back.
    await until(() => sandbox.stats().callsInFlight === 0);
  });
});

test("stopping lets running calls end in all workers, and says when some did not", async () => {
  await served(3, async ({ url, front, workers, load, sandbox }) => {
    front.registry.add(await load("hostile"));
    await workers.told();
    const sleeps = Array.from({ length: 12 }, () => ask(url, "hostile_sleep", { ms: 2_000 }));
    await until(() => sandbox.stats().callsInFlight >= 12);
    assert.equal(await workers.stop(10_000), true);
    for (const { result } of await Promise.all(sleeps)) assert.equal(result?.isError, false);
  });
  await served(3, async ({ url, front, workers, load, sandbox }) => {
    front.registry.add(await load("hostile"));
    await workers.told();
    const sleeps = Array.from(
      { length: 12 },
      () => ask(url, "hostile_sleep", { ms: 30_000 }).catch(() => null),
    );
    await until(() => sandbox.stats().callsInFlight >= 12);
    assert.equal(await workers.stop(100), false);
    await front.dispatcher.stop(0);
    await Promise.all(sleeps);
  });
});
