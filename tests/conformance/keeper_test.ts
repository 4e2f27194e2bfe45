/**
 * What `wasi:keyvalue`, `wasi:config` and `wasi:logging` do: one file for both engines. Only the
 * native engine keeps values; the other says so at the load.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { AccessAccount } from "../../src/core/access.ts";
import type { KeyvalueGrant } from "../../src/core/grants.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { GuestLog, LoadedComponent, Sandbox } from "../../src/sandbox/sandbox.ts";
import { fixtureBytes } from "../fixtures/build.ts";
import { test, until } from "../harness.ts";
import { currentRuntime, runScript } from "../runtimes.ts";
import { CHILD_COUNT } from "./keeper_child.ts";
import { Bench, call, type Engine, ENGINES, failure, ok, PATIENT } from "./support.ts";

const MIB = 1024 * 1024;

function namespaces(...names: string[]): { keyvalue: KeyvalueGrant[] } {
  return { keyvalue: names.map((name) => ({ name, bytes: 64 * MIB, shared: false })) };
}

/** The error side of a function's result. */
async function refused(
  component: LoadedComponent,
  name: string,
  args: unknown,
): Promise<unknown> {
  const { kind, json } = await call(component, name, args);
  assert.equal(kind, "error", json);
  return JSON.parse(json);
}

for (const engine of ENGINES) {
  const bench = new Bench(engine);
  const check = (name: string, body: () => Promise<void>) => test(`${engine.kind}: ${name}`, body);

  check("a plugin reads its own configuration and nothing else", async () => {
    const config = { greeting: "hellö", retries: "3", list: '["a",{"b":1}]' };
    const component = await bench.load("keeper", PATIENT, { config });
    assert.equal(await ok(component, "setting", { key: "greeting" }), "hellö");
    assert.equal(await ok(component, "setting", { key: "list" }), config.list);
    for (const key of ["", "Greeting", "toString", "__proto__"]) {
      assert.equal(await ok(component, "setting", { key }), null);
    }
    const settings = await ok(component, "settings") as [string, string][];
    assert.deepEqual(Object.fromEntries(settings), config);
    await component.unload();
    const bare = await bench.load("keeper", PATIENT);
    assert.deepEqual(await ok(bare, "settings"), []);
    assert.equal(await ok(bare, "setting", { key: "greeting" }), null);
    await bare.unload();
  });

  check("what is logged at a level keeps its level and its context", async () => {
    const lines: GuestLog[] = [];
    const onLog = (line: GuestLog) => void lines.push(line);
    const component = await bench.load("keeper", PATIENT, { onLog });
    const levels = ["trace", "debug", "info", "warn", "error", "critical"] as const;
    for (const level of levels) {
      await ok(component, "log", { level, context: "über", message: `a ${level}\nof two lines` });
    }
    await ok(component, "log", { level: "info", context: "", message: "" });
    await ok(component, "log", { level: "info", context: "a\0b", message: "c\0d" });
    await until(() => lines.length === 8);
    assert.deepEqual(lines.slice(0, 6).map(({ level }) => level), levels);
    for (const { stream, level, context, text } of lines.slice(0, 6)) {
      assert.deepEqual([stream, context, text], ["logging", "über", `a ${level}\nof two lines`]);
    }
    assert.deepEqual([lines[6]?.context, lines[6]?.text], [undefined, ""]);
    assert.deepEqual([lines[7]?.context, lines[7]?.text], ["a\u{fffd}b", "c\0d"]);
    // A long message is several lines, each of which is told whose it is.
    lines.length = 0;
    await ok(component, "log-size", { bytes: 20_000 });
    await until(() => lines.length === 3);
    assert.deepEqual(lines.map(({ text }) => text.length), [8192, 8192, 20_000 - 2 * 8192]);
    assert.ok(lines.every(({ context, level }) => context === "size" && level === "info"));
    // And it counts as what is written to standard output does.
    const { data } = await failure("limit", () => call(component, "log-size", { bytes: 100_000 }));
    assert.deepEqual([data.limit, data.key], ["log", "limits.logBytes"]);
    await component.unload();
  });

  check("a namespace that is not granted is denied, and one that cannot be is none", async () => {
    const component = await bench.load("keeper", PATIENT);
    for (const bucket of ["", "default", "notes"]) {
      assert.equal(await refused(component, "get", { bucket, key: "k" }), "access-denied");
    }
    await component.unload();
  });

  if (engine.kind === "portable") {
    check("a plugin that is granted a namespace needs the native engine", async () => {
      const load = () => bench.load("keeper", PATIENT, { grants: namespaces("notes") });
      const { message } = await failure("unsupported", load);
      assert.match(message, /keyvalue\.notes; it needs the native engine/);
    });
  } else keeping(bench, check);

  check("the sandbox closes", () => bench.close());
  // One engine serves a process: with no other one open, each of these has a storage of its own.
  if (engine.kind === "native") lasting(engine, check);
}

