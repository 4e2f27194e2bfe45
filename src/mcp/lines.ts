/**
 * Cuts a stream of bytes into lines.
 *
 * Owns: newlines and the length of a line. Must not know what a line holds.
 */

const NEWLINE = 0x0a;

/** Lines without their newline; null in the place of one that was over the limit. */
export class LineSplitter {
  #parts: Uint8Array[] = [];
  #length = 0;
  #tooLong = false;

  /** @param limit The longest line in bytes; the rest of a longer one is dropped unread. */
  constructor(readonly limit: number) {}

  *push(chunk: Uint8Array): Generator<Uint8Array | null> {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      this.#add(chunk.subarray(start, end));
      yield this.#take();
      start = end + 1;
    }
    // The stream may use the chunk's memory again.
    if (start < chunk.length) this.#add(chunk.slice(start));
  }

  /** The last line when it has no newline. */
  *end(): Generator<Uint8Array | null> {
    if (this.#length > 0) yield this.#take();
  }

  #add(part: Uint8Array): void {
    this.#length += part.length;
    if (this.#length > this.limit) {
      this.#tooLong = true;
      this.#parts = [];
    } else if (part.length > 0) {
      this.#parts.push(part);
    }
  }

  #take(): Uint8Array | null {
    const parts = this.#parts;
    const tooLong = this.#tooLong;
    const length = this.#length;
    this.#parts = [];
    this.#length = 0;
    this.#tooLong = false;
    if (tooLong) return null;
    if (parts.length === 1) return parts[0] ?? null;
    const line = new Uint8Array(length);
    let offset = 0;
    for (const part of parts) {
      line.set(part, offset);
      offset += part.length;
    }
    return line;
  }
}
