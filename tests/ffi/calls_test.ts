import assert from "node:assert/strict";
import { STATUS } from "../../ffi/abi.gen.ts";
import { test } from "../harness.ts";
import { textOf, utf8, withRig } from "./support.ts";

/** Some faults appear only after the compilers of the runtimes have warmed up. */
const MANY = 200_000;

for (const mapped of [true, false]) {
  const way = mapped ? "mapped" : "copied";

  test(`a call that ends inline needs no promise (${way})`, async () => {
    await withRig(async (rig) => {
      const echo = await rig.target("ECHO");
      const reply = rig.client.callJson(echo, '{"a":1}');
      assert.ok(!(reply instanceof Promise));
      assert.equal(reply.status, STATUS.OK);
      assert.equal(reply.text, '{"a":1}');
      assert.equal(reply.bytes, null);
      assert.equal(rig.client.mapped, mapped);
    }, { mapped });
  });

  test(`D10: payloads of every size class come back whole, the empty one too (${way})`, async () => {
    await withRig(async (rig) => {
      const echo = await rig.target("ECHO");
      const sizes = [0, 1, 31, 32, 33, 223, 224, 225, 991, 992, 993, 4063, 4064, 4065, 16_352];
      for (const size of [...sizes, 16_353, 65_504, 65_505, 200_000, 5_000_000]) {
        const bytes = new Uint8Array(size).map((_, i) => (i * 31 + size) & 0xff);
        const raw = await rig.client.callBytes(echo, bytes);
        assert.equal(raw.status, STATUS.OK, `${size}`);
        assert.deepEqual(raw.bytes, bytes, `${size}`);
        const text = JSON.stringify("é".repeat(size >> 1));
        const json = await rig.client.callJson(echo, text);
        // Beyond 64 KiB the engine's workers reply, without an encoding.
        assert.equal(textOf(json), text, `${size}`);
      }
    }, { mapped });
  });

  test(`text of one to four bytes a character crosses; half a pair is replaced (${way})`, async () => {
    await withRig(async (rig) => {
      const echo = await rig.target("ECHO");
      for (const text of ["aé€😀", "€".repeat(1_354), "😀".repeat(9_999), "€".repeat(30_000)]) {
        assert.equal(textOf(await rig.client.callJson(echo, text)), text);
      }
      assert.equal((await rig.client.callJson(echo, "a\ud800b")).text, "a\ufffdb");
    }, { mapped });
  });

  test(`a reply may be larger than the slot of its request (${way})`, async () => {
    await withRig(async (rig) => {
      const grow = await rig.target("GROW");
      for (const size of [0, 10, 5_000, 100_000, 3_000_000]) {
        const reply = await rig.client.callJson(grow, String(size));
        assert.equal(reply.text, "g".repeat(size));
      }
      // The slots have come back: only those kept for the next call are still taken.
      assert.equal(rig.client.stats().extentsUsed, 0);
    }, { mapped });
  });

  test(`a call that waits is a promise; many wait at once (${way})`, async () => {
    await withRig(async (rig) => {
      const pend = await rig.target("PEND");
      const calls = Array.from({ length: 500 }, (_, i) => rig.client.callJson(pend, `[${i}]`));
      assert.ok(calls.every((call) => call instanceof Promise));
      const replies = await Promise.all(calls);
      // The engine replies without an encoding, so the payload is raw.
      assert.deepEqual(replies.map(textOf), calls.map((_, i) => `[${i}]`));
    }, { mapped });
  });
}

test("B1, B2, B8, B10, D9, D11: 200,000 inline calls, each answer its own", async () => {
  await withRig(async (rig) => {
    const echo = await rig.target("ECHO");
    let wrong = 0;
    for (let i = 0; i < MANY; i++) {
      const text = `{"i":${i}}`;
      const reply = rig.client.callJson(echo, text);
      if (reply instanceof Promise || reply.text !== text || reply.status !== 0) wrong++;
    }
    assert.equal(wrong, 0);
    const bytes = new Uint8Array(16);
    for (let i = 0; i < MANY; i++) {
      bytes[0] = i;
      bytes[15] = i >> 8;
      const reply = rig.client.callBytes(echo, bytes);
      if (reply instanceof Promise || reply.bytes?.[0] !== (i & 0xff)) wrong++;
      else if (reply.bytes[15] !== ((i >> 8) & 0xff) || reply.bytes.length !== 16) wrong++;
    }
    assert.equal(wrong, 0);
    const { slotsUsed } = rig.client.stats();
    assert.ok(slotsUsed.every((used) => used < 100), String(slotsUsed));
  });
});

test("B1, B2, B11: out-parameters are right after 200,000 reads", async () => {
  await withRig(async (rig) => {
    const echo = await rig.target("ECHO");
    const before = rig.client.stats().callsInline;
    for (let i = 1; i <= MANY; i++) {
      if (i % 1_000 === 0) await rig.client.callJson(echo, "{}");
      const { clients, callsInline } = rig.client.stats();
      assert.ok(clients >= 1 && clients <= 256, `${clients} clients`);
      assert.equal(callsInline - before, Math.floor(i / 1_000));
    }
  });
});

