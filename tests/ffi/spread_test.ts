/** Payloads for which the arena has no room in a row, both ways, and trace contexts. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  CLIENT_INFO,
  CLIENT_INFO_SIZE,
  FRAME_BYTES,
  PARTS_MAX,
  STATUS,
} from "../../ffi/abi.gen.ts";
import { NativeError } from "../../ffi/errors.ts";
import { outArgument } from "../../ffi/library.ts";
import { traceparentExtension } from "../../src/wire/extensions.ts";
import { test, until } from "../harness.ts";
import { type Rig, textOf, utf8, withRig } from "./support.ts";

const UNIT_BYTES = 65_536;
const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACE = traceparentExtension(`00-${TRACE_ID}-00f067aa0ba902b7-01`);

/** Takes all of the arena as another client. `holes`: every second unit is given back. */
async function withFullArena(rig: Rig, holes: boolean, body: () => Promise<void>): Promise<void> {
  const { symbols } = rig.library;
  const info = outArgument(CLIENT_INFO_SIZE);
  assert.equal(symbols.atoll_client_open(info), STATUS.OK);
  const filler = new DataView(info.buffer).getUint32(CLIENT_INFO.client, true);
  const { clients } = rig.client.stats();
  try {
    const taken: number[] = [];
    for (;;) {
      const slot = symbols.atoll_slot_take(filler, UNIT_BYTES);
      if (slot === 0) break;
      taken.push(slot);
    }
    for (let i = 0; holes && i < taken.length; i += 2) symbols.atoll_slot_give(filler, taken[i]!);
    await body();
  } finally {
    symbols.atoll_client_close(filler);
    await until(() => rig.client.stats().clients === clients - 1);
  }
}

