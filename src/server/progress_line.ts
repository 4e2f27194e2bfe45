/**
 * One progress line on standard error: rewritten in place on a terminal, written anew every few
 * seconds elsewhere, so that a log file stays readable.
 */
import process from "node:process";

const REPEAT_MS = 5_000;

export interface ProgressOutput {
  readonly terminal: boolean;
  readonly write: (text: string) => void;
  /** Milliseconds, only differences count. */
  readonly now: () => number;
}

export class ProgressLine {
  readonly #output: ProgressOutput;
  #shown = false;
  #writtenAt = -Infinity;

  constructor(output: ProgressOutput = standardError()) {
    this.#output = output;
  }

  /** Shows how far something is; `null` says that it is over. */
  show(line: string | null): void {
    const { terminal, write, now } = this.#output;
    if (line === null) {
      this.clear();
      this.#writtenAt = -Infinity;
      return;
    }
    if (terminal) {
      write(`\r\x1b[2Katoll: ${line}`);
      this.#shown = true;
      return;
    }
    const at = now();
    if (at - this.#writtenAt < REPEAT_MS) return;
    this.#writtenAt = at;
    write(`atoll: ${line}\n`);
  }

  /** Makes room for another line; the progress line comes back with the next `show`. */
  clear(): void {
    if (this.#shown) this.#output.write("\r\x1b[2K");
    this.#shown = false;
  }
}

function standardError(): ProgressOutput {
  return {
    terminal: process.stderr.isTTY === true,
    write: (text) => void process.stderr.write(text),
    now: () => performance.now(),
  };
}