test("a view into the middle of a buffer is passed from its own beginning", async () => {
  await withRig(async (rig) => {
    const buffer = new Uint8Array(100).map((_, i) => i);
    const blob = rig.client.putBlob(buffer.subarray(10, 14));
    assert.equal(await rig.command(`blob ${blob}`), 10 + 11 + 12 + 13);
    const empty = rig.client.putBlob(buffer.subarray(50, 50));
    assert.equal(await rig.command(`blob ${empty}`), 0);
    const shared = new Uint8Array(new SharedArrayBuffer(8)).fill(2);
    assert.equal(await rig.command(`blob ${rig.client.putBlob(shared)}`), 16);
  });
});

test("plugins are found by id, their exports by name, and the latest load is the one found", async () => {
  await withRig(async (rig) => {
    const { client } = rig;
    assert.equal(client.findPlugin("demo"), null);
    assert.equal(client.findPlugin(""), null);
    const first = await rig.plugin(await rig.target("ECHO"));
    const grow = await rig.target("GROW");
    const second = await rig.plugin(grow);
    const found = client.findPlugin("demo");
    assert.deepEqual(found, {
      plugin: second,
      generation: found?.generation,
      exports: 1,
      concurrencyMax: 5000,
      queueMax: 5000,
      budgetDefaultUs: 60_000_000,
    });
    for (const name of ["demo:api/a#echo", "echo"]) {
      assert.equal(client.findTarget(second, name), grow);
    }
    assert.equal(client.findTarget(second, "écho"), null);
    assert.equal(client.findTarget(second, ""), null);
    assert.equal(client.stats().plugins, 2);
    await rig.command(`unplugin ${second}`);
    assert.equal(client.findPlugin("demo")?.plugin, first);
    assert.equal(client.findTarget(second, "echo"), null);
    const target = client.findTarget(first, "echo");
    assert.equal(textOf(await client.callBytes(target ?? 0, utf8("hello"))), "hello");
    await rig.command(`unplugin ${first}`);
    assert.equal(client.findPlugin("demo"), null);
  });
});

test("an engine that forgets or refuses to reply ends the call all the same", async () => {
  await withRig(async (rig) => {
    const forgotten = await rig.client.callJson(await rig.target("FORGET"), "{}");
    assert.notEqual(forgotten.status, STATUS.OK);
    const refused = await rig.client.callJson(await rig.target("REFUSE"), "{}");
    assert.equal(refused.status, STATUS.TRAP);
    const twice = await rig.client.callJson(await rig.target("TWICE"), "{}");
    assert.equal(twice.status, STATUS.OK);
    // A reply that comes before the call's start has returned.
    const quick = await rig.client.callBytes(await rig.target("QUICK"), utf8("now"));
    assert.equal(textOf(quick), "now");
  });
});

test("a message beyond the largest is refused before it is sent", async () => {
  await withRig(async (rig) => {
    const echo = await rig.target("ECHO");
    const most = rig.client.payloadBytesMax;
    assert.throws(() => rig.client.callBytes(echo, new Uint8Array(most + 1)), {
      code: "invalid_argument",
      data: { bytes: most + 1, bytesMax: most },
    });
    const most3 = await rig.client.callBytes(echo, new Uint8Array(most));
    assert.equal(most3.bytes?.length, most);
  });
});

test("a target that is not there, or not any more, is not found", async () => {
  await withRig(async (rig) => {
    const reply = await rig.client.callJson(0xffff_fff0, "{}");
    assert.equal(reply.status, STATUS.NOT_FOUND);
    const echo = await rig.target("ECHO");
    await rig.command(`untarget ${echo}`);
    assert.equal((await rig.client.callJson(echo, "{}")).status, STATUS.NOT_FOUND);
    // The slots of refused calls come back.
    for (let i = 0; i < 10_000; i++) rig.client.callJson(echo, "{}");
    assert.ok(rig.client.stats().slotsUsed.every((used) => used < 100));
  });
});

test("a call over its bulkhead is refused, one over its budget ends with deadline", async () => {
  await withRig(async (rig) => {
    const group = await rig.command("group 1 0 60000000");
    const hold = await rig.command(`target 3 ${group}`);
    const first = rig.client.callJson(hold, "{}");
    const second = await rig.client.callJson(hold, "{}");
    assert.equal(second.status, STATUS.OVERLOADED);
    await rig.release(1);
    assert.equal((await first).status, STATUS.OK);
    const queued = await rig.command("group 1 1 60000000");
    const waiting = await rig.command(`target 3 ${queued}`);
    const running = rig.client.callJson(waiting, "{}");
    const late = await rig.client.callJson(waiting, "{}", { budgetUs: 2_000 });
    assert.equal(late.status, STATUS.DEADLINE);
    await rig.release(1);
    assert.equal((await running).status, STATUS.OK);
  });
});
