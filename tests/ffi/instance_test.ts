import assert from "node:assert/strict";
import type { Engine, Instance, NativeError } from "../../ffi/mod.ts";
import { fixtureBytes } from "../fixtures/build.ts";
import { test, until } from "../harness.ts";
import { withEngine } from "./support.ts";

/** Targets in the router when nothing but what is loaded is there. */
async function settled(engine: Engine, targets: number): Promise<void> {
  await until(() => engine.stats().callsInFlight === 0);
  assert.equal(engine.stats().targets, targets);
}

/** The instance is gone, and a call of it says how. */
async function ended(call: Promise<unknown>, how: RegExp): Promise<void> {
  await assert.rejects(call, (error: unknown) => {
    const { code, message } = error as NativeError;
    assert.equal(code, "not_found");
    assert.match(message, how);
    assert.match(message, /^the instance was ended by .*; instantiate again$/);
    return true;
  });
}

test("an instance remembers; fresh calls and other instances do not see it", async () => {
  await withEngine(async (engine) => {
    const hostile = await engine.load(await fixtureBytes("hostile"));
    const { targets } = engine.stats();
    const instance = await hostile.instantiate();
    const other = await hostile.instantiate();
    assert.deepEqual(instance.functions, hostile.functions);
    for (let i = 0; i < 5; i++) {
      assert.equal(await instance.call("calls-before"), i);
      assert.equal(await hostile.call("calls-before"), 0);
    }
    const json = instance.callJson("calls-before", "{}");
    assert.equal(json, "5", "a short call ends inline");
    assert.equal(await instance.call("calls-before", {}, { detached: true }), 6);
    assert.equal(await instance.call("sleep", { ms: 5 }).then(() => "woke"), "woke");
    assert.equal(await instance.call("calls-before"), 7);
    assert.equal(await other.call("calls-before"), 0);
    await assert.rejects(instance.call("nothing"), /Cannot call "nothing": the component exports/);
    await Promise.all([instance.drop(), other.drop()]);
    await instance.drop();
    await assert.rejects(instance.call("calls-before"), { code: "not_found" });
    await settled(engine, targets);
  });
});

test("an instance takes bytes, arguments that do not fit, and the error side", async () => {
  await withEngine(async (engine) => {
    const text = await engine.load(await fixtureBytes("text"));
    await using instance = await text.instantiate();
    for (let i = 0; i < 100; i++) {
      const bytes = instance.callBytes("reverse", new Uint8Array([1, 2, i]));
      assert.deepEqual(await bytes, new Uint8Array([i, 2, 1]));
    }
    const large = new Uint8Array(500_000).map((_, i) => i);
    assert.deepEqual(await instance.callBytes("reverse", large), large.toReversed());
    await assert.rejects(instance.call("analyse", { input: "" }), { name: "GuestError" });
    await assert.rejects(instance.call("analyse", { input: 5 }), { code: "invalid_argument" });
    assert.deepEqual(await instance.call("analyse", { input: "a b" }), { words: 2, chars: 3 });
  });
});

test("calls of one instance run one after the other, as many as the queue takes", async () => {
  await withEngine(async (engine) => {
    const hostile = await engine.load(await fixtureBytes("hostile"), { limits: { queue: 8 } });
    const instance = await hostile.instantiate();
    const options = { detached: true };
    const first = instance.call("sleep", { ms: 50 });
    const results: number[] = [];
    const waiting = Array.from(
      { length: 8 },
      () => instance.call("calls-before", {}, options).then((n) => results.push(n as number)),
    );
    await assert.rejects(instance.call("calls-before"), { code: "overloaded" });
    await Promise.all([first, ...waiting]);
    assert.deepEqual(results, [0, 1, 2, 3, 4, 5, 6, 7]);
  });
});

