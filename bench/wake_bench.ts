/**
 * How long does it take from a native thread to a JavaScript handler?
 *
 * Owns: the measurement behind the choice in `ffi/completion.ts`. Each wake finds an idle event
 * loop, as a server without load has; the time runs from the native clock before the wake to the
 * same clock read by the handler.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectByBun, connectByNet, type ConnectWake } from "../ffi/completion.ts";
import { type Bench, type Contender, percentile, type Sample } from "./harness.ts";
import { sharedLibrary } from "./native/programs.ts";
import { openWakeLibrary, type WakeLibrary } from "./native/wake.ts";

const GAP_US = 150;

export async function run(bench: Bench): Promise<void> {
  const wakes = bench.small ? 20 : 2_000;
  const library = await openWakeLibrary(sharedLibrary("wake"));
  bench.header({ "wakes a round": wakes, "pause between wakes": `${GAP_US} µs` });
  const net = bySocket("node:net", library, wakes, connectByNet);
  const own = bench.runtime === "deno"
    ? bySocket("Deno.connect", library, wakes, connectByDeno)
    : bySocket("Bun.connect", library, wakes, connectByBun);
  const callback = byCallback(library, wakes);
  const [chosen, other] = bench.runtime === "deno" ? [net, own] : [own, net];
  await bench.ask({
    case: "idle",
    unit: "us",
    better: "lower",
    about: "native clock to JavaScript handler, p50 of a round",
    atoll: chosen!,
    peers: [other!, callback],
  });
}

function bySocket(
  name: string,
  library: WakeLibrary,
  wakes: number,
  connect: ConnectWake,
): Contender {
  return {
    name,
    measure: async () => {
      const folder = mkdtempSync(join(tmpdir(), "atoll-wake-"));
      try {
        const path = join(folder, "wake");
        library.listen(path);
        const done = Promise.withResolvers<void>();
        const source = await connect(path, new Uint8Array(1), {
          onWake: () => library.mark() === wakes && done.resolve(),
          onEnd: () => done.reject(new Error("the wake socket was closed")),
        });
        library.startSocket(wakes, GAP_US);
        await done.promise;
        source.close();
        return summary(library.finish(wakes));
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  };
}

function byCallback(library: WakeLibrary, wakes: number): Contender {
  return {
    name: "thread-safe callback",
    measure: async () => {
      const done = Promise.withResolvers<void>();
      const callback = library.callback(() => {
        if (library.mark() === wakes) done.resolve();
      });
      library.startCallback(callback.pointer, wakes, GAP_US);
      await done.promise;
      // On a later turn: Deno lets the native thread go on only after the handler's microtasks, so
      // that joining it from one never ends, and closing a callback from inside itself ends the
      // process (trap D1).
      await new Promise((resolve) => setTimeout(resolve, 1));
      const latencies = library.finish(wakes);
      callback.close();
      return summary(latencies);
    },
  };
}

function summary(latencies: Uint32Array): Sample {
  const sorted = latencies.toSorted();
  const us = (part: number): number => percentile(sorted, part) / 1000;
  return { value: us(0.5), percentiles: { p50: us(0.5), p90: us(0.9), p99: us(0.99) } };
}

/** `Deno.connect`, which is not used by the product. */
const connectByDeno: ConnectWake = async (path, nonce, handlers) => {
  const connection = await Deno.connect({ transport: "unix", path });
  await connection.write(nonce);
  const bytes = new Uint8Array(256);
  let open = true;
  (async () => {
    while (open) {
      const count = await connection.read(bytes).catch(() => null);
      if (count === null) break;
      handlers.onWake();
    }
    if (open) handlers.onEnd();
  })();
  return {
    ref: () => connection.ref(),
    unref: () => connection.unref(),
    close: () => {
      open = false;
      connection.close();
    },
  };
};
