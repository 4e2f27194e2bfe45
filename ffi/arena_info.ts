/**
 * What the arena's mapping was asked to be, and what the system made of it.
 *
 * Owns: the wishes as lines of the library's configuration, and reading `atoll_arena_info_t`. Must
 * not know who wants to know.
 */
import { ARENA_INFO, MAPPING } from "./abi.gen.ts";

/** Bytes of the largest ArrayBuffer that Bun makes; what is in a larger arena is copied. */
export const BUN_BUFFER_BYTES = 2 ** 32;

/** Wishes for the memory of frames; only the first open of a process reads them. */
export interface ArenaWishes {
  /** Its size, 4 MiB to 64 GiB, rounded down to units of 64 KiB; 256 MiB when absent. */
  readonly bytes?: number;
  /** Huge pages: of the system's pool, else such as the kernel makes, else plain ones. */
  readonly huge?: boolean;
  /** Backed by memory before the first call. */
  readonly prefault?: boolean;
  /** Never swapped out, as far as the limit on locked memory allows. */
  readonly lock?: boolean;
  /** Where it lies on a machine with several memory nodes. */
  readonly numa?: "none" | "local" | "interleave";
}

/** A property of the mapping. */
export type ArenaTrait = "huge" | "reserved" | "prefaulted" | "locked" | "bound" | "guarded";

export interface ArenaInfo {
  readonly bytes: number;
  readonly asked: readonly ArenaTrait[];
  /** `reserved` beside `huge`: the pages are of the system's pool. */
  readonly got: readonly ArenaTrait[];
  readonly pageBytes: number;
  readonly numaNodes: number;
  /** From the front on. */
  readonly lockedBytes: number;
}

/** `key=value` lines for atoll_open. */
export function arenaLines(wishes: ArenaWishes): string[] {
  const lines: string[] = [];
  if (wishes.bytes !== undefined) lines.push(`arena_bytes=${wishes.bytes}`);
  if (wishes.huge === true) lines.push("arena_huge=1");
  if (wishes.prefault === true) lines.push("arena_prefault=1");
  if (wishes.lock === true) lines.push("arena_lock=1");
  if (wishes.numa !== undefined) lines.push(`arena_numa=${wishes.numa}`);
  return lines;
}

/** @param info of atoll_open, ARENA_INFO_SIZE bytes */
export function readArenaInfo(info: Uint8Array<ArrayBuffer>): ArenaInfo {
  const view = new DataView(info.buffer);
  return {
    bytes: Number(view.getBigUint64(ARENA_INFO.size, true)),
    asked: traits(view.getUint32(ARENA_INFO.mapping_asked, true)),
    got: traits(view.getUint32(ARENA_INFO.mapping_got, true)),
    pageBytes: view.getUint32(ARENA_INFO.page_bytes, true),
    numaNodes: view.getUint32(ARENA_INFO.numa_nodes, true),
    lockedBytes: Number(view.getBigUint64(ARENA_INFO.locked_bytes, true)),
  };
}

function traits(bits: number): ArenaTrait[] {
  return Object.entries(MAPPING)
    .filter(([, bit]) => (bits & bit) !== 0)
    .map(([name]) => name.toLowerCase() as ArenaTrait);
}
