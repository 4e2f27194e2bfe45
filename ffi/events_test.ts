/** What needs no library: a frame that the reader of events cannot read. */
import assert from "node:assert/strict";
import { writeHeader } from "../src/wire/frame.ts";
import { test } from "../tests/harness.ts";
import { EVENT, EVENT_BYTES, FLAG, FRAME, FRAME_VERSION, KIND, SLOT_BYTES } from "./abi.gen.ts";
import { MappedMemory, SlotCache } from "./arena.ts";
import { EventReader } from "./events.ts";
import type { NativeSymbols } from "./library.ts";

test("a frame of another version is refused with the version found and the one supported", () => {
  const arena = new ArrayBuffer(16_384);
  const memory = new MappedMemory(arena, 0);
  const index = 200;
  const capacity = 256;
  const symbols = { atoll_slot_bytes: () => capacity } as unknown as NativeSymbols;
  const events = new EventReader(symbols, 1, memory, new SlotCache(symbols, 1, memory));
  const slot = memory.slot(index, capacity);
  writeHeader(slot.header, KIND.REPLY, 0, 0, 1, 0, 0, 0, 0);
  const event = new Uint32Array(arena, 0, EVENT_BYTES / 4);
  event[EVENT.kind / 4] = KIND.REPLY;
  event[EVENT.slot / 4] = index;
  event[EVENT.flags / 4] = FLAG.EXTENDED;
  const version = index * SLOT_BYTES + FRAME.version;
  for (const found of [0, FRAME_VERSION + 1, 255]) {
    new Uint8Array(arena)[version] = found;
    assert.throws(() => events.submitted(slot), {
      name: "NativeError",
      code: "invalid_frame",
      message: `Cannot read frame: version is ${found}, supported is ${FRAME_VERSION}`,
    });
  }
});
