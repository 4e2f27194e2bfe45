import assert from "node:assert/strict";
import { unpack } from "msgpackr";
import { test } from "../../tests/harness.ts";
import { needsPacking, pack, PackError } from "./packed.ts";

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

test("bytes, big integers and numbers that are not finite need packing, however deep", () => {
  for (const plain of [1, "x", null, true, {}, [], { a: [{ b: "c" }] }, [1, 2], [["a"]]]) {
    assert.equal(needsPacking(plain), false, JSON.stringify(plain));
  }
  const bytes = new Uint8Array(1);
  for (const other of [bytes, 1n, NaN, -Infinity, new Float64Array(1), new ArrayBuffer(1)]) {
    for (const value of [other, { a: other }, [[other]], { a: [{ b: other }] }, [1, other]]) {
      assert.equal(needsPacking(value), true);
    }
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
    own: { toJSON: (key: string) => [key] },
    ownItem: [{ toJSON: (key: string) => key }],
    boxed: [new String("x"), new Number(5), new Boolean(false)],
  };
  const packed = unpack(pack({ bytes: new Uint8Array([7]), ...beside })) as Record<string, unknown>;
  const { bytes, ...rest } = packed;
  assert.deepEqual(new Uint8Array(bytes as Uint8Array), new Uint8Array([7]));
  assert.deepEqual(rest, JSON.parse(JSON.stringify(beside)));
});

test("a field may have the name of the prototype", () => {
  const value = JSON.parse('{"__proto__": 1}');
  assert.equal(hex(pack(value)), "81a95f5f70726f746f5f5f01");
});

test("numbers that are not finite stay what they are", () => {
  assert.equal(hex(pack([NaN, -Infinity])), "92cb7ff8000000000000cbfff0000000000000");
});

test("what no message has room for is refused with its path", () => {
  const refused = (value: unknown, path: string, text: RegExp) =>
    assert.throws(() => pack(value), (error: unknown) => {
      assert.ok(error instanceof PackError);
      assert.equal(error.path, path);
      return text.test(error.message);
    });
  refused({ n: 2n ** 64n }, "arguments.n", /18446744073709551616: an integer has 64 bits/);
  refused({ a: [1n, -(2n ** 63n) - 1n] }, "arguments.a[1]", /64 bits/);
  refused(
    { "a b": { "c-d": new DataView(new ArrayBuffer(1)) } },
    'arguments["a b"].c-d',
    /DataView/,
  );
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
