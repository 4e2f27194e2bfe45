import assert from "node:assert/strict";
import { test } from "../tests/harness.ts";
import { measureParts, shareText } from "./share.ts";

const PARTS = { slotNs: 4, headerNs: 5, readNs: 3, writeNs: 12 };

test("the share of allocator and framing in a request", () => {
  assert.equal(
    shareText({ what: "a call", ns: 10_000, slots: 0.5 }, PARTS),
    "share of a call of 10.00 us: allocator 0.020 % (0.500 slots, 4.0 ns each), " +
      "framing 0.20 % (20.0 ns: header written 5.0, read in the core 3.0, reply 12.0)",
  );
  assert.match(
    shareText({ what: "a request", ns: 40_000, slots: 1, slotsAtMost: true }, PARTS),
    /allocator at most 0\.010 % \(at most 1\.000 slots/,
  );
});

test("each part of a request takes some time", () => {
  for (const [part, ns] of Object.entries(measureParts(true))) assert.ok(ns > 0, `${part}: ${ns}`);
});
