/**
 * Standard output and error of one call: counted together, sent line by line.
 */
import type { CallGuard } from "./portable_guard.ts";
import { ALWAYS, type Sink, STREAM_BYTES_MAX } from "./portable_io.ts";

/** Most bytes of one line; a longer one becomes several. */
const LINE_BYTES_MAX = 8 * 1024;

/** What a line counts for at least, in bytes: each one is a message of its own. */
const LINE_COST_MIN = 16;

type StreamName = "stdout" | "stderr";

export class GuestOutput {
  readonly #guard: CallGuard;
  readonly #send: (stream: StreamName, text: string) => void;
  readonly #rest: Record<StreamName, number[]> = { stdout: [], stderr: [] };
  #left: number;

  constructor(guard: CallGuard, send: (stream: StreamName, text: string) => void) {
    this.#guard = guard;
    this.#send = send;
    this.#left = guard.limits.logBytes;
  }

  /** Another call of the same instance begins. */
  renew(): void {
    this.#left = this.#guard.limits.logBytes;
  }

  sink(stream: StreamName): Sink {
    return {
      ...ALWAYS,
      room: () => STREAM_BYTES_MAX,
      write: (bytes) => this.#write(stream, bytes),
    };
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
    this.#send(stream, text.replace(/\r$/, ""));
  }
}
