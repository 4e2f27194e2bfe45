/**
 * Which part of a request do allocator and framing take?
 *
 * Owns: what of them a request needs, and the sentence about it. Must not know which request it is.
 *
 * By times, not by instruction counts: those of a whole request cannot be had cheaply (under callgrind
 * a runtime is many times slower and its compiler is counted as well), and a share of instructions is
 * not one of time. Each part is timed in a loop of its own, where all of its memory is in the
 * first-level cache, and held against a request as it was measured. In a request some of that memory
 * is further away: the share is a lower bound, good for seeing whether a part has any weight.
 */
import { KIND } from "../ffi/abi.gen.ts";
import { writeHeader } from "../src/wire/frame.ts";
import { timePaths } from "./baseline.ts";
import { type Bench, median } from "./harness.ts";

/** Nanoseconds of each part, once. */
export interface Parts {
  /** A slot taken and given back. */
  readonly slotNs: number;
  /** A request's header written, in TypeScript. */
  readonly headerNs: number;
  /** The frame read in place by the core, and the reply's written, 64 bytes of payload. */
  readonly readNs: number;
  readonly writeNs: number;
}

/** What one request is. */
export interface Requests {
  /** As in "a fresh call". */
  readonly what: string;
  readonly ns: number;
  /** Slots it takes from the allocator; few, since a client keeps the last ones. */
  readonly slots: number;
  /** That many were not counted but are the most that can be. */
  readonly slotsAtMost?: boolean;
}

const HEADER_WORDS = 8;

/** Measures the parts on this machine: medians of five times, in small mode of one. */
export function measureParts(small: boolean): Parts {
  const operations = small ? 2_000 : 500_000;
  const rounds = Array.from({ length: small ? 1 : 5 }, (): Parts => {
    const times = timePaths("all", operations);
    return {
      slotNs: times["slab-pair"] ?? NaN,
      headerNs: timeHeader(),
      readNs: times["frame-read"] ?? NaN,
      writeNs: times["frame-write"] ?? NaN,
    };
  });
  const middle = (part: keyof Parts): number => median(rounds.map((one) => one[part]));
  return {
    slotNs: middle("slotNs"),
    headerNs: middle("headerNs"),
    readNs: middle("readNs"),
    writeNs: middle("writeNs"),
  };
}

/** As often in small mode: with less it is the runtime's compiler that is measured. */
function timeHeader(operations = 500_000): number {
  // Several frames, so that a compiler cannot keep one in registers.
  const headers = Array.from({ length: 64 }, () => new Uint32Array(HEADER_WORDS));
  const round = (): void => {
    for (let i = 0; i < operations; i++) {
      writeHeader(headers[i & 63]!, KIND.CALL, 0, 0, i, 0, 7, 0, 64);
    }
  };
  round();
  const begin = performance.now();
  round();
  return (performance.now() - begin) * 1e6 / operations;
}

/** One line: the share of each in a request. */
export function shareText(requests: Requests, parts: Parts): string {
  const { slotNs, headerNs, readNs, writeNs } = parts;
  const memoryNs = requests.slots * slotNs;
  const framingNs = headerNs + readNs + writeNs;
  const part = (ns: number): string => `${(ns / requests.ns * 100).toPrecision(2)} %`;
  const ns = (value: number): string => value.toFixed(1);
  const most = requests.slotsAtMost ? "at most " : "";
  return `share of ${requests.what} of ${(requests.ns / 1000).toFixed(2)} us: ` +
    `allocator ${most}${part(memoryNs)} (${most}${requests.slots.toFixed(3)} slots, ` +
    `${ns(slotNs)} ns each), framing ${part(framingNs)} (${ns(framingNs)} ns: header written ` +
    `${ns(headerNs)}, read in the core ${ns(readNs)}, reply ${ns(writeNs)})`;
}

/** Prints that line. */
export function noteShare(bench: Bench, requests: Requests): void {
  bench.note(`\n  ${shareText(requests, measureParts(bench.small))}`);
}
