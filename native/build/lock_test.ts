import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "../../tests/harness.ts";
import { lockOwner, type LockTiming, takeLock } from "./lock.ts";

/** Short enough for tests. */
const QUICK: LockTiming = { poll: 5, touch: 20, stale: 100 };

/** A lock of another process, as its file says. */
function writeOwner(path: string, owner: Partial<ReturnType<typeof lockOwner>>): void {
  writeFileSync(path, JSON.stringify({ ...lockOwner(), nonce: "old", ...owner }));
}

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
    writeOwner(path, { pid, started: null });
    const lock = await takeLock(path);
    assert.equal(JSON.parse(readFileSync(path, "utf8")).pid, process.pid);
    lock.release();
  });
});

test("a lock whose process id is now another process's is taken over", async () => {
  await inFolder(async (path) => {
    writeOwner(path, { started: "1" });
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
    const waiting: [number, boolean][] = [];
    const second = takeLock(path, stop.signal, (...owner) => {
      waiting.push(owner);
      stop.abort(new Error("enough"));
    });
    await assert.rejects(second, { message: "enough" });
    assert.deepEqual(waiting, [[process.pid, true]]);
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

for (const place of ["another machine", null]) {
  test(`a lock is kept while its owner touches it: ${place}`, async () => {
    await inFolder(async (path) => {
      // Nobody here has this process id, which says nothing about an owner elsewhere.
      const { pid } = spawnSync("true");
      writeOwner(path, { pid, place });
      const stop = new AbortController();
      let looks = 0;
      const touched: LockTiming = {
        ...QUICK,
        // Asked for between two looks, so that each look finds the lock touched.
        get poll() {
          utimesSync(path, ++looks, looks);
          if (looks === 100) stop.abort(new Error("enough"));
          return QUICK.poll;
        },
      };
      await assert.rejects(takeLock(path, stop.signal, undefined, touched), { message: "enough" });
      assert.equal(JSON.parse(readFileSync(path, "utf8")).nonce, "old");
      // Without a sign of life it is taken over.
      (await takeLock(path, undefined, undefined, QUICK)).release();
    });
  });
}

test("whoever holds a lock touches it, and not another's", async () => {
  await inFolder(async (path) => {
    const lock = await takeLock(path, undefined, undefined, QUICK);
    utimesSync(path, 1, 1);
    while (statSync(path).mtimeMs === 1_000) {
      await new Promise((resolve) => setTimeout(resolve, QUICK.poll));
    }
    writeOwner(path, { place: null });
    utimesSync(path, 1, 1);
    await new Promise((resolve) => setTimeout(resolve, 5 * QUICK.touch));
    assert.equal(statSync(path).mtimeMs, 1_000);
    lock.release();
    assert.ok(existsSync(path));
  });
});

test("each owner that is waited for is told of", async () => {
  await inFolder(async (path) => {
    const first = await takeLock(path);
    const told: [number, boolean][] = [];
    const stop = new AbortController();
    const waiting = takeLock(path, stop.signal, (...owner) => {
      told.push(owner);
      if (told.length === 2) stop.abort(new Error("enough"));
      // The next owner is one in another container that has the same process id.
      writeOwner(path, { place: "another machine", nonce: "next" });
    }, QUICK);
    await assert.rejects(waiting, { message: "enough" });
    assert.deepEqual(told, [[process.pid, true], [process.pid, false]]);
    first.release();
  });
});
