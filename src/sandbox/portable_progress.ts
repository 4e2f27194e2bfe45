/**
 * `atoll:plugin/progress` for guests of the portable engine, by the rules of the native one: reports
 * grow, a flood of them is thinned out, and what is passed on counts as log.
 */
import type { GuestOutput } from "./portable_log.ts";
import type { ProgressReport } from "./sandbox.ts";

/** The interface and its version, as in `wit/progress.wit`. */
export const PROGRESS_INTERFACE = "atoll:plugin/progress";
export const PROGRESS_VERSION = "0.1.0";

/** Most bytes of a message: it is for a person to read in passing. */
const MESSAGE_BYTES_MAX = 1024;

/** So many reports in a row are passed on, whenever they come; then one each interval. */
const BURST = 10;
const INTERVAL_MS = 100;

const encoder = new TextEncoder();

/** The reports of one call after another. */
export class GuestProgress {
  readonly #output: GuestOutput;
  readonly #send: (report: ProgressReport) => void;
  #reached = -Infinity;
  #tokens = BURST;
  #refilled = performance.now();
  /** The newest that was not passed on. */
  #held: ProgressReport | null = null;

  constructor(output: GuestOutput, send: (report: ProgressReport) => void) {
    this.#output = output;
    this.#send = send;
  }

  /** What the guest calls. */
  readonly report = (progress: number, total?: number, message?: string): void => {
    if (!Number.isFinite(progress) || progress <= this.#reached) return;
    this.#reached = progress;
    const report = {
      progress,
      ...(total !== undefined && Number.isFinite(total) ? { total } : {}),
      ...(message === undefined ? {} : { message: beginning(message) }),
    };
    this.#refill();
    if (this.#tokens === 0) {
      this.#held = report;
      return;
    }
    this.#tokens -= 1;
    this.#held = null;
    this.#pass(report);
  };

  /** The call ends: what was held back is passed on, and the next call begins anew. */
  finish(): void {
    if (this.#held !== null) this.#pass(this.#held);
    this.#held = null;
    this.#reached = -Infinity;
    this.#tokens = BURST;
  }

  /** As long as the log has room: to be far is no reason to end a call. */
  #pass(report: ProgressReport): void {
    if (this.#output.afford(encoder.encode(JSON.stringify(report)).length)) this.#send(report);
  }

  #refill(): void {
    const more = Math.floor((performance.now() - this.#refilled) / INTERVAL_MS);
    this.#tokens = Math.min(BURST, this.#tokens + more);
    this.#refilled = this.#tokens === BURST
      ? performance.now()
      : this.#refilled + more * INTERVAL_MS;
  }
}

/** As much of a text as fits, in whole characters. */
function beginning(text: string): string {
  const { read } = encoder.encodeInto(text, new Uint8Array(MESSAGE_BYTES_MAX));
  return text.slice(0, read);
}
