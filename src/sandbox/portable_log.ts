/**
 * What one call writes and logs: counted together, sent line by line.
 */
import { Buffer } from "node:buffer";
import type { CallGuard } from "./portable_guard.ts";
import type { GuestLevel, GuestLine } from "./sandbox.ts";
import { ALWAYS, type Sink, STREAM_BYTES_MAX } from "./portable_io.ts";

/** Most bytes of one line; a longer one becomes several. */
const LINE_BYTES_MAX = 8 * 1024;

/** Most bytes of a message's context; the rest of it is left out. */
const CONTEXT_BYTES_MAX = 256;

/** What a line counts for at least, in bytes: each one is a message of its own. */
const LINE_COST_MIN = 16;

type StreamName = "stdout" | "stderr";

export class GuestOutput {
  readonly #guard: CallGuard;
  readonly #send: (line: GuestLine) => void;
  readonly #rest: Record<StreamName, number[]> = { stdout: [], stderr: [] };
  #left: number;

  constructor(guard: CallGuard, send: (line: GuestLine) => void) {
    this.#guard = guard;
    this.#send = send;
    this.#left = guard.limits.logBytes;
  }

  /** Another call of the same instance begins. */
  renew(): void {
    this.#left = this.#guard.limits.logBytes;
  }

  /** Whether there is room for a line of the host's; takes the room. */
  afford(bytes: number): boolean {
    const cost = Math.max(LINE_COST_MIN, bytes);
    const fits = cost <= this.#left;
    if (fits) this.#left -= cost;
    return fits;
  }

  sink(stream: StreamName): Sink {
    return {
      ...ALWAYS,
      room: () => STREAM_BYTES_MAX,
      write: (bytes) => this.#write(stream, bytes),
    };
  }

  /** Takes a message of `wasi:logging`, as many lines as it takes. */
  message(level: GuestLevel, context: string, message: string): void {
    const belongs = beginning(Buffer.from(context), CONTEXT_BYTES_MAX).toString()
      // As the native engine, for which a context ends at the first zero.
      .replaceAll("\0", "\u{fffd}");
    const before = Buffer.byteLength(belongs) + 1;
    let rest = Buffer.from(message);
    do {
      const piece = beginning(rest, LINE_BYTES_MAX);
      rest = rest.subarray(piece.length);
      const cost = Math.max(LINE_COST_MIN, before + piece.length);
      const text = beginning(piece, Math.max(0, this.#left - before));
      if (cost <= this.#left || text.length > 0) {
        const named = belongs === "" ? {} : { context: belongs };
        this.#send({ stream: "logging", level, ...named, text: text.toString() });
      }
      if (cost > this.#left) {
        this.#left = 0;
        this.#guard.fail("log");
      }
      this.#left -= cost;
    } while (rest.length > 0);
  }

  /** Sends what has no line feed at its end. */
  finish(): void {
    for (const stream of ["stdout", "stderr"] as const) {
      if (this.#rest[stream].length > 0) this.#line(stream);
    }
  }

  #write(stream: StreamName, bytes: Uint8Array): void {
    const rest = this.#rest[stream];
    for (const byte of bytes) {
      const cost = byte === 0x0a ? Math.max(1, LINE_COST_MIN - rest.length) : 1;
      if (cost > this.#left) {
        // The beginning that still fitted tells what the guest was about to say.
        this.#left = 0;
        this.#guard.fail("log");
      }
      this.#left -= cost;
      if (byte !== 0x0a) rest.push(byte);
      if (byte === 0x0a || rest.length >= LINE_BYTES_MAX) this.#line(stream);
    }
  }

  #line(stream: StreamName): void {
    const text = new TextDecoder().decode(Uint8Array.from(this.#rest[stream]));
    this.#rest[stream].length = 0;
    const level = stream === "stdout" ? "info" : "warn";
    this.#send({ stream, level, text: text.replace(/\r$/, "") });
  }
}

/** At most so many bytes, with no character cut. */
function beginning(text: Buffer, bytesMax: number): Buffer {
  if (text.length <= bytesMax) return text;
  let end = bytesMax;
  while (end > 0 && (text[end]! & 0xc0) === 0x80) end--;
  return text.subarray(0, end);
}
