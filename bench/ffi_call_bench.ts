/**
 * What does a call from JavaScript cost beside the same call made with wasmtime alone?
 *
 * Owns: the cases fresh, warm and hop. The guest is `reverse` of the shipped plugin `text`, with 64
 * bytes in and out; the peers are `native/sandbox/examples/bare_call.rs`, with the same engine
 * configuration: bare-async as a server must run guests, with fibres and epochs, and bare-sync
 * without a fibre, which can neither wait nor be moved. Fresh is an instance a call; warm calls one
 * that is kept, the peers as well. Most of a hop is waking two threads, which one machine may do in
 * twice the time of the day before: its peer bare-hop has bare-async called by another thread.
 */
import { readFileSync } from "node:fs";
import { type Component, Engine, type NativeStats } from "../ffi/mod.ts";
import { buildNative, findNative } from "../native/build/build.ts";
import { fixture } from "../tests/fixtures/build.ts";
import {
  barePeers,
  FRESH,
  HOP,
  inline,
  PAYLOAD_BYTES,
  PROCESSOR,
  timed,
  WARM,
  WARM_CALLS,
} from "./bare_call.ts";
import { type Bench, type Contender, pin } from "./harness.ts";
import { noteShare } from "./share.ts";

export async function run(bench: Bench): Promise<void> {
  const calls = bench.small ? 200 : 20_000;
  const libraries = await findNative() ?? await buildNative();
  const path = await fixture("text");
  const engine = await Engine.open({ libraries });
  const component = await engine.load(readFileSync(path), { id: "text" });
  const instance = await component.instantiate();
  try {
    const peers = bench.small ? [] : barePeers(path, calls, FRESH);
    bench.header({
      "calls a round": calls,
      payload: `${PAYLOAD_BYTES} bytes`,
      pinned: `fresh and warm and their peers to processor ${PROCESSOR}, hop not`,
    });
    const bound = bench.small ? false : pin(PROCESSOR);
    if (!bench.small && !bound) bench.note("  taskset is missing: nothing is pinned");
    const before = engine.stats();
    await bench.ask({
      case: "fresh",
      unit: "us",
      better: "lower",
      about: "a fresh instance and one list<u8> call, inline through FFI",
      atoll: inline(component, calls),
      peers,
    });
    const after = engine.stats();
    await bench.ask({
      case: "warm",
      unit: "us",
      better: "lower",
      about: "the same call of an instance that is kept, inline through FFI",
      atoll: inline(instance, calls * WARM_CALLS),
      peers: bench.small ? [] : barePeers(path, calls, WARM),
    });
    if (bound) pin(null);
    await bench.ask({
      case: "hop",
      unit: "us",
      better: "lower",
      about: "the fresh call, handed to the workers and awaited, one at a time",
      atoll: hop(component, calls >> 1),
      peers: bench.small ? [] : barePeers(path, calls >> 1, HOP, null),
    });
    noteShare(bench, {
      what: "a fresh call",
      ns: bench.results.find((line) => line.case === "fresh")!.value * 1000,
      slots: (slotsTaken(after) - slotsTaken(before)) / (callsOf(after) - callsOf(before)),
    });
    const { callsInline, callsMigrated } = engine.stats();
    bench.note(`\n  ${callsInline} calls ended inline, ${callsMigrated} on the workers`);
  } finally {
    await engine.close();
  }
}

function slotsTaken({ slotsTaken }: NativeStats): number {
  return slotsTaken.reduce((sum, count) => sum + count, 0);
}

function callsOf({ callsInline, callsMigrated }: NativeStats): number {
  return callsInline + callsMigrated;
}

function hop(component: Component, calls: number): Contender {
  const payload = new Uint8Array(PAYLOAD_BYTES).fill(97);
  const options = { detached: true };
  return timed("atoll detached", calls, async () => {
    for (let i = 0; i < calls; i++) {
      const answer = await component.callBytes("reverse", payload, options);
      if (answer.length !== PAYLOAD_BYTES) throw new Error("a wrong answer");
    }
  });
}
