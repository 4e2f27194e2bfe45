import assert from "node:assert/strict";
import { CLOCK, EXTENSION, FAULT, FLAG, FRAME_BYTES, KIND, LEVEL } from "../../ffi/abi.gen.ts";
import { test } from "../../tests/harness.ts";
import { crc32c } from "./crc32c.ts";
import {
  deadlineExtension,
  extension,
  partsExtension,
  traceExtension,
  traceparentExtension,
} from "./extensions.ts";
import { faultText } from "./fault.ts";
import { FrameReader, seal, writeHeader } from "./frame.ts";

const PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

function frame(options: {
  flags?: number;
  extensions?: readonly Uint8Array[];
  payload?: readonly number[];
}): Uint8Array<ArrayBuffer> {
  const { flags = 0, extensions = [], payload = [] } = options;
  const between = extensions.reduce((sum, bytes) => sum + bytes.length, 0);
  const bytes = new Uint8Array(FRAME_BYTES + between + payload.length);
  const header = new Uint32Array(bytes.buffer, 0, 8);
  writeHeader(header, KIND.CALL, flags, between / 8, 7, 8, 0xdead_beef, 9, payload.length);
  let at = FRAME_BYTES;
  for (const one of extensions) {
    bytes.set(one, at);
    at += one.length;
  }
  bytes.set(payload, at);
  return bytes;
}

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

test("a frame comes back as it was written, its payload a view of the same memory", () => {
  const parts = [{ segment: 0, slot: 70, offset: 32, length: 5 }, {
    segment: 3,
    slot: 1,
    offset: 0,
    length: 9,
  }];
  const written = frame({
    flags: FLAG.CHECKED | FLAG.MSGPACK,
    extensions: [
      deadlineExtension({ clock: CLOCK.REALTIME, atNs: 2n ** 64n - 1n }),
      extension(EXTENSION.TENANT, new Uint8Array(5)),
      partsExtension(parts),
      extension(0x7fff, new Uint8Array(0)),
      traceExtension(new Uint8Array(16).fill(3), new Uint8Array(8).fill(4), 1),
    ],
    payload: [1, 2, 3],
  });
  seal(written);
  // At an offset, with other bytes around it.
  const buffer = new ArrayBuffer(1024);
  const all = new Uint8Array(buffer).fill(0xaa);
  all.set(written, 64);
  const reader = new FrameReader(buffer);
  assert.equal(reader.read(64, written.length, LEVEL.FULL, true), FAULT.NONE);
  assert.equal(reader.kind, KIND.CALL);
  assert.equal(reader.flags, FLAG.CHECKED | FLAG.MSGPACK);
  assert.equal(reader.requestId, 8n << 32n | 7n);
  assert.equal(reader.target, 0xdead_beef);
  assert.equal(reader.budgetUs, 9);
  assert.equal(reader.length, written.length);
  assert.deepEqual(reader.deadline, { clock: CLOCK.REALTIME, atNs: 2n ** 64n - 1n });
  assert.equal(reader.deadlineClock, CLOCK.REALTIME);
  assert.equal(reader.deadlineMs, 2 ** 64 / 1e6);
  assert.equal(reader.traceIdHex, "03".repeat(16));
  assert.deepEqual([reader.traceWord(0), reader.traceWord(3)], [0x0303_0303, 0x0303_0303]);
  assert.deepEqual([reader.traceWord(5), reader.traceFlags], [0x0404_0404, 1]);
  assert.deepEqual([...reader.trace!.spanId], Array(8).fill(4));
  assert.deepEqual([reader.part(0), reader.part(1)], parts);
  assert.equal(reader.partsBytes, 14);
  const payload = reader.payload;
  assert.deepEqual([...payload], [1, 2, 3]);
  all[payload.byteOffset] = 77;
  assert.equal(payload[0], 77, "nothing was copied");
});

