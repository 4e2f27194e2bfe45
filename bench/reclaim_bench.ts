/**
 * What does it cost to read what another thread may be about to free?
 *
 * Owns: the cases and their peers. `hazard` protects and resets one pointer, `epoch` pins and unpins,
 * `refcount` takes and lets go of one holder. Each program reads in a loop on one processor; nobody
 * else uses the objects, so that the price of the protection alone is seen.
 */
import type { Bench, Contender } from "./harness.ts";
import { byProgram, coreProgram, cppPeer, rustPeer } from "./native/programs.ts";

const CASES = [
  { case: "hazard", about: "protect and reset one pointer", peer: "haphazard" },
  { case: "epoch", about: "pin and unpin", peer: "crossbeam-epoch" },
  { case: "refcount", about: "take and let go of a shared buffer", peer: "std Arc" },
] as const;

export async function run(bench: Bench): Promise<void> {
  const operations = String(bench.small ? 100_000 : 50_000_000);
  const place = { processor: 0 };
  const program = coreProgram("reclaim");
  const rust = bench.small ? null : rustPeer("reclaim");
  const urcu = bench.small ? null : urcuPeer(bench);
  bench.header({ "operations a round": operations, processor: place.processor });
  for (const { case: name, about, peer } of CASES) {
    const peers: Contender[] = [];
    if (rust) peers.push(byProgram(peer, rust, [name, operations], place));
    if (urcu && name === "epoch") {
      peers.push(byProgram("liburcu (memb)", urcu, [name, operations], place));
    }
    await bench.ask({
      case: name,
      unit: "ns",
      better: "lower",
      about,
      atoll: byProgram("atoll", program, [name, operations], place),
      peers,
    });
  }
}

/** Beside the peer that counts: printed where the Debian package liburcu-dev is. */
function urcuPeer(bench: Bench): string | null {
  try {
    return cppPeer("urcu.cpp", ["-lurcu-memb"]);
  } catch {
    bench.note("liburcu is left out: it does not compile; is liburcu-dev installed?");
    return null;
  }
}
