/**
 * Log lines of a worker on their way to the thread that writes them.
 *
 * Owns: how many may be under way. One thread writes, so that lines stay whole; where it cannot
 * keep up, as with a terminal that was stopped, a worker drops lines and says how many.
 */

/** Bytes of lines that one worker may have under way. */
const UNDER_WAY_MAX = 1024 * 1024;

/** In the worker: a writer for `createLogger`. */
export class LogSender {
  readonly #word: Int32Array;
  readonly #send: (text: string) => void;
  readonly #onLost: (lines: number) => void;
  #lost = 0;

  /**
   * @param shared One 32-bit word that the receiver has, too.
   * @param onLost Told of lines that were dropped, once there is room again: it may write one.
   */
  constructor(
    shared: SharedArrayBuffer,
    send: (text: string) => void,
    onLost: (lines: number) => void,
  ) {
    this.#word = new Int32Array(shared);
    this.#send = send;
    this.#onLost = onLost;
  }

  write(text: string): void {
    if (Atomics.load(this.#word, 0) + text.length > UNDER_WAY_MAX) {
      this.#lost++;
      return;
    }
    if (this.#lost > 0) {
      const lost = this.#lost;
      this.#lost = 0;
      this.#onLost(lost);
    }
    Atomics.add(this.#word, 0, text.length);
    this.#send(text);
  }
}

/** On the thread that writes: to be called when a text of that worker was written. */
export function lineWritten(shared: SharedArrayBuffer, text: string): void {
  Atomics.sub(new Int32Array(shared), 0, text.length);
}
