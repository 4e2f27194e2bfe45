/**
 * A process of its own for `wake_test.ts`, `grant_test.ts` and `opening_test.ts`: does what its argument says.
 */
import assert from "node:assert/strict";
import process from "node:process";
import {
  CLIENT_INFO,
  CLIENT_INFO_SIZE,
  FRAME_BYTES,
  SLOT_BYTES,
  STATUS,
} from "../../ffi/abi.gen.ts";
import type { ClientSettings } from "../../ffi/open.ts";
import { type NativeSymbols, outArgument } from "../../ffi/library.ts";
import { traceparentExtension } from "../../src/wire/extensions.ts";
import { FrameReader } from "../../src/wire/frame.ts";
import { Rig, utf8 } from "./support.ts";
import { until } from "../harness.ts";

const GIB = 2 ** 30;

/** A client that holds everything below a place in the arena. */
function fill(symbols: NativeSymbols, slotBytes: number, below: number): number {
  const info = outArgument(CLIENT_INFO_SIZE);
  assert.equal(symbols.atoll_client_open(info), STATUS.OK);
  const client = new DataView(info.buffer).getUint32(CLIENT_INFO.client, true);
  for (let slot = 1; slot * SLOT_BYTES < below;) {
    slot = symbols.atoll_slot_take(client, slotBytes);
    assert.notEqual(slot, 0, "the arena is full before it is used that far");
  }
  return client;
}

const job = process.argv[2] ?? "";
const SETTINGS: Record<string, ClientSettings> = {
  far: { arena: { bytes: 6 * GIB } },
  few: { arena: { bytes: 8 * 2 ** 20 }, callsMax: 16 },
};
const rig = await Rig.open({ settings: SETTINGS[job] ?? {} });

if (job === "far") {
  const { symbols } = rig.library;
  const filler = fill(symbols, rig.client.payloadBytesMax + FRAME_BYTES, 5 * GIB);
  const take = symbols.atoll_slot_take;
  let place = 0;
  const noted = (client: number, bytes: number): number => {
    const slot = take(client, bytes);
    place = slot * SLOT_BYTES;
    return slot;
  };
  Object.assign(symbols, { atoll_slot_take: noted });
  // Under Bun the frame is copied to the beginning of a buffer of its own.
  const read = FrameReader.prototype.read;
  let frame = 0;
  FrameReader.prototype.read = function (offset, ...rest) {
    frame = offset;
    return read.call(this, offset, ...rest);
  };
  const said: string[] = [];
  const owner = rig.client.addLog((_, text, __, traceId) => said.push(`${text} ${traceId}`));
  const trace = traceparentExtension(`00-${"ab".repeat(16)}-00f067aa0ba902b7-01`);
  await rig.client.callBytes(await rig.target("LOGS"), utf8("1"), { owner, trace });
  await until(() => said.length === 1);
  said.push(`read at ${Math.floor(frame / GIB)} GiB`);
  const echo = await rig.target("ECHO");
  for (const size of [40_000, 300_000]) {
    const bytes = new Uint8Array(size).map((_, i) => (i * 31) & 0xff);
    const reply = await rig.client.callBytes(echo, bytes, { trace });
    const same = reply.bytes?.length === size && reply.bytes.every((byte, i) => byte === bytes[i]);
    said.push(`${size} bytes ${same ? "came back" : "are lost"} at ${Math.floor(place / GIB)} GiB`);
  }
  symbols.atoll_client_close(filler);
  await rig.close();
  console.log(JSON.stringify({ mapped: rig.client.mapped, said }));
} else if (job === "few") {
  const hold = await rig.target("HOLD");
  const replies = Array.from({ length: 20 }, () => rig.client.callJson(hold, "{}"));
  const refused = replies.flatMap((reply) => (reply instanceof Promise ? [] : [reply.status]));
  const { arena: { bytes }, payloadBytesMax } = rig.client;
  console.log(JSON.stringify({ bytes, payloadBytesMax, refused }));
  process.exit(0);
} else if (job === "idle") {
  console.log("open");
} else if (job === "pending") {
  const hold = await rig.target("HOLD");
  const call = rig.client.callJson(hold, "{}");
  console.log("waiting");
  // The release comes while only the call keeps the process alive.
  const release = setTimeout(() => void rig.release(1), 300);
  if (typeof release === "object") release.unref();
  await call;
  console.log("replied");
} else if (job === "exit") {
  const hold = await rig.target("HOLD");
  const pend = await rig.target("PEND");
  for (let i = 0; i < 20; i++) void rig.client.callJson(hold, "{}");
  for (let i = 0; i < 200; i++) void rig.client.callJson(pend, "{}");
  process.exit(7);
} else if (job === "listener") {
  process.on("uncaughtException", (error) => console.log(`caught ${error.message}`));
  const logs = await rig.target("LOGS");
  const pend = await rig.target("PEND");
  const echo = await rig.target("ECHO");
  const owner = rig.client.addLog(() => {
    rig.client.callJson(echo, "{}");
    throw new Error("broken listener");
  });
  rig.client.callBytes(logs, new TextEncoder().encode("1"), { owner });
  await rig.client.callJson(pend, "{}");
  console.log("replied");
  await new Promise((resolve) => setTimeout(resolve, 50));
  await rig.close();
}
