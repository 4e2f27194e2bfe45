/**
 * How long does a checksum take, beside the fastest CRC-32C that others have?
 *
 * Owns: the cases. `small` and `large` are geometric means over the sizes that follow them; `header`
 * is what each checked frame pays. The address of a buffer depends on the checksum before it, so that
 * calls cannot overlap. The peer is the crate crc-fast by its one-shot function; ISA-L is printed
 * beside it where Debian's libisal2 is installed.
 */
import { spawnSync } from "node:child_process";
import { type Bench, type Contender } from "./harness.ts";
import { byProgram, coreProgram, rustPeer } from "./native/programs.ts";

const SMALL_BYTES = [32, 64, 128, 256];
const LARGE_BYTES = [4096, 16_384, 65_536, 262_144, 1_048_576];
const PROCESSOR = 0;

/** Bytes that a round goes through for each size: long ones are faster. */
const SMALL_BUDGET = 200_000_000;
const LARGE_BUDGET = 4_000_000_000;
const SMALL_MODE_PART = 1 / 1000;

export async function run(bench: Bench): Promise<void> {
  const program = coreProgram("crc32c", ["-lm"]);
  const peer = bench.small ? null : rustPeer("crc32c");
  const isal = !bench.small && hasIsal(program);
  bench.header({
    "bytes a round": `${SMALL_BUDGET} of each small size, ${LARGE_BUDGET} of each large one`,
    "calls": "one after the other, each waits for the checksum before it",
    "pinned": `to processor ${PROCESSOR}`,
  });
  if (!bench.small && !isal) bench.note("  libisal.so.2 is missing (Debian: libisal2)");

  const ask = async (name: string, large: boolean, about: string): Promise<void> => {
    const budget = (large ? LARGE_BUDGET : SMALL_BUDGET) * (bench.small ? SMALL_MODE_PART : 1);
    const args = [name, String(budget)];
    const place = { processor: PROCESSOR };
    const peers: Contender[] = [];
    if (peer) peers.push(byProgram("crc-fast", peer, args, place));
    // ISA-L has no way of its own for a header.
    if (isal && name !== "header") {
      peers.push(byProgram("isa-l", program, [...args, "isa-l"], place));
    }
    await bench.ask({
      case: name,
      unit: large ? "GiB/s" : "ns",
      better: large ? "higher" : "lower",
      about,
      atoll: byProgram("atoll", program, args, place),
      peers,
    });
  };

  await ask("header", false, "a 32-byte header, its own checksum taken as zero");
  await ask("small", false, `geometric mean of ${SMALL_BYTES.join(", ")} bytes`);
  for (const bytes of SMALL_BYTES) await ask(`small-${bytes}`, false, `${bytes} bytes`);
  await ask("large", true, `geometric mean of ${LARGE_BYTES.join(", ")} bytes`);
  for (const bytes of LARGE_BYTES) await ask(`large-${bytes}`, true, `${bytes} bytes`);
}

function hasIsal(program: string): boolean {
  return spawnSync(program, ["small-32", "32", "isa-l"], { stdio: "ignore" }).status === 0;
}
