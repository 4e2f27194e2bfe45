/** The real server with two workers: under load, on its port, from one engine to the other, stopping. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { buildNative, cacheFolder } from "../../native/build/build.ts";
import { nativeFolder, prepareFolders, sourceKey } from "../../native/build/cache.ts";
import { takeLock } from "../../native/build/lock.ts";
import { Child, MAIN } from "../cli/child.ts";
import { fixture, fixtureFolder } from "../fixtures/build.ts";
import { test } from "../harness.ts";
import { callByNewConnection } from "../new_connection.ts";
import { currentRuntime, runScript } from "../runtimes.ts";
import { ROOT, startServer, withServer } from "./support.ts";

interface Answer {
  readonly result?: { readonly isError?: boolean; readonly structuredContent?: unknown };
  readonly error?: { readonly code: number; readonly data: { readonly reason: string } };
}

const call = (url: string, name: string, args: object) =>
  callByNewConnection<Answer>(url, name, args);

const analyse = (url: string) => call(url, "text_analyse", { input: "two words" });
const sleep = (url: string, ms: number) => call(url, "hostile_sleep", { ms });
const times = <T>(count: number, make: () => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, make));
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

interface Ready {
  readonly status: string;
  readonly workers: { readonly wanted: number; readonly serving: number };
}

async function ready(url: string): Promise<Ready> {
  const response = await fetch(`${url}/health/ready`, { headers: { connection: "close" } });
  return await response.json() as Ready;
}

const both = { plugins: [fixtureFolder("text"), fixtureFolder("hostile")] };
const two = ["--engine", "native", "--workers", "2"];

test("two workers answer under load, and each knows of both", async () => {
  await buildNative();
  await withServer({ ...both, args: two, tools: ["text_analyse"] }, async ({ url, stderr }) => {
    for (let round = 0; round < 10; round++) {
      for (const { result } of await times(40, () => analyse(url))) {
        assert.deepEqual(result?.structuredContent, { words: 2, chars: 9 });
      }
    }
    for (const { status, workers } of await times(40, () => ready(url))) {
      assert.deepEqual([status, workers.wanted, workers.serving], ["ready", 2, 2]);
    }
    assert.doesNotMatch(stderr(), /^atoll: (error|warning)/m);
  });
});

test("A25: SIGTERM lets calls in both workers end, refuses new ones, exit 0", async () => {
  await buildNative();
  const server = await startServer({ ...both, args: two, tools: ["hostile_sleep"] });
  await times(16, () => sleep(server.url, 1));
  const running = times(16, () => sleep(server.url, 3_000));
  // Long enough on a busy machine that none is in the queue of a listener, which would be reset.
  await pause(1_500);
  const stopped = server.stop("SIGTERM");
  while (!server.stderr().includes("stopping")) await pause(5);
  for (const late of await times(16, () => sleep(server.url, 1).catch(() => null))) {
    // Refused by the dispatcher, or the listener has closed already.
    assert.ok(late === null || late.error?.data.reason === "closed", JSON.stringify(late));
  }
  for (const { result } of await running) assert.equal(result?.isError, false);
  assert.equal(await stopped, 0);
});

test("A25: calls that run on after the grace time are answered in both workers", async () => {
  await buildNative();
  const env = { ATOLL_HTTP__GRACE_MS: "300" };
  const server = await startServer({ ...both, env, args: two, tools: ["hostile_sleep"] });
  await times(16, () => sleep(server.url, 1));
  const running = times(16, () => sleep(server.url, 20_000));
  await pause(1_500);
  const stopped = server.stop("SIGTERM");
  for (const { error } of await running) {
    assert.deepEqual([error?.code, error?.data.reason], [-32000, "closed"]);
  }
  assert.equal(await stopped, 0);
  assert.match(server.stderr(), /calls were still running after 300 ms and are cut/);
});

test("a second SIGTERM ends a server with workers at once", async () => {
  await buildNative();
  const server = await startServer({ ...both, args: two, tools: ["hostile_sleep"] });
  const running = times(8, () => sleep(server.url, 20_000).catch(() => null));
  await pause(300);
  const stopped = server.stop("SIGTERM");
  // Two signals within a second are one that was passed on.
  await pause(1_200);
  if (server.child.pid !== undefined) process.kill(server.child.pid, "SIGTERM");
  assert.equal(await stopped, 143);
  await running;
});

test("a port that has an Atoll with workers is refused to a second one", async () => {
  await buildNative();
  await withServer({ ...both, args: two, tools: ["text_analyse"] }, async ({ url }) => {
    const port = new URL(url).port;
    for (const workers of ["1", "2"]) {
      const second = [...runScript(currentRuntime, MAIN), "serve", "--port", port];
      const { status, stderr } = await new Child([...second, "--workers", workers], {
        cwd: ROOT,
        input: "",
      }).ended;
      assert.equal(status, 1, stderr);
      assert.match(
        stderr,
        new RegExp(`Cannot listen on 127\\.0\\.0\\.1:${port}: the port is in use`),
      );
    }
    for (const { result } of await times(40, () => analyse(url))) {
      assert.equal(result?.isError, false);
    }
  });
});

test("a port that was just left with connections open is free for the next server", async () => {
  await buildNative();
  const first = await startServer({ ...both, args: two, tools: ["text_analyse"] });
  const port = new URL(first.url).port;
  // Kept alive by its clients, so that it is the server that closes and its ports are TIME-WAIT.
  await Promise.all([...Array(8)].map(() => fetch(`${first.url}/health/live`)));
  assert.equal(await first.stop(), 0);
  const args = [...two, "--port", port];
  await withServer({ ...both, args, tools: ["text_analyse"] }, async ({ url }) => {
    assert.equal(new URL(url).port, port);
    assert.equal((await analyse(url)).result?.isError, false);
  });
});

test("--workers goes with HTTP only", async () => {
  const command = [...runScript(currentRuntime, MAIN), "serve", "--stdio", "--workers", "2"];
  const { status, stderr } = await new Child(command, { cwd: ROOT, input: "" }).ended;
  assert.equal(status, 2);
  assert.match(stderr, /Cannot use --workers with --stdio/);
});

test("the portable engine has one worker, and says so", async () => {
  const args = ["--engine", "portable", "--workers", "2"];
  const plugins = [await fixture("tiny")];
  await withServer({ plugins, args, tools: ["tiny_add"] }, async ({ url, stderr }) => {
    assert.match(stderr(), /one worker instead of 2: the portable engine is in one thread$/m);
    assert.deepEqual((await ready(url)).workers, { wanted: 2, serving: 1, restarts: 0 });
  });
});

test("workers start when the plugins have moved to the native engine", async () => {
  await buildNative();
  const cache = mkdtempSync(join(tmpdir(), "atoll-workers-"));
  prepareFolders(cache);
  // Somebody else is building: the server serves by the portable engine meanwhile.
  const lock = await takeLock(join(nativeFolder(cache), "lock"));
  try {
    const options = {
      plugins: [await fixture("text")],
      args: ["--workers", "2"],
      env: { ATOLL_CACHE_DIR: cache },
      tools: ["text_analyse"],
    };
    await withServer(options, async ({ url, stderr }) => {
      assert.match(stderr(), /one worker instead of 2: .* until the native one is there/);
      let over = false;
      const caller = async () => {
        while (!over) {
          const { result } = await analyse(url);
          assert.deepEqual(result?.structuredContent, { words: 2, chars: 9 });
        }
      };
      const callers = Promise.all([caller(), caller()]);
      const key = sourceKey();
      cpSync(join(nativeFolder(cacheFolder()), key), join(nativeFolder(cache), key), {
        recursive: true,
      });
      lock.release();
      while ((await ready(url)).workers.serving < 2) await pause(20);
      await pause(200);
      over = true;
      await callers;
      assert.match(stderr(), /text .*engine: native/);
    });
  } finally {
    lock.release();
    rmSync(cache, { recursive: true });
  }
});
