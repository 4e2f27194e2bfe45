import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { STATUS } from "../../ffi/abi.gen.ts";
import { test, until } from "../harness.ts";
import { libraries, Rig, testEngine, textOf, withRig } from "./support.ts";

test("A30: a forged or stale ticket is refused and harms no call", async () => {
  await withRig(async (rig) => {
    const { symbols } = rig.library;
    const hold = await rig.target("HOLD");
    const waiting = rig.client.callJson(hold, "[1]");
    for (const forged of [0, 1, 0xffff_ffff, 0x8000_0000, 12_345_678]) {
      assert.equal(rig.client.cancel(forged), STATUS.NOT_FOUND, `ticket ${forged}`);
      assert.equal(rig.client.sendChunk(forged, new Uint8Array(1), true), STATUS.NOT_FOUND);
      rig.client.credit(forged, 1);
    }
    for (const client of [0, 0xffff_ffff, 999]) {
      assert.notEqual(symbols.atoll_submit(client, 1), STATUS.OK);
      assert.equal(symbols.atoll_slot_take(client, 100), 0);
      assert.equal(symbols.atoll_slot_bytes(client, 1), 0);
      assert.notEqual(symbols.atoll_cancel(client, 1), STATUS.OK);
      assert.equal(symbols.atoll_reap(client), 0);
    }
    await rig.release(1);
    assert.equal(textOf(await waiting), "[1]");
  });
});

test("A30: slots that were never taken are not accepted", async () => {
  await withRig(async (rig) => {
    const { symbols } = rig.library;
    const echo = await rig.target("ECHO");
    // The client's number is not public; a second client of the same library has one of its own.
    const other = await Rig.open();
    try {
      for (const slot of [0, 1, 2, 0xffff_ffff, 0x7fff_ffff]) {
        assert.notEqual(symbols.atoll_slot_give(0, slot), STATUS.OK);
      }
      assert.equal((await rig.client.callJson(echo, "[2]")).text, "[2]");
    } finally {
      await other.close();
    }
  });
});

test("A30: a call that is cancelled at any moment completes exactly once", async () => {
  await withRig(async (rig) => {
    const pend = await rig.target("PEND");
    const hold = await rig.target("HOLD");
    let cancelled = 0;
    let finished = 0;
    const calls = Array.from({ length: 2_000 }, async (_, i) => {
      const stop = new AbortController();
      const call = rig.client.callJson(i % 2 === 0 ? pend : hold, "{}", { signal: stop.signal });
      if (i % 3 === 0) stop.abort();
      else if (i % 3 === 1) queueMicrotask(() => stop.abort());
      else setTimeout(() => stop.abort(), i % 7);
      const reply = await call;
      if (reply.status === STATUS.CANCELLED) cancelled++;
      else if (reply.status === STATUS.OK) finished++;
      // Cancelling what has ended is harmless.
      stop.abort();
    });
    await Promise.all(calls);
    assert.equal(cancelled + finished, 2_000);
    assert.ok(cancelled >= 1_000, `${cancelled} cancelled`);
    await until(() => rig.client.stats().callsInFlight === 0);
  });
});

test("a signal that is aborted before the call refuses it; afterwards nothing listens", async () => {
  await withRig(async (rig) => {
    const pend = await rig.target("PEND");
    const stop = new AbortController();
    let listeners = 0;
    const { signal } = stop;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    };
    await Promise.all(
      Array.from({ length: 10 }, () => rig.client.callJson(pend, "{}", { signal })),
    );
    assert.equal(listeners, 0);
    stop.abort();
    assert.throws(() => rig.client.callJson(pend, "{}", { signal }), { code: "cancelled" });
  });
});

test("closing cancels what runs, refuses what comes and may be repeated", async () => {
  const rig = await Rig.open();
  const hold = await rig.target("HOLD");
  const running = Array.from({ length: 20 }, () => rig.client.callJson(hold, "{}"));
  const closing = rig.close();
  assert.throws(() => rig.client.callJson(hold, "{}"), { code: "closed" });
  const replies = await Promise.all(running);
  assert.ok(replies.every((reply) => reply.status === STATUS.CANCELLED));
  await closing;
  await rig.close();
  assert.throws(() => rig.client.callJson(hold, "{}"), { code: "closed" });
});

test("the library opens again after its last close", async () => {
  for (let round = 0; round < 5; round++) {
    await withRig(async (rig) => {
      const echo = await rig.target("ECHO");
      assert.equal((await rig.client.callJson(echo, "[3]")).text, "[3]");
    });
  }
});

/** A worker isolate with a rig of its own; resolves once it says what it was asked for. */
async function startWorker(job: string): Promise<{ worker: Worker; said: Promise<unknown> }> {
  const path = fileURLToPath(new URL("./isolate.ts", import.meta.url));
  const { core } = await libraries();
  const worker = new Worker(path, { workerData: { core, engine: await testEngine(), job } });
  const said = new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  return { worker, said };
}

test("isolates count as users of one library and do not see each other's calls", async () => {
  await withRig(async (rig) => {
    const before = rig.client.stats().clients;
    const workers = await Promise.all(["calls", "calls"].map(startWorker));
    const answers = await Promise.all(workers.map((each) => each.said));
    assert.deepEqual(answers, ["10000 right", "10000 right"]);
    // Each closed its own; ours goes on.
    await until(() => rig.client.stats().clients === before);
    const echo = await rig.target("ECHO");
    assert.equal((await rig.client.callJson(echo, "[4]")).text, "[4]");
    await Promise.all(workers.map((each) => each.worker.terminate()));
  });
});

test("A30: an isolate terminated with calls in flight gives everything back", async () => {
  await withRig(async (rig) => {
    const echo = await rig.target("ECHO");
    rig.client.callJson(echo, "{}");
    const before = rig.client.stats();
    for (let round = 0; round < 5; round++) {
      const { worker, said } = await startWorker("hold");
      assert.equal(await said, "50 in flight");
      assert.ok(rig.client.stats().callsInFlight >= before.callsInFlight + 50);
      await worker.terminate();
      await until(() => {
        const now = rig.client.stats();
        return now.clients === before.clients && now.callsInFlight === before.callsInFlight &&
          now.slotsUsed.every((used, i) => used <= before.slotsUsed[i]!);
      });
      assert.equal((await rig.client.callJson(echo, "[5]")).text, "[5]");
    }
  });
});

test("A30: an isolate terminated in the middle of inline calls gives everything back", async () => {
  await withRig(async (rig) => {
    const before = rig.client.stats();
    for (let round = 0; round < 5; round++) {
      const { worker, said } = await startWorker("busy");
      assert.equal(await said, "busy");
      await worker.terminate();
      await until(() => rig.client.stats().clients === before.clients);
    }
    const echo = await rig.target("ECHO");
    assert.equal((await rig.client.callJson(echo, "[6]")).text, "[6]");
  });
});
