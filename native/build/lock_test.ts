import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "../../tests/harness.ts";
import { takeLock } from "./lock.ts";

async function inFolder(body: (lock: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "atoll-lock-"));
  try {
    await body(join(folder, "lock"));
    // Nothing is left but the lock itself, if the body kept it.
    assert.deepEqual(readdirSync(folder).filter((name) => name !== "lock"), []);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("one holder at a time; the lock goes to the next when it is given back", async () => {
  await inFolder(async (path) => {
    let inside = 0;
    let most = 0;
    await Promise.all(Array.from({ length: 5 }, async () => {
      const lock = await takeLock(path);
      most = Math.max(most, ++inside);
      await new Promise((resolve) => setTimeout(resolve, 5));
      inside--;
      lock.release();
      lock.release();
    }));
    assert.equal(most, 1);
    assert.equal(existsSync(path), false);
  });
});

test("a lock whose process is gone is taken over", async () => {
  await inFolder(async (path) => {
    const { pid } = spawnSync("true");
    writeFileSync(path, JSON.stringify({ pid, started: null, nonce: "old" }));
    const lock = await takeLock(path);
    assert.equal(JSON.parse(readFileSync(path, "utf8")).pid, process.pid);
    lock.release();
  });
});

test("a lock whose process id is now another process's is taken over", async () => {
  await inFolder(async (path) => {
    writeFileSync(path, JSON.stringify({ pid: process.pid, started: "1", nonce: "old" }));
    const lock = await takeLock(path);
    lock.release();
  });
});

test("a lock that cannot be read is taken over", async () => {
  await inFolder(async (path) => {
    writeFileSync(path, "not a lock");
    const lock = await takeLock(path);
    lock.release();
  });
});

test("a lock of a living process is waited for, and waiting can be ended", async () => {
  await inFolder(async (path) => {
    const held = await takeLock(path);
    const stop = new AbortController();
    const waiting: number[] = [];
    const second = takeLock(path, stop.signal, (pid) => {
      waiting.push(pid);
      stop.abort(new Error("enough"));
    });
    await assert.rejects(second, { message: "enough" });
    assert.deepEqual(waiting, [process.pid]);
    assert.ok(existsSync(path));
    held.release();
  });
});

test("giving back a lock that another took over leaves the other's alone", async () => {
  await inFolder(async (path) => {
    const lock = await takeLock(path);
    writeFileSync(path, JSON.stringify({ pid: process.pid, started: null, nonce: "other" }));
    lock.release();
    assert.ok(existsSync(path));
    rmSync(path);
  });
});
