/**
 * Whether what a process holds grows: samples in, verdicts out.
 *
 * Owns: the bounds. Pure; must not know where samples come from.
 */

/** What a process holds at one moment. */
export interface Sample {
  readonly second: number;
  readonly rssMiB: number;
  readonly descriptors: number;
  readonly threads: number;
  /** Calls that ended since the sample before. */
  readonly calls: number;
  /** Components that were loaded and unloaded since the sample before. */
  readonly loads: number;
}

export interface Verdict {
  readonly what: "rssMiB" | "descriptors" | "threads";
  /** Of the first and the second half behind the warm-up: the least RSS, the medians of the others. */
  readonly from: number;
  readonly to: number;
  /** The most that `to` may be. */
  readonly most: number;
  readonly flat: boolean;
}

/** The part of all samples that is left out at the beginning: heaps and pools grow to their size. */
const WARM_UP = 1 / 3;

/**
 * Memory may end so much higher: a collector decides when it gives back, not Atoll. What calls hold at
 * the moment comes on top of the least there is; a leak lifts the least.
 */
const RSS_SHARE = 0.1;
const RSS_MIB = 48;
/** Threads for blocking work and connections of the runtime's own come and go. */
const COUNT_SLACK = 4;

/**
 * One verdict for each thing that must be flat.
 * @throws RangeError when there are too few samples for a trend
 */
export function judge(samples: readonly Sample[]): readonly Verdict[] {
  const steady = samples.slice(Math.ceil(samples.length * WARM_UP));
  const half = Math.floor(steady.length / 2);
  if (half < 4) throw new RangeError(`${samples.length} samples are too few for a trend`);
  return (["rssMiB", "descriptors", "threads"] as const).map((what) => {
    const typical = what === "rssMiB" ? least : median;
    const from = typical(steady.slice(0, half).map((sample) => sample[what]));
    const to = typical(steady.slice(-half).map((sample) => sample[what]));
    const slack = what === "rssMiB" ? Math.max(RSS_MIB, from * RSS_SHARE) : COUNT_SLACK;
    const most = from + slack;
    return { what, from, to, most, flat: to <= most };
  });
}

function least(values: readonly number[]): number {
  return Math.min(...values);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}