test("a trap, a limit, a signal and a budget end the instance, with the reason", async () => {
  await withEngine(async (engine) => {
    const hostile = await engine.load(await fixtureBytes("hostile"), {
      limits: { cpuMs: 50, memoryBytes: 16 * 1024 * 1024 },
    });
    const { targets } = engine.stats();
    const ways: [(i: Instance) => Promise<unknown>, string, RegExp][] = [
      [(i) => i.call("trap"), "trap", /the guest trapped/],
      [(i) => i.call("spin"), "limit", /limits\.cpuMs/],
      [(i) => i.call("grow"), "limit", /limits\.memoryBytes/],
      [(i) => i.call("park", {}, { signal: AbortSignal.timeout(30) }), "cancelled", /cancelled/],
      [(i) => i.call("park", {}, { budgetMs: 30 }), "deadline", /deadline/],
    ];
    for (const [end, code, how] of ways) {
      const instance = await hostile.instantiate();
      assert.equal(await instance.call("calls-before"), 0);
      await assert.rejects(end(instance), { code });
      await ended(instance.call("calls-before"), how);
      await ended(instance.call("calls-before"), how);
      await instance.drop();
      assert.equal(await hostile.call("calls-before"), 0);
    }
    await settled(engine, targets);
  });
});

test("memory is counted over the life of an instance", async () => {
  await withEngine(async (engine) => {
    const limits = { memoryBytes: 16 * 1024 * 1024 };
    const hostile = await engine.load(await fixtureBytes("growing-memories"), { limits });
    const instance = await hostile.instantiate();
    // Four memories, each a megabyte more a call: 16 MiB are used up by the fourth.
    let calls = 0;
    await assert.rejects(async () => {
      for (; calls < 100; calls++) await instance.call("grow", { pages: 16 });
    }, { code: "limit" });
    assert.ok(calls > 0 && calls < 5, `${calls} calls`);
    await ended(instance.call("grow", { pages: 1 }), /limits\.memoryBytes/);
    await hostile.call("grow", { pages: 16 });
  });
});

test("dropping waits for the call that runs; unloading drops the instances", async () => {
  await withEngine(async (engine) => {
    const before = engine.stats().targets;
    const hostile = await engine.load(await fixtureBytes("hostile"));
    const { targets } = engine.stats();
    const instance = await hostile.instantiate();
    const controller = new AbortController();
    const parked = instance.call("park", {}, { signal: controller.signal });
    let dropped = false;
    const dropping = instance.drop().then(() => dropped = true);
    await assert.rejects(instance.call("calls-before"), { code: "not_found" });
    assert.equal(await hostile.call("sleep", { ms: 20 }).then(() => dropped), false);
    controller.abort();
    await assert.rejects(parked, { code: "cancelled" });
    await dropping;
    await settled(engine, targets);

    const kept = [await hostile.instantiate(), await hostile.instantiate()];
    assert.equal(await kept[0]!.call("calls-before"), 0);
    await hostile.unload();
    for (const each of kept) {
      await assert.rejects(each.call("calls-before"), { code: "not_found" });
      await each.drop();
    }
    await assert.rejects(hostile.instantiate(), { code: "not_found" });
    await settled(engine, before);
  });
});

test("start functions run under the component's limits, and log to its listener", async () => {
  await withEngine(async (engine) => {
    const limits = { cpuMs: 50 };
    const spin = await engine.load(await fixtureBytes("start-spin"), { limits });
    await assert.rejects(spin.instantiate(), { code: "limit" });
    const trap = await engine.load(await fixtureBytes("start-trap"));
    await assert.rejects(trap.instantiate(), { code: "trap" });

    const lines: string[] = [];
    const hostile = await engine.load(await fixtureBytes("hostile"), {
      onLog: (stream, text) => lines.push(`${stream}: ${text}`),
    });
    await using instance = await hostile.instantiate();
    for (const line of ["one", "two"]) await instance.call("log", { line });
    await until(() => lines.length >= 4);
    assert.deepEqual(lines.sort(), ["stderr: one", "stderr: two", "stdout: one", "stdout: two"]);
  });
});

test("instances beyond the engine's pool are refused, and their places come back", async () => {
  await withEngine(async (engine) => {
    const text = await engine.load(await fixtureBytes("text"));
    const { targets } = engine.stats();
    for (let round = 0; round < 20; round++) {
      const kept = await Promise.all(Array.from({ length: 4 }, () => text.instantiate()));
      await assert.rejects(text.instantiate(), { code: "overloaded" });
      await Promise.all(kept.map((each) => each.drop()));
    }
    assert.deepEqual(await text.call("analyse", { input: "a" }), { words: 1, chars: 1 });
    await settled(engine, targets);
  }, { instances: 4 });
});