test("a frame is read beyond 2 and 4 GiB as at the front", () => {
  const parts = [{ segment: 0, slot: 2 ** 30 - 1, offset: 32, length: 5 }];
  const written = frame({
    flags: FLAG.CHECKED,
    extensions: [
      // Padding behind its value, so that the next one's place is rounded up.
      extension(EXTENSION.TENANT, new Uint8Array(5)),
      traceExtension(new Uint8Array(16).fill(3), new Uint8Array(8).fill(4), 1),
      deadlineExtension({ clock: CLOCK.REALTIME, atNs: 2n ** 64n - 1n }),
      partsExtension(parts),
    ],
    payload: [1, 2, 3],
  });
  seal(written);
  const gib = 2 ** 30;
  // Untouched pages cost nothing. JavaScriptCore has buffers of 4 GiB at most.
  const buffer = new ArrayBuffer("Deno" in globalThis ? 5 * gib : 4 * gib);
  const reader = new FrameReader(buffer);
  const places = [64, 2 * gib - 64, 2 * gib, 3 * gib + 64, 4 * gib - 1024, 4 * gib, 5 * gib - 1024];
  const there = places.filter((place) => place < buffer.byteLength);
  assert.ok(there.length >= 5);
  for (const place of there) {
    const all = new Uint8Array(buffer, place, 1024);
    all.set(written);
    const header = new Uint32Array(buffer, place, 8);
    assert.equal(reader.read(place, 1024, LEVEL.FULL, true), FAULT.NONE, `${place}`);
    assert.equal(reader.length, written.length);
    assert.equal(reader.target, 0xdead_beef);
    assert.deepEqual([...reader.payload], [1, 2, 3]);
    assert.equal(reader.traceIdHex, "03".repeat(16));
    assert.deepEqual([reader.traceWord(5), reader.traceFlags], [0x0404_0404, 1]);
    assert.deepEqual([...reader.trace!.spanId], Array(8).fill(4));
    assert.deepEqual(reader.deadline, { clock: CLOCK.REALTIME, atNs: 2n ** 64n - 1n });
    assert.equal(reader.deadlineMs, 2 ** 64 / 1e6);
    assert.deepEqual(reader.part(0), parts[0]);
    // The last byte of padding behind the tenant.
    all[FRAME_BYTES + 15] = 1;
    seal(all.subarray(0, written.length));
    assert.equal(reader.read(place, 1024, LEVEL.FULL, true), FAULT.PADDING, `${place}`);
    writeHeader(header, KIND.REPLY, 0, 0, 1, 2, 3, 4, 0);
    assert.equal(reader.read(place, 1024, LEVEL.STRUCTURE), FAULT.NONE, `${place}`);
    assert.deepEqual([reader.kind, reader.requestHigh, reader.budgetUs], [KIND.REPLY, 2, 4]);
  }
});

test("a reader that moves on to another frame has nothing of the one before", () => {
  const first = frame({ extensions: [traceparentExtension(PARENT)!], payload: [1] });
  const buffer = new ArrayBuffer(256);
  new Uint8Array(buffer).set(first);
  new Uint8Array(buffer).set(frame({}), 128);
  const reader = new FrameReader(buffer);
  assert.equal(reader.read(0, 128, LEVEL.STRUCTURE), FAULT.NONE);
  assert.equal(reader.trace?.flags, 1);
  assert.equal(reader.read(128, 128, LEVEL.STRUCTURE), FAULT.NONE);
  assert.equal(reader.trace, null);
  assert.equal(reader.traceIdHex, "");
  assert.equal(reader.deadlineClock, 0);
  assert.equal(reader.payload.length, 0);
});

test("a checked frame is refused after any change of one bit", () => {
  const bytes = frame({
    flags: FLAG.CHECKED,
    extensions: [traceparentExtension(PARENT)!],
    payload: [1, 2, 3],
  });
  seal(bytes);
  const reader = new FrameReader(bytes.buffer);
  assert.equal(reader.read(0, bytes.length, LEVEL.FULL), FAULT.NONE);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    assert.notEqual(reader.read(0, bytes.length, LEVEL.FULL), FAULT.NONE, `bit ${bit}`);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  }
});

test("a traceparent is taken as W3C says, or ignored", () => {
  const id = "4bf92f3577b34da6a3ce929d0e0e4736";
  const span = "00f067aa0ba902b7";
  const good = traceparentExtension(PARENT);
  assert.ok(good);
  const reader = new FrameReader(frame({ extensions: [good] }).buffer);
  reader.read(0, 64, LEVEL.STRUCTURE);
  assert.equal(reader.traceIdHex, id);
  assert.ok(traceparentExtension(`01-${id}-${span}-00-what-follows`), "a later version");
  for (
    const bad of [
      "",
      `00-${id}-${span}`,
      `00-${id}-${span}-01-more`,
      `ff-${id}-${span}-01`,
      `00-${"0".repeat(32)}-${span}-01`,
      `00-${id}-${"0".repeat(16)}-01`,
      `00-${id.toUpperCase()}-${span}-01`,
      ` ${PARENT}`,
    ]
  ) assert.equal(traceparentExtension(bad), null, bad);
});

test("a fault is a sentence, another version is named", () => {
  assert.equal(faultText(FAULT.VERSION, 7), "Cannot read frame: version is 7, supported is 1");
  for (const [name, fault] of Object.entries(FAULT)) {
    if (name !== "NONE" && name !== "VERSION") assert.doesNotMatch(faultText(fault, 1), /fault \d/);
  }
  assert.throws(() => partsExtension([]), RangeError);
});
