/**
 * How many calls a second, where the core does not count them: the portable engine's own doors.
 *
 * Owns: what is left in the bucket; the rule is `native/core/src/rate.h`'s. Must not know calls.
 */

const SECOND_MS = 1_000;
/** More than a second's fractions can be off by when they are summed. */
const ROUNDING_MS = 1e-6;

export class CallRate {
  readonly #tokenMs: number;
  /** When the bucket is full again if nobody takes anything. */
  #fullMs = 0;

  /** @param perSecond 0: any number */
  constructor(perSecond: number) {
    this.#tokenMs = perSecond === 0 ? 0 : SECOND_MS / perSecond;
  }

  /**
   * Takes a token if there is one.
   * @param now the clock, read where there is a limit only
   */
  take(now: () => number = performance.now.bind(performance)): boolean {
    if (this.#tokenMs === 0) return true;
    const nowMs = now();
    const nextMs = Math.max(this.#fullMs, nowMs) + this.#tokenMs;
    if (nextMs - nowMs > SECOND_MS + ROUNDING_MS) return false;
    this.#fullMs = nextMs;
    return true;
  }
}
