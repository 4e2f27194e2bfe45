/** What the mended code asks of a call's guard while it makes values of a guest's memory. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { parse } from "@bytecodealliance/jco-transpile/wasm-tools";
import { test } from "../../tests/harness.ts";
import { DEFAULT_LIMITS } from "../core/limits.ts";
import { PortableCompiler } from "./portable_compiler.ts";
import { guardModule } from "./portable_core.ts";
import { CallGuard, GuestEnded } from "./portable_guard.ts";
import { exportedFunction, instantiate, loadCode } from "./portable_instance.ts";
import { poll, Pollable } from "./portable_io.ts";
import { GuestOutput } from "./portable_log.ts";
import { GuestProgress } from "./portable_progress.ts";
import { SHARED_WORDS } from "./portable_protocol.ts";
import { unknownImports, wasiImports } from "./portable_wasi.ts";
import { readWorld } from "./wit/resolve.ts";

/** Lists whose entries all name the same 64 KiB. */
const SHARED = `(component
  (core module $m
    (memory (export "memory") 2)
    (func (export "list") (param $count i32) (result i32)
      (local $at i32)
      (i32.store (i32.const 65536) (i32.const 65544))
      (i32.store (i32.const 65540) (local.get $count))
      (local.set $at (i32.const 65544))
      (loop $next
        (i32.store offset=4 (local.get $at) (i32.const 65536))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $next (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
      i32.const 65536))
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (func (export "strings") (param "count" u32) (result (list string))
    (canon lift (core func $i "list") (memory $memory)))
  (func (export "bytes") (param "count" u32) (result (list (list u8)))
    (canon lift (core func $i "list") (memory $memory)))
  (func (export "bools") (param "count" u32) (result (list (list bool)))
    (canon lift (core func $i "list") (memory $memory))))`;

const limits = { ...DEFAULT_LIMITS, outputBytes: 0, cpuMs: 60_000 };

function guardOf(more: Partial<typeof limits> = {}): CallGuard {
  const shared = new SharedArrayBuffer(SHARED_WORDS * 4);
  return new CallGuard(1, { ...limits, ...more }, 60_000, shared);
}

test("portable: what one crossing makes of a guest's memory has a limit", async () => {
  const bytes = await parse(SHARED);
  const compiler = new PortableCompiler(undefined);
  const digest = createHash("sha256").update(bytes).digest("hex");
  const { transpiled } = await compiler.compile("shared", digest, bytes);
  await compiler.close();
  const code = await loadCode({
    source: transpiled.source,
    modules: transpiled.modules.map(([name, module]) => [name, guardModule(module, 100)]),
  });
  const world = readWorld(transpiled.wit);
  for (const item of world.exports) {
    assert.ok(item.kind === "function");
    const run = async (count: number) => {
      const guard = guardOf();
      const imports = wasiImports(guard, ...outputs(guard), {});
      const instance = await instantiate(code, guard, imports);
      const list = exportedFunction(instance, { interface: null, function: item.function });
      return { guard, lift: () => list(count) as unknown[] };
    };
    const { name } = item.function;
    // A MiB is lifted whatever the limit of the output is: 65,536 bools are more.
    if (name !== "bools") assert.equal((await run(9)).lift().length, 9, name);
    const large = await run(1_000);
    assert.throws(large.lift, GuestEnded, name);
    assert.deepEqual(large.guard.stopped, { kind: "limit", limit: "output" }, name);
  }
});

test("portable: a host function's work counts by its size", () => {
  const guard = guardOf({ cpuMs: 0, resources: 10_000 });
  const first = new Pollable(guard, { ready: () => true, inMs: () => 0 });
  assert.equal(poll([first]).length, 1);
  assert.throws(() => poll(Array.from({ length: 1_000 }, () => first)), GuestEnded);
  assert.deepEqual(guard.stopped, { kind: "limit", limit: "cpu" });
  assert.throws(() => guardOf({ cpuMs: 0 }).chargeBytes(1024 * 1024), GuestEnded);
});

test("portable: a poll of very many that are not ready waits like one of few", () => {
  const guard = guardOf({ resources: 10_000 });
  let turns = 0;
  const slow = new Pollable(guard, { ready: () => turns++ > 300_000, inMs: () => 1 });
  assert.equal(poll(Array.from({ length: 300_000 }, () => slow)).length, 299_999);
});

test("portable: members of every object are no functions of WASI", () => {
  const guard = guardOf();
  const known = wasiImports(guard, ...outputs(guard), {});
  const world = readWorld(`package root:component;
world root { import wasi:random/random@0.2.6; }
package wasi:random@0.2.6 {
  interface random { get-random-u64: func() -> u64; to-string: func() -> string; }
}`);
  assert.deepEqual(unknownImports(world, known), ["wasi:random/random@0.2.6#to-string"]);
});

function outputs(guard: CallGuard): [GuestOutput, GuestProgress] {
  const output = new GuestOutput(guard, () => {});
  return [output, new GuestProgress(output, () => {})];
}