/** What only an engine that keeps values can show. */
function keeping(
  bench: Bench,
  check: (name: string, body: () => Promise<void>) => void,
): void {
  const granted = (...names: string[]) =>
    bench.load("keeper", PATIENT, { grants: namespaces(...names) });

  check("values are there for the next call, until they are removed", async () => {
    const component = await granted("notes");
    const at = { bucket: "notes", key: "ä key" };
    assert.equal(await ok(component, "get", at), null);
    assert.equal(await ok(component, "exists", at), false);
    await ok(component, "set", { ...at, value: "first" });
    await ok(component, "set", { ...at, value: "sécond" });
    assert.equal(await ok(component, "get", at), "sécond");
    assert.equal(await ok(component, "exists", at), true);
    await ok(component, "remove", at);
    await ok(component, "remove", at);
    assert.equal(await ok(component, "get", at), null);
    await component.unload();
  });

  check("a bucket without a name is the default one", async () => {
    const component = await granted("default");
    await ok(component, "set", { bucket: "", key: "k", value: "v" });
    assert.equal(await ok(component, "get", { bucket: "default", key: "k" }), "v");
    assert.equal(await refused(component, "get", { bucket: "notes", key: "k" }), "access-denied");
    for (const bucket of ["a b", "../notes", "n".repeat(65)]) {
      assert.equal(await refused(component, "get", { bucket, key: "k" }), "no-such-store");
    }
    await component.unload();
  });

  check("batches, pages, numbers and swaps, by both versions of the package", async () => {
    const component = await granted("batch");
    const bucket = "batch";
    const entries = Array.from({ length: 200 }, (_, i) => [`key ${i}`, `value ${i}`]);
    await ok(component, "set-many", { bucket, entries });
    const more = Array.from({ length: 100 }, (_, i) => [`more ${i}`, ""]);
    await ok(component, "set-many", { bucket, entries: more });
    const keys = [...entries, ...more].map(([key]) => key);
    const pages = [keys.slice(0, 256), keys.slice(256)];
    assert.deepEqual(await ok(component, "pages", { bucket }), pages);
    assert.deepEqual(await ok(component, "first-pages", { bucket }), pages);
    const some = { bucket, keys: ["key 7", "none", "more 3"] };
    assert.deepEqual(await ok(component, "get-many", some), ["value 7", null, ""]);
    await ok(component, "remove-many", some);
    assert.deepEqual(await ok(component, "get-many", some), [null, null, null]);

    const number = { bucket, key: "number" };
    assert.equal(await ok(component, "add", { ...number, delta: 40 }), 40);
    assert.equal(await ok(component, "first-add", { ...number, delta: 5 }), 45);
    assert.equal(await ok(component, "add", { ...number, delta: -50 }), -5);
    assert.equal(await ok(component, "get", number), "-5");
    const sign = await refused(component, "first-add", { ...number, delta: 1 });
    assert.match(String(sign), /no sign/);
    assert.equal(await ok(component, "get", number), "-5");
    const text = await refused(component, "add", { bucket, key: "key 8", delta: 1 });
    assert.match(String(text), /no number/);

    const key = { bucket, key: "swapped" };
    const swap = (value: string, between: string | null) =>
      ok(component, "swap", { ...key, value, between });
    assert.deepEqual(await swap("one", null), [false, null]);
    assert.deepEqual(await swap("two", null), [false, "one"]);
    assert.deepEqual(await swap("three", "came between"), [true, "came between"]);
    assert.equal(await ok(component, "get", key), "three");
    await component.unload();
  });

  check("calls at the same time add up", async () => {
    const component = await granted("count");
    const runs = [1, 2, 3, 4].map(() =>
      ok(component, "count", { bucket: "count", key: "n", times: 20 })
    );
    assert.equal(Math.max(...await Promise.all(runs) as number[]), 80);
    await component.unload();
  });

  check("a denial names the grant; what is allowed is told to who observes", async () => {
    const accounts: AccessAccount[] = [];
    const component = await bench.load("keeper", PATIENT, {
      grants: namespaces("mine"),
      onAccess: (account) => void accounts.push(account),
      observe: true,
    });
    await refused(component, "get", { bucket: "notes", key: "k" });
    await ok(component, "get", { bucket: "mine", key: "k" });
    await until(() => accounts.length === 2);
    const account = (name: string, allowed: boolean, grant: unknown) => ({
      capability: "keyvalue",
      asked: `open ${name}`,
      allowed,
      grant: { keyvalue: [grant] },
    });
    assert.deepEqual(accounts, [
      account("notes", false, "notes"),
      account("mine", true, { name: "mine", bytes: 64 * MIB, shared: false }),
    ]);
    await component.unload();
  });

  check("A18: keys, values, namespaces and calls have their bounds", async () => {
    const quota = { name: "small", bytes: 10_000, shared: false };
    const { keyvalue } = namespaces("notes");
    const grants = { keyvalue: [...keyvalue, quota] };
    const component = await bench.load("keeper", PATIENT, { grants });
    const size = (keyBytes: number, valueBytes: number) =>
      refused(component, "set-size", {
        bucket: "notes",
        key_bytes: keyBytes,
        value_bytes: valueBytes,
      });
    assert.match(String(await size(901, 1)), /a key has at most 900 bytes, this one 901/);
    assert.match(String(await size(0, 1)), /at least one byte/);
    assert.match(String(await size(1, 262_145)), /a value has at most 262144 bytes/);
    const huge = await failure("limit", () => size(1, 10 * MIB));
    assert.equal(huge.data.limit, "hostCall");
    const [filled, why] = await ok(component, "fill", {
      bucket: "small",
      count: 1_000,
      bytes: 1_000,
    }) as [number, string];
    assert.equal(filled, 9);
    assert.match(why, /"small" would have \d+ bytes, its quota is 10000 \(grants\.keyvalue/);
    const opened = await failure(
      "limit",
      () => call(component, "open-many", { bucket: "notes", count: 100_000 }),
    );
    assert.equal(opened.data.key, "limits.resources");
    const again = { bucket: "notes", count: 100_000 };
    const [listed, end] = await ok(component, "list-again", again) as [number, string];
    assert.deepEqual([listed, end], [10_000, "a call has at most 10000 key-value operations"]);
    const keys = Array.from({ length: 257 }, (_, i) => `k${i}`);
    const many = await refused(component, "get-many", { bucket: "notes", keys });
    assert.match(String(many), /a batch has at most 256 keys, this one 257/);
    await component.unload();
  });
}

/** What shows only with an engine of one's own. */
function lasting(
  engine: Engine,
  check: (name: string, body: () => Promise<void>) => void,
): void {
  check(
    "a namespace is its plugin's own, unless it is shared, and outlives the engine",
    async () => {
      const cache = folder();
      const at = { bucket: "notes", key: "k" };
      const all = { bucket: "all", key: "k" };
      for (const round of [1, 2]) {
        const sandbox = await engine.open(cache);
        const [one, two] = [
          await keeper(sandbox, "one", "notes", "all"),
          await keeper(sandbox, "two", "notes", "all"),
        ];
        if (round === 1) {
          await ok(one, "set", { ...at, value: "of one" });
          await ok(one, "set", { ...all, value: "of all" });
        }
        assert.equal(await ok(one, "get", at), "of one");
        assert.equal(await ok(two, "get", at), null);
        assert.deepEqual(await ok(two, "pages", { bucket: "notes" }), [[]]);
        assert.equal(await ok(two, "get", all), "of all");
        await sandbox.close();
      }
      rmSync(cache, { recursive: true });
    },
  );

  check("two processes count together", async () => {
    const cache = folder();
    const sandbox = await engine.open(cache);
    const component = await keeper(sandbox, "counter", "count");
    const at = { bucket: "count", key: "n" };
    let counting = true;
    const theirs = Promise.all([childCounts(cache), childCounts(cache)])
      .finally(() => counting = false);
    let own = 0;
    do {
      await ok(component, "count", { ...at, times: 10 });
      own += 10;
      await new Promise((resolve) => setTimeout(resolve, 1));
    } while (counting);
    await theirs;
    assert.equal(await ok(component, "get", at), String(own + 2 * CHILD_COUNT));
    await sandbox.close();
    rmSync(cache, { recursive: true });
  });

  check("a storage that cannot be opened is told at the load", async () => {
    const cache = folder();
    writeFileSync(join(cache, "state"), "a file where a folder has to be");
    const sandbox = await engine.open(cache);
    const load = () => keeper(sandbox, "one", "notes");
    const { message } = await failure("io", load);
    assert.match(message, /state \(storage\.dir\) cannot be used: not a folder/);
    // What is granted none is none the worse, and what is mended works.
    await (await keeper(sandbox, "none")).unload();
    rmSync(join(cache, "state"));
    const component = await keeper(sandbox, "one", "notes");
    await ok(component, "set", { bucket: "notes", key: "k", value: "v" });
    await sandbox.close();
    rmSync(cache, { recursive: true });
  });
}

const folder = () => mkdtempSync(join(tmpdir(), "atoll-keeper-"));

/** A process that counts, to its end. */
function childCounts(cache: string): Promise<void> {
  const script = join(dirname(fileURLToPath(import.meta.url)), "keeper_child.ts");
  const [program = "", ...args] = runScript(currentRuntime, script);
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...args, cache], { stdio: ["ignore", "inherit", "inherit"] });
    child.on("error", reject);
    child.on("exit", (code) => code === 0 ? resolve() : reject(new Error(`it ended with ${code}`)));
  });
}

async function keeper(sandbox: Sandbox, id: string, ...names: string[]): Promise<LoadedComponent> {
  const { keyvalue } = namespaces(...names);
  const shared = keyvalue.map((grant) => ({ ...grant, shared: grant.name === "all" }));
  const bytes = await fixtureBytes("keeper");
  const limits = { ...DEFAULT_LIMITS, ...PATIENT };
  return await sandbox.load({ id, bytes, limits, grants: { keyvalue: shared } });
}
