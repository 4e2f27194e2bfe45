import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { GuestError, NativeError } from "../../ffi/mod.ts";
import { CHECKOUT } from "../../native/build/cache.ts";
import { fixture, fixtureBytes } from "../fixtures/build.ts";
import { test, until } from "../harness.ts";
import { currentRuntime, runScript } from "../runtimes.ts";
import { withEngine } from "./support.ts";

test("a component is loaded and called, by values, JSON text and bytes", async () => {
  await withEngine(async (engine) => {
    const text = await engine.load(await fixtureBytes("text"), { id: "text" });
    assert.match(text.digest, /^[0-9a-f]{64}$/);
    assert.match(text.wit, /analyse: func\(/);
    assert.deepEqual(text.functions.map((f) => f.name).sort(), ["analyse", "reverse"]);
    assert.deepEqual(await text.call("analyse", { input: "hello world" }), {
      words: 2,
      chars: 11,
    });
    const json = text.callJson("analyse", '{"input":"hello world"}');
    assert.equal(typeof json, "string", "a short call ends inline");
    assert.deepEqual(JSON.parse(String(json)), { words: 2, chars: 11 });
    const bytes = text.callBytes("reverse", new Uint8Array([1, 2, 3, 250]));
    assert.deepEqual(await bytes, new Uint8Array([250, 3, 2, 1]));
    assert.deepEqual(await text.callBytes("reverse", new Uint8Array(0)), new Uint8Array(0));
    const large = new Uint8Array(500_000).map((_, i) => i);
    assert.deepEqual(await text.callBytes("reverse", large), large.toReversed());
    await text.unload();
    await assert.rejects(text.call("analyse", { input: "x" }), { name: "NativeError" });
  });
});

test("compiled components are kept in the folder, within the size that is given", async () => {
  const cacheDir = mkdtempSync(join(tmpdir(), "atoll-cache-size-"));
  const within = async (size: { cacheBytes?: number }) => {
    let files = -1;
    await withEngine(async (engine) => {
      await (await engine.load(await fixtureBytes("tiny"))).unload();
      files = readdirSync(join(cacheDir, "compiled")).length;
    }, { cacheDir, ...size });
    return files;
  };
  assert.deepEqual([await within({}), await within({ cacheBytes: 0 })], [1, 0]);
  rmSync(cacheDir, { recursive: true, force: true });
});

test("calls and instances see the environment that is granted, and nothing else", async () => {
  await withEngine(async (engine) => {
    const bytes = await fixtureBytes("hostile");
    const granted = await engine.load(bytes, { grants: { env: { LANG: "C", TOKEN: "t" } } });
    const instance = await granted.instantiate();
    for (const guest of [granted, instance]) {
      assert.deepEqual(await guest.call("environment", {}), ["LANG=C", "TOKEN=t"]);
    }
    for (const options of [{}, { grants: {} }]) {
      const other = await engine.load(bytes, options);
      assert.deepEqual(await other.call("environment", {}), []);
    }
  });
});

test("bytes and big integers among the arguments cross as they are", async () => {
  await withEngine(async (engine) => {
    const echo = await engine.load(await fixtureBytes("echo"), { id: "echo" });
    const bytes = new Uint8Array(100_000).map((_, i) => i * 7);
    const base64 = (data: Uint8Array) => Buffer.from(data).toString("base64");
    assert.equal(await echo.call("of-bytes", { value: bytes }), base64(bytes));
    assert.equal(await echo.call("of-u64", { value: 2n ** 64n - 1n }), "18446744073709551615");
    const pairs = [["a", bytes.subarray(0, 3)], ["ü", new Uint8Array(0)]];
    assert.deepEqual(await echo.call("of-pairs", { value: pairs }), [["a", "AAcO"], ["ü", ""]]);
    assert.deepEqual(
      await echo.call("to-result-bytes", { fail: false, data: bytes }),
      base64(bytes),
    );
    const instance = await echo.instantiate();
    assert.equal(await instance.call("of-s64", { value: -(2n ** 63n) }), "-9223372036854775808");
    for (const [given, told] of [[NaN, "NaN"], [-Infinity, "-Infinity"], [0.5, 0.5]]) {
      assert.equal(await echo.call("of-f64", { value: given }), told);
    }
    await assert.rejects(echo.call("of-u64", { value: 2n ** 64n }), {
      code: "invalid_argument",
      data: { path: "arguments.value" },
      message: /^arguments\.value: Cannot send 18446744073709551616: an integer has 64 bits/,
    });
    await assert.rejects(echo.call("of-string", { value: bytes }), (error: unknown) => {
      assert.ok(error instanceof NativeError);
      assert.equal(error.data.path, "arguments.value");
      assert.match(error.message, /expected string, got bytes/);
      return true;
    });
  });
});

test("errors say whose they are: the guest's, the caller's, nobody's function", async () => {
  await withEngine(async (engine) => {
    const text = await engine.load(await fixtureBytes("text"));
    await assert.rejects(text.call("analyse", { input: "" }), (error: unknown) => {
      assert.ok(error instanceof GuestError);
      assert.match(String(error.payload), /empty/);
      return true;
    });
    await assert.rejects(text.call("analyse", { input: 5 }), (error: unknown) => {
      assert.ok(error instanceof NativeError);
      assert.equal(error.code, "invalid_argument");
      assert.equal(error.data.path, "arguments.input");
      assert.match(error.message, /^arguments\.input: .*string/);
      return true;
    });
    await assert.rejects(text.call("analise"), {
      code: "not_found",
      message: 'Cannot call "analise": the component exports analyse, reverse',
    });
    await assert.rejects(engine.load(new Uint8Array([0, 97, 115, 109])), { code: "component" });
    await assert.rejects(engine.load(new Uint8Array(0)), { code: "component" });
  });
});

test("the library knows what is loaded by its id, and forgets it when it is unloaded", async () => {
  await withEngine(async (engine) => {
    assert.equal(engine.stats().plugins, 0);
    const first = await engine.load(await fixtureBytes("text"), { id: "text" });
    const second = await engine.load(await fixtureBytes("text"), { id: "text" });
    assert.equal(engine.stats().plugins, 2);
    await first.unload();
    assert.equal(engine.stats().plugins, 1);
    // Never called before it was unloaded: its names are gone, too.
    await assert.rejects(first.call("analyse", { input: "a" }), {
      code: "not_found",
      message: 'Cannot call "analyse": the component has been unloaded',
    });
    assert.deepEqual(await second.call("analyse", { input: "a" }), { words: 1, chars: 1 });
    await second.unload();
    await until(() => engine.stats().retired === 0);
    assert.equal(engine.stats().plugins, 0);
  });
});

test("functions of the same name are called by their interface", async () => {
  await withEngine(async (engine) => {
    const faces = await engine.load(await fixtureBytes("two-faces"));
    const twice = faces.functions.find((f) =>
      faces.functions.filter((other) => other.name === f.name).length > 1
    )!;
    await assert.rejects(faces.call(twice.name), /several interfaces export it/);
    await faces.call(`${twice.interface}#${twice.name}`).catch((error: unknown) => {
      // It may want arguments; it was found.
      assert.equal((error as NativeError).code, "invalid_argument");
    });
  });
});

test("a guest that spins ends at its limit, by a budget, and by a signal", async () => {
  await withEngine(async (engine) => {
    const hostile = await engine.load(await fixtureBytes("hostile"), { limits: { cpuMs: 50 } });
    const text = await engine.load(await fixtureBytes("text"));
    const spinning = hostile.call("spin");
    // The loop goes on turning and others are served meanwhile.
    assert.deepEqual(await text.call("analyse", { input: "a b" }), { words: 2, chars: 3 });
    await assert.rejects(spinning, { code: "limit" });

    const patient = await engine.load(await fixtureBytes("hostile"), {
      limits: { cpuMs: 600_000, wallMs: 600_000 },
    });
    await assert.rejects(patient.call("spin", {}, { budgetMs: 30 }), { code: "deadline" });
    await assert.rejects(patient.call("spin", {}, { signal: AbortSignal.timeout(30) }), {
      code: "cancelled",
    });
    // The engine lets go of a call just after its reply.
    await until(() => engine.stats().callsInFlight === 0);
  });
});

test("log lines of a guest reach the component's own listener", async () => {
  await withEngine(async (engine) => {
    const lines: string[] = [];
    const hostile = await engine.load(await fixtureBytes("hostile"), {
      onLog: (stream, text) => lines.push(`${stream}: ${text}`),
    });
    await hostile.call("log", { line: "hello" });
    await until(() => lines.length >= 2);
    assert.deepEqual(lines.sort(), ["stderr: hello", "stdout: hello"]);
  });
});

test("200,000 calls of real components: every answer its own, nothing kept", async () => {
  await withEngine(async (engine) => {
    const text = await engine.load(await fixtureBytes("text"));
    let wrong = 0;
    let late = 0;
    for (let i = 0; i < 200_000; i++) {
      const input = "x".repeat(i % 50) + i;
      let json = text.callJson("analyse", `{"input":"${input}"}`);
      if (json instanceof Promise) {
        late++;
        json = await json;
      }
      if (json !== `{"words":1,"chars":${input.length}}`) wrong++;
    }
    assert.equal(wrong, 0);
    assert.ok(late < 20_000, `${late} calls did not end inline`);
    await until(() => engine.stats().callsInFlight === 0);
    const { slotsUsed, slotsTaken, slotsGiven, slotsPeak } = engine.stats();
    assert.ok(slotsUsed.every((used) => used < 300), String(slotsUsed));
    assert.deepEqual(slotsTaken.map((taken, i) => taken - slotsGiven[i]!), slotsUsed);
    assert.ok(slotsPeak.every((peak, i) => peak >= slotsUsed[i]!), String(slotsPeak));
  });
});

test("two engines of one process share the library; one closes, the other goes on", async () => {
  await withEngine(async (engine, reopen) => {
    const other = await reopen();
    const mine = await engine.load(await fixtureBytes("text"));
    const theirs = await other.load(await fixtureBytes("text"));
    await other.close();
    await assert.rejects(theirs.call("analyse", { input: "x" }), { code: "closed" });
    assert.deepEqual(await mine.call("analyse", { input: "x y z" }), { words: 3, chars: 5 });
  });
});

test("the example runs", async () => {
  const example = join(CHECKOUT, "ffi/example.ts");
  const [program, ...args] = runScript(currentRuntime, example);
  const run = (...rest: string[]): string =>
    execFileSync(program!, [...args, ...rest], { encoding: "utf8", env: process.env });
  const text = await fixture("text");
  assert.deepEqual(run(text).trim().split("\n").sort(), ["analyse", "reverse"]);
  assert.match(run(text, "analyse", '{"input":"a b"}'), /words: 2.*chars: 3/s);
  assert.match(run(text, "analyse", '{"input":""}'), /the guest says:/);
});
