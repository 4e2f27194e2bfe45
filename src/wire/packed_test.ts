import assert from "node:assert/strict";
import { unpack } from "msgpackr";
import { test } from "../../tests/harness.ts";
import { needsPacking, pack } from "./packed.ts";

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

test("values are written as the specification of MessagePack says, without extensions", () => {
  assert.equal(hex(pack({ a: 1, b: [true, null, "é"] })), "82a16101a16293c3c0a2c3a9");
  assert.equal(hex(pack({ d: new Uint8Array([0, 255]) })), "81a164c40200ff");
  assert.equal(hex(pack({ n: 2n ** 64n - 1n })), "81a16ecfffffffffffffffff");
  assert.equal(hex(pack({ a: undefined, b: [undefined] })), "81a16291c0");
  // The second object of the same shape is not shortened.
  assert.equal(hex(pack([{ a: 1 }, { a: 2 }])), "9281a1610181a16102");
});

test("a packed value is a copy of its own", () => {
  const first = pack({ a: new Uint8Array(10_000).fill(1) });
  const second = pack({ a: new Uint8Array(10_000).fill(2) });
  assert.equal((unpack(first) as { a: Uint8Array }).a[9_999], 1);
  assert.equal((unpack(second) as { a: Uint8Array }).a[9_999], 2);
});

test("only bytes and big integers need packing, however deep they are", () => {
  for (const plain of [1, "x", null, true, {}, [], { a: [{ b: "c" }] }, [1, 2], [["a"]]]) {
    assert.equal(needsPacking(plain), false, JSON.stringify(plain));
  }
  const bytes = new Uint8Array(1);
  for (const other of [bytes, 1n, { a: bytes }, [[bytes]], { a: [{ b: 2n }] }, [1, bytes]]) {
    assert.equal(needsPacking(other), true);
  }
});

test("what is beside bytes is written as JSON would have it", () => {
  class Point {
    readonly x = 1;
    toString(): string {
      return "a point";
    }
  }
  const beside = {
    date: new Date(0),
    map: new Map([["a", 1]]),
    point: new Point(),
    method: () => 1,
    list: [() => 1, Symbol("s")],
    own: { toJSON: () => ["own"] },
    "__proto__x": 1,
  };
  const packed = unpack(pack({ bytes: new Uint8Array([7]), ...beside })) as Record<string, unknown>;
  const { bytes, ...rest } = packed;
  assert.deepEqual(new Uint8Array(bytes as Uint8Array), new Uint8Array([7]));
  assert.deepEqual(rest, JSON.parse(JSON.stringify(beside)));
});

test("a view that is no Uint8Array is refused, so that nothing of the buffer goes with it", () => {
  const buffer = new ArrayBuffer(8);
  for (
    const view of [
      new Float64Array(40),
      new BigUint64Array(1),
      new Int8Array(2),
      new DataView(buffer),
      buffer,
    ]
  ) {
    assert.throws(
      () => pack({ bytes: new Uint8Array(1), view: [view] }),
      (error: Error) => error.message.includes(`Cannot send a ${view.constructor.name}`),
    );
  }
  assert.deepEqual(
    new Uint8Array(unpack(pack(new Uint8Array([1, 2, 3, 4]).subarray(1, 3))) as Uint8Array),
    new Uint8Array([2, 3]),
  );
});
