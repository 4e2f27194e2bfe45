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