for (const mapped of [true, false]) {
  const way = mapped ? "mapped" : "copied";

  test(`payloads without room in a row go in parts and come back so (${way})`, async () => {
    await withRig(async (rig) => {
      const echo = await rig.target("ECHO");
      const grow = await rig.target("GROW");
      await withFullArena(rig, true, async () => {
        const before = rig.client.stats();
        const bytes = new Uint8Array(1_000_001).map((_, i) => (i * 31) & 0xff);
        const raw = await rig.client.callBytes(echo, bytes, { trace: TRACE });
        assert.equal(raw.status, STATUS.OK);
        assert.deepEqual(raw.bytes, bytes);
        const text = JSON.stringify("é€😀".repeat(60_000));
        assert.equal(textOf(await rig.client.callJson(echo, text)), text);
        assert.equal(textOf(await rig.client.callJson(grow, "2000000")), "g".repeat(2_000_000));
        assert.equal(before.extentsUsed, 0);
        const after = rig.client.stats();
        assert.deepEqual([after.slotsUsed, after.extentsUsed], [before.slotsUsed, 0]);
      });
    }, { mapped });
  });

  test(`every length up to the most is sent, in a row or in parts (${way})`, async () => {
    await withRig(async (rig) => {
      const echo = await rig.target("ECHO");
      const most = rig.client.payloadBytesMax;
      assert.equal(most, PARTS_MAX * UNIT_BYTES - FRAME_BYTES);
      const all = new Uint8Array(most + 1).map((_, i) => (i >> 8) ^ i);
      const send = async (length: number, trace: Uint8Array | null): Promise<void> => {
        const bytes = all.subarray(0, length);
        const reply = await rig.client.callBytes(echo, bytes, { trace });
        assert.ok(Buffer.compare(reply.bytes!, bytes) === 0, `${length}`);
      };
      const refused = (trace: Uint8Array | null): void =>
        assert.throws(() => rig.client.callBytes(echo, all, { trace }), {
          name: "NativeError",
          code: "invalid_argument",
          message: `Cannot send ${most + 1} bytes: a message holds at most ${most}, ` +
            "a quarter of native.arena.bytes and 32 MiB at most",
          data: { bytes: most + 1, bytesMax: most },
        });
      const lengths = async (trace: Uint8Array | null): Promise<void> => {
        for (const length of [most - 16_384, most - 1, most]) await send(length, trace);
        refused(trace);
      };
      await lengths(null);
      // With its trace context a frame of the most bytes is longer than the longest row.
      await lengths(TRACE);
      await withFullArena(rig, true, async () => {
        const before = rig.client.stats();
        await lengths(null);
        await lengths(TRACE);
        assert.deepEqual(rig.client.stats().slotsUsed, before.slotsUsed);
      });
    }, { mapped });
  });

  test(`a payload without room at all is refused, and costs nothing (${way})`, async () => {
    await withRig(async (rig) => {
      const echo = await rig.target("ECHO");
      await withFullArena(rig, false, async () => {
        const before = rig.client.stats();
        assert.throws(
          () => rig.client.callBytes(echo, new Uint8Array(1_000_000)),
          (error) => error instanceof NativeError && error.code === "no_memory",
        );
        assert.deepEqual(rig.client.stats().slotsUsed, before.slotsUsed);
        const small = await rig.client.callBytes(echo, utf8("small"));
        assert.equal(textOf(small), "small");
      });
    }, { mapped });
  });

  test(`a refused call in parts gives all of them back (${way})`, async () => {
    await withRig(async (rig) => {
      await withFullArena(rig, true, async () => {
        const before = rig.client.stats();
        const reply = await rig.client.callBytes(0xffff_0001, new Uint8Array(1_000_000));
        assert.equal(reply.status, STATUS.NOT_FOUND);
        assert.deepEqual(rig.client.stats().slotsUsed, before.slotsUsed);
      });
    }, { mapped });
  });

  test(`a call in parts that ends inside of the submit has used them up (${way})`, async () => {
    await withRig(async (rig) => {
      await withFullArena(rig, true, async () => {
        const before = rig.client.stats();
        const { symbols } = rig.library;
        const give = symbols.atoll_slot_give;
        const given: number[] = [];
        const noted = (client: number, slot: number): number => {
          const status = give(client, slot);
          given.push(status);
          return status;
        };
        Object.assign(symbols, { atoll_slot_give: noted });
        try {
          const inline = before.callsInline;
          const asked = await rig.client.controlText(rig.engine, "release 0".padEnd(1_000_000));
          assert.deepEqual([asked.status, textOf(asked)], [STATUS.OK, "0"]);
          assert.equal(rig.client.stats().callsInline, inline + 1);
          assert.ok(given.every((status) => status === STATUS.OK), given.join(" "));
          const refused = await rig.client.callBytes(0xffff_0001, new Uint8Array(1_000_000));
          assert.equal(refused.status, STATUS.NOT_FOUND);
          // As many as no row of units that earlier tests gave back late would have room for.
          assert.ok(given.length >= 16, `${given.length} were given back`);
          assert.ok(given.every((status) => status === STATUS.OK), given.join(" "));
          assert.deepEqual(rig.client.stats().slotsUsed, before.slotsUsed);
        } finally {
          Object.assign(symbols, { atoll_slot_give: give });
        }
      });
    }, { mapped });
  });

  test(`log lines carry the trace of their call, payloads are untouched by it (${way})`, async () => {
    await withRig(async (rig) => {
      const lines: [string, string][] = [];
      const owner = rig.client.addLog((_, text, __, traceId) => lines.push([text, traceId]));
      const logs = await rig.target("LOGS");
      const echo = await rig.target("ECHO");
      await rig.client.callBytes(logs, utf8("2"), { owner, trace: TRACE });
      await rig.client.callBytes(logs, utf8("1"), { owner });
      await until(() => lines.length === 3);
      assert.deepEqual(lines, [["line 0", TRACE_ID], ["line 1", TRACE_ID], ["line 0", ""]]);
      for (const size of [0, 10, 4_032, 4_033, 65_472, 65_473, 200_000]) {
        const bytes = new Uint8Array(size).map((_, i) => i & 0xff);
        const reply = await rig.client.callBytes(echo, bytes, { trace: TRACE });
        assert.deepEqual(reply.bytes, bytes, `${size}`);
        const text = "x".repeat(size);
        assert.equal(textOf(await rig.client.callJson(echo, text, { trace: TRACE })), text);
      }
    }, { mapped });
  });
}
