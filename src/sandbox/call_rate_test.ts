import assert from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { CallRate } from "./call_rate.ts";

function taken(rate: CallRate, perSecond: number, nowMs: number): number {
  let count = 0;
  while (count <= perSecond && rate.take(() => nowMs)) count++;
  return count;
}

test("a second's calls at once, then one by one", () => {
  for (const perSecond of [1, 3, 7, 1000]) {
    const rate = new CallRate(perSecond);
    let nowMs = 12_345.678;
    assert.equal(taken(rate, perSecond, nowMs), perSecond);
    nowMs += 1_000 / perSecond;
    assert.equal(taken(rate, perSecond, nowMs - 0.01), 0);
    assert.equal(taken(rate, perSecond, nowMs), 1);
    assert.equal(taken(rate, perSecond, nowMs + 3_600_000), perSecond);
  }
});

test("without a limit nobody looks at the clock", () => {
  const rate = new CallRate(0);
  for (let i = 0; i < 10; i++) assert.ok(rate.take(() => assert.fail("the clock was read")));
});
