/**
 * The linear memory of all instances of one component, over its workers.
 *
 * Owns: a shared word for each worker, which that worker alone adds to; the sum is read, never kept,
 * so that nothing of a worker that was given up is left in it. Must not know guests.
 */

const PAGE_BYTES = 65_536;

/** Two workers live at once; one that was given up may go on for a while and write its own word. */
const SLOTS = 64;

/** What a worker is told of it. */
export interface PagesStart {
  readonly words: SharedArrayBuffer;
  /** This worker's word. */
  readonly slot: number;
  readonly pagesMax: number;
}

/** The main thread's side: a word for each worker. */
export class PluginPages {
  readonly #words = new SharedArrayBuffer(SLOTS * 4);
  readonly #pagesMax: number;
  #last = 0;

  constructor(pluginMemoryBytes: number) {
    this.#pagesMax = Math.floor(pluginMemoryBytes / PAGE_BYTES);
  }

  /** For a worker that starts. */
  begin(): PagesStart {
    const slot = this.#last++ % SLOTS;
    Atomics.store(new Int32Array(this.#words), slot, 0);
    return { words: this.#words, slot, pagesMax: this.#pagesMax };
  }

  /** A worker is gone, and all that it had. */
  end({ slot }: PagesStart): void {
    Atomics.store(new Int32Array(this.#words), slot, 0);
  }
}

/** A worker's side. */
export class WorkerPages {
  readonly #words: Int32Array;
  readonly #slot: number;
  readonly #pagesMax: number;

  constructor({ words, slot, pagesMax }: PagesStart) {
    this.#words = new Int32Array(words);
    this.#slot = slot;
    this.#pagesMax = pagesMax;
  }

  /** Counts pages; false: there would be too many, and none were counted. */
  take(pages: number): boolean {
    Atomics.add(this.#words, this.#slot, pages);
    let sum = 0;
    // One that gives back what was taken from it already is below zero.
    for (const [slot] of this.#words.entries()) sum += Math.max(0, Atomics.load(this.#words, slot));
    if (sum <= this.#pagesMax) return true;
    this.give(pages);
    return false;
  }

  give(pages: number): void {
    Atomics.sub(this.#words, this.#slot, pages);
  }
}
