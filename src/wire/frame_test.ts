import assert from "node:assert/strict";
import { FLAG, FRAME_BYTES, KIND } from "../../ffi/abi.gen.ts";
import { test } from "../../tests/harness.ts";
import {
  crc32c,
  decodeHeader,
  encodeHeader,
  frameChecksum,
  frameFault,
  type FrameHeader,
  frameLength,
} from "./frame.ts";

const HEADER: FrameHeader = {
  kind: KIND.CALL,
  flags: FLAG.JSON | FLAG.END,
  extensionWords: 1,
  requestId: 0x0102_0304_0506_0708n,
  target: 0xdead_beef,
  budgetUs: 1_000_000,
  payloadLength: 3,
  crc32c: 0,
};

function frame(change: Partial<FrameHeader> = {}): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FRAME_BYTES + 8 + 3);
  bytes.set([1, 2, 3], FRAME_BYTES + 8);
  encodeHeader({ ...HEADER, ...change }, bytes);
  return bytes;
}

test("a header comes back as it was written, little-endian, at any offset", () => {
  const bytes = new Uint8Array(FRAME_BYTES + 5);
  encodeHeader(HEADER, bytes, 5);
  assert.deepEqual(decodeHeader(bytes, 5), HEADER);
  assert.deepEqual([...bytes.subarray(5, 9)], [0x54, 0x41, 1, KIND.CALL]);
  assert.deepEqual([...bytes.subarray(13, 21)], [8, 7, 6, 5, 4, 3, 2, 1]);
  assert.equal(frameLength(HEADER), FRAME_BYTES + 8 + 3);
  assert.throws(() => encodeHeader(HEADER, bytes, 6), RangeError);
});

test("CRC-32C gives the values of RFC 3720, B.4", () => {
  assert.equal(crc32c(new Uint8Array(32)), 0x8a91_36aa);
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8_ab43);
  assert.equal(crc32c(new Uint8Array(32).map((_, i) => i)), 0x46dd_794e);
  assert.equal(crc32c(new Uint8Array(32).map((_, i) => 31 - i)), 0x113f_db5c);
  assert.equal(crc32c(new TextEncoder().encode("123456789")), 0xe306_9283);
  const bytes = new Uint8Array(100).map((_, i) => i * 3);
  for (let split = 0; split <= bytes.length; split++) {
    const front = crc32c(bytes.subarray(0, split));
    assert.equal(crc32c(bytes.subarray(split), front), crc32c(bytes), `split at ${split}`);
  }
});

test("CRC-32C is its definition, bit by bit, at every length", () => {
  const bytes = new Uint8Array(70).map((_, i) => (i * 2_654_435_761) >>> 11);
  let defined = ~0;
  for (let length = 0; length < bytes.length; length++) {
    assert.equal(crc32c(bytes.subarray(0, length)), ~defined >>> 0, `${length} bytes`);
    defined ^= bytes[length]!;
    for (let bit = 0; bit < 8; bit++) {
      defined = (defined >>> 1) ^ (defined & 1 ? 0x82f6_3b78 : 0);
    }
  }
});

test("every fault of a frame is named", () => {
  assert.equal(frameFault(frame()), null);
  const spoilt = (at: number, value: number): Uint8Array => {
    const bytes = frame();
    bytes[at] = value;
    return bytes;
  };
  assert.match(frameFault(new Uint8Array(31)) ?? "", /has 31 bytes/);
  assert.match(frameFault(spoilt(0, 0)) ?? "", /magic is 0x4100/);
  assert.match(frameFault(spoilt(2, 2)) ?? "", /version is 2, supported is 1/);
  assert.match(frameFault(spoilt(3, 99)) ?? "", /kind 99 is unknown/);
  assert.match(frameFault(spoilt(5, 0xf1)) ?? "", /flags 0xf000 are unknown/);
  assert.match(frameFault(frame().subarray(0, 42)) ?? "", /announces 43 bytes, there are 42/);
  assert.match(frameFault(frame({ payloadLength: 0xffff_ffff })) ?? "", /there are 43/);
  assert.match(frameFault(frame({ extensionWords: 0xffff })) ?? "", /there are 43/);
});

test("a checked frame is refused after any change of one bit", () => {
  const bytes = frame({ flags: HEADER.flags | FLAG.CHECKED });
  new DataView(bytes.buffer).setUint32(28, frameChecksum(bytes), true);
  assert.equal(frameFault(bytes), null);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = bytes.slice();
    changed[bit >> 3]! ^= 1 << (bit & 7);
    // Without its flag a frame is not checked; everything else is seen.
    if (bit === 4 * 8) assert.equal(frameFault(changed), null);
    else assert.notEqual(frameFault(changed), null, `bit ${bit}`);
  }
});
