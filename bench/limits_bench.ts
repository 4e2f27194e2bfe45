/**
 * What do all limits together cost a call?
 *
 * Owns: the case fresh. Both sides run in one process without JavaScript
 * (`native/sandbox/examples/bare_call.rs`, with the same engine configuration): the library's own
 * function table, where every limit is on and counted, and wasmtime alone with none but the epoch,
 * which interrupts guests in both. So the first also pays for the boundary.
 */
import { readFileSync } from "node:fs";
import { Engine } from "../ffi/mod.ts";
import { buildNative, findNative } from "../native/build/build.ts";
import { fixture } from "../tests/fixtures/build.ts";
import { barePeers, inline, PAYLOAD_BYTES, PROCESSOR } from "./bare_call.ts";
import type { Bench, Contender } from "./harness.ts";

export async function run(bench: Bench): Promise<void> {
  const calls = bench.small ? 200 : 20_000;
  const path = await fixture("text");
  bench.header({
    "calls a round": calls,
    payload: `${PAYLOAD_BYTES} bytes`,
    pinned: `to processor ${PROCESSOR}`,
  });
  const ask = (atoll: Contender, peers: readonly Contender[]) =>
    bench.ask({
      case: "fresh",
      unit: "us",
      better: "lower",
      about: "a fresh instance and one list<u8> call, all limits on, against none",
      atoll,
      peers,
    });
  if (!bench.small) {
    const [on, off] = barePeers(path, calls, { "limits on": "library-inline", off: "bare-async" });
    return await ask(on!, [off!]);
  }
  // Without a peer to build there is nothing to ask but whether the call works.
  const engine = await Engine.open({ libraries: await findNative() ?? await buildNative() });
  try {
    await ask(inline(await engine.load(readFileSync(path), { id: "text" }), calls), []);
  } finally {
    await engine.close();
  }
}
