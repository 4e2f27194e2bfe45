import assert from "node:assert/strict";
import { parse } from "@bytecodealliance/jco-transpile/wasm-tools";
import { test } from "../../tests/harness.ts";
import {
  EXPORT_FUEL,
  EXPORT_START,
  EXPORT_TICK,
  guardModule,
  TICK_FUEL,
  TICK_MEMORY,
  TICK_MEMORY_GREW,
  TICK_TABLE,
  TICK_TABLE_GREW,
} from "./portable_core.ts";
import { WasmError } from "./portable_wasm.ts";

type Tick = (kind: number, amount: number) => number;

/** An instance of a guarded module whose host answers as told. */
async function run(text: string, tick: Tick, pagesMax = 100) {
  const guarded = guardModule(await parse(text), pagesMax);
  const module = new WebAssembly.Module(guarded.bytes);
  const { exports } = new WebAssembly.Instance(module, {});
  const holder = new WebAssembly.Module(
    new Uint8Array(
      await parse(
        '(module (import "" "" (func $t (param i32 i32) (result i32))) (export "" (func $t)))',
      ),
    ),
  );
  const host = new WebAssembly.Instance(holder, { "": { "": tick } }).exports[""];
  (exports[EXPORT_TICK] as WebAssembly.Table).set(0, host as CallableFunction);
  const functions = exports as unknown as Record<string, (...args: number[]) => number>;
  return { guarded, exports: functions };
}

test("portable guard: a loop and a recursion end when the host gives no more fuel", async () => {
  let ticks = 0;
  const { exports } = await run(
    `(module
      (func (export "loop") (loop br 0))
      (func $f (export "branch") (param i32)
        (if (local.get 0) (then
          (call $f (i32.sub (local.get 0) (i32.const 1)))
          (call $f (i32.sub (local.get 0) (i32.const 1)))))))`,
    (kind) => {
      assert.equal(kind, TICK_FUEL);
      return ++ticks % 3 === 0 ? 0 : 1_000;
    },
  );
  assert.throws(() => exports["loop"]?.(), WebAssembly.RuntimeError);
  assert.equal(ticks, 3);
  // 2^60 calls, no loop, hardly any stack.
  assert.throws(() => exports["branch"]?.(60), WebAssembly.RuntimeError);
  assert.equal(ticks, 6);
});

test("portable guard: a guest cannot catch its end", async () => {
  const { exports } = await run(
    `(module (tag $e)
      (func (export "try") (result i32)
        (loop $again
          (block $caught (try_table (catch_all $caught) (loop br 0)))
          (br $again))
        i32.const 1))`,
    () => 0,
  );
  assert.throws(() => exports["try"]?.(), WebAssembly.RuntimeError);
});

test("portable guard: growing asks first and tells what came of it, a refusal ends the guest", async () => {
  const asked: [number, number][] = [];
  const { exports, guarded } = await run(
    `(module (memory (export "memory") 2) (table $t 3 8 funcref)
      (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
      (func (export "table") (param i32) (result i32)
        (table.grow $t (ref.null func) (local.get 0))))`,
    (kind, amount) => {
      if (kind === TICK_FUEL) return 1_000;
      asked.push([kind, amount]);
      return amount < 10 ? 1 : 0;
    },
    5,
  );
  assert.deepEqual([guarded.memoryPages, guarded.tableElements], [2, 3]);
  assert.equal(exports["grow"]?.(1), 2);
  // Allowed by the host, but beyond the maximum that was written into the module.
  assert.equal(exports["grow"]?.(9), -1);
  assert.throws(() => exports["grow"]?.(10), WebAssembly.RuntimeError);
  assert.equal(exports["table"]?.(4), 3);
  assert.throws(() => exports["table"]?.(11), WebAssembly.RuntimeError);
  assert.equal(exports["table"]?.(5), -1);
  assert.deepEqual(asked, [
    [TICK_MEMORY, 1],
    [TICK_MEMORY_GREW, 1],
    [TICK_MEMORY, 9],
    [TICK_MEMORY, 10],
    [TICK_TABLE, 4],
    [TICK_TABLE_GREW, 4],
    [TICK_TABLE, 11],
    [TICK_TABLE, 5],
  ]);
});

test("portable guard: filling and copying take fuel by the byte", async () => {
  let ticks = 0;
  const { exports } = await run(
    `(module (memory 64)
      (func (export "fill") (memory.fill (i32.const 0) (i32.const 1) (i32.const 4000000)))
      (func (export "copy") (memory.copy (i32.const 0) (i32.const 9) (i32.const 4000000))))`,
    () => {
      ticks += 1;
      return 1_000;
    },
  );
  exports["fill"]?.();
  assert.equal(ticks, 1);
  exports["copy"]?.();
  assert.equal(ticks, 2);
});

test("portable guard: the start function runs when the host is in place", async () => {
  const { exports } = await run(
    `(module (global $g (mut i32) (i32.const 0))
      (func $s (global.set $g (i32.const 7))) (start $s)
      (func (export "get") (result i32) (global.get $g)))`,
    () => 1_000,
  );
  assert.equal(exports["get"]?.(), 0);
  exports[EXPORT_START]?.();
  assert.equal(exports["get"]?.(), 7);
  const fuel: unknown = exports[EXPORT_FUEL];
  assert.ok(fuel instanceof WebAssembly.Global);
});

test("portable guard: what a module computes stays the same", async () => {
  const { exports } = await run(
    `(module (memory 1)
      (func (export "mixed") (param $n i32) (result f64)
        (local $i i32) (local $sum f64) (local $v v128)
        (block $out
          (loop $next
            (br_if $out (i32.ge_s (local.get $i) (local.get $n)))
            (local.set $v (i32x4.splat (local.get $i)))
            (local.set $sum (f64.add (local.get $sum)
              (f64.convert_i32_s (i32x4.extract_lane 2 (local.get $v)))))
            (i64.store offset=8 (i32.const 0) (i64.const 0x7fffffffffffffff))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (block $a (block $b (br_table $a $b $next (local.get $i))))
            (br $next)))
        (f64.add (local.get $sum) (f64.const 0.5))))`,
    () => 1_000,
  );
  assert.equal(exports["mixed"]?.(10_000), 49_995_000.5);
});

test("portable guard: what is not supported is refused, not run unguarded", async () => {
  const refused = [
    "(module (memory 1 1 shared))",
    "(module (memory i64 1))",
    "(module (type (struct (field i32))) (func))",
  ];
  for (const text of refused) {
    const bytes = await parse(text);
    assert.throws(() => guardModule(bytes, 10), WasmError, text);
  }
  assert.throws(() => guardModule(new Uint8Array(4), 10), WasmError);
});
