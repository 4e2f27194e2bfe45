/**
 * What do all limits together cost a call?
 *
 * Owns: the cases fresh and shared. Both sides of fresh run in one process without JavaScript
 * (`native/sandbox/examples/bare_call.rs`, with the same engine configuration): the library's own
 * function table, where every limit is on and counted, and wasmtime alone with none but the epoch,
 * which interrupts guests in both. So the first also pays for the boundary. Calls a second and memory over all instances are
 * off by default, and one of them is the core's: shared has them on and off by JavaScript's door.
 */
import { readFileSync } from "node:fs";
import { Engine } from "../ffi/mod.ts";
import { buildNative, findNative } from "../native/build/build.ts";
import { fixture } from "../tests/fixtures/build.ts";
import { barePeers, inline, PAYLOAD_BYTES, PROCESSOR } from "./bare_call.ts";
import { type Bench, type Contender, pin } from "./harness.ts";

/** So high that no call meets them. */
const SHARED = { requestsPerSecond: 1_000_000, pluginMemoryBytes: 1024 * 1024 * 1024 };

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
  const engine = await Engine.open({ libraries: await findNative() ?? await buildNative() });
  try {
    const bytes = readFileSync(path);
    const plain = await engine.load(bytes, { id: "text" });
    // Without a peer to build there is nothing to ask but whether the call works.
    const [on, ...off] = bench.small
      ? [inline(plain, calls)]
      : barePeers(path, calls, { "limits on": "library-inline", off: "bare-async" });
    await ask(on!, off);
    const bound = bench.small ? false : pin(PROCESSOR);
    const shared = await engine.load(bytes, { id: "text", limits: SHARED });
    await bench.ask({
      case: "shared",
      unit: "us",
      better: "lower",
      about:
        "the same call from JavaScript with the limits that a plugin's calls share, against without",
      atoll: { ...inline(shared, calls), name: "on" },
      peers: [{ ...inline(plain, calls), name: "off" }],
    });
    if (bound) pin(null);
  } finally {
    await engine.close();
  }
}
