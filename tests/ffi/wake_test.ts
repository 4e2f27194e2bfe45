import assert from "node:assert/strict";
import { currentRuntime } from "../runtimes.ts";
import { test, until } from "../harness.ts";
import { connectByBun, connectByNet } from "../../ffi/completion.ts";
import { runChild, textOf, utf8, withRig } from "./support.ts";

const WAKES = currentRuntime === "bun"
  ? { "node:net": connectByNet, "Bun.connect": connectByBun }
  : { "node:net": connectByNet };

for (const [name, wake] of Object.entries(WAKES)) {
  test(`no wake is lost: one call after the other (${name})`, async () => {
    await withRig(async (rig) => {
      const pend = await rig.target("PEND");
      const quick = await rig.target("QUICK");
      // Between two calls nothing waits: each must wake a sleeping event loop.
      for (let i = 0; i < 5_000; i++) {
        const reply = await rig.client.callBytes(i % 2 === 0 ? pend : quick, utf8(`${i}`));
        assert.equal(textOf(reply), `${i}`);
      }
    }, { settings: { wake } });
  });

  test(`no wake is lost: more events than one reap takes (${name})`, async () => {
    await withRig(async (rig) => {
      const hold = await rig.target("HOLD");
      for (let round = 0; round < 5; round++) {
        const calls = Array.from({ length: 1_000 }, (_, i) => rig.client.callJson(hold, `[${i}]`));
        await rig.release(1_000);
        const replies = await Promise.all(calls);
        assert.deepEqual(replies.map(textOf), calls.map((_, i) => `[${i}]`));
      }
    }, { settings: { wake } });
  });

  test(`no wake is lost: replies that race with the reaping (${name})`, async () => {
    await withRig(async (rig) => {
      const pend = await rig.target("PEND");
      let done = 0;
      await Promise.all(Array.from({ length: 32 }, async (_, lane) => {
        for (let i = 0; i < 300; i++) {
          const text = `${lane}.${i}`;
          if (textOf(await rig.client.callBytes(pend, utf8(text))) === text) done++;
        }
      }));
      assert.equal(done, 32 * 300);
    }, { settings: { wake } });
  });
}

test("one wake stands for many replies", async () => {
  await withRig(async (rig) => {
    const hold = await rig.target("HOLD");
    const calls = Array.from({ length: 500 }, () => rig.client.callJson(hold, "{}"));
    const before = rig.client.stats();
    await rig.release(500);
    await Promise.all(calls);
    const after = rig.client.stats();
    assert.ok(after.events - before.events >= 500);
    assert.ok(after.wakes - before.wakes <= 100, `${after.wakes - before.wakes} wakes`);
  });
});

test("an open client with nothing pending lets the process end", async () => {
  const { code, stdout, stderr } = await runChild("./child.ts", ["idle"]);
  assert.deepEqual([code, stdout.trim()], [0, "open"], stderr);
});

test("a pending call keeps the process alive until its reply, and no longer", async () => {
  const { code, stdout, stderr } = await runChild("./child.ts", ["pending"]);
  assert.deepEqual([code, stdout.trim()], [0, "waiting\nreplied"], stderr);
});

test("B7: a process that exits with calls in flight ends with its own code", async () => {
  for (let round = 0; round < 3; round++) {
    const { code, signal, stderr } = await runChild("./child.ts", ["exit"]);
    assert.deepEqual([code, signal], [7, null], stderr);
  }
});

test("log lines come in order, with their stream, also from calls that ended inline", async () => {
  await withRig(async (rig) => {
    const logs = await rig.target("LOGS");
    const lines: string[] = [];
    const owner = rig.client.addLog((stream, text) => lines.push(`${stream} ${text}`));
    const others: string[] = [];
    rig.client.addLog((_, text) => others.push(text));
    const reply = rig.client.callBytes(logs, utf8("4"), { owner });
    assert.ok(!(reply instanceof Promise));
    await until(() => lines.length === 4);
    const written = ["stdout line 0", "stderr line 1", "access line 2", "stdout line 3"];
    assert.deepEqual(lines, written);
    assert.deepEqual(others, []);
    // Who follows one call has its lines once the call has ended, and no other's.
    const followed: string[] = [];
    const follower = (stream: string, text: string) => followed.push(`${stream} ${text}`);
    rig.client.callBytes(logs, utf8("4"), { follower });
    assert.deepEqual(followed, written);
    rig.client.callBytes(logs, utf8("4"));
    await rig.client.callBytes(logs, utf8("4"), { follower, detached: true });
    assert.deepEqual(followed, [...written, ...written]);
    // Lines that were written before the listener goes reach it.
    rig.client.callBytes(logs, utf8("2"), { owner });
    rig.client.removeLog(owner);
    assert.equal(lines.length, 6);
  });
});

test("a flood of log lines is dropped beyond its share, and the gap is told", async () => {
  await withRig(async (rig) => {
    const logs = await rig.target("LOGS");
    let seen = 0;
    let lost = 0;
    const owner = rig.client.addLog((_, text, before) => {
      seen++;
      lost += before;
      assert.match(text, /^line \d+$/);
    });
    rig.client.callBytes(logs, utf8("5000"), { owner });
    await until(() => seen > 0);
    assert.ok(seen < 5_000);
    assert.ok(rig.client.stats().logsLost >= 5_000 - seen);
    assert.ok(lost <= 5_000 - seen);
    // The slots of the lines come back.
    rig.client.callBytes(logs, utf8("1"), { owner });
    const before = seen;
    await until(() => seen > before);
  });
});

test("a log listener may call, and what it throws does not stop other events", async () => {
  const { code, stdout, stderr } = await runChild("./child.ts", ["listener"]);
  assert.equal(code, 0, stderr);
  assert.deepEqual(stdout.trim().split("\n").sort(), ["caught broken listener", "replied"]);
});
