/**
 * What a call can come to, and what waits for it.
 *
 * Owns: the shape of a reply and the waiting side of a plain call. Must not know how events arrive.
 */
import type { NativeError } from "./errors.ts";

/** The one end of a call. */
export interface Reply {
  /** `atoll_status_t`. */
  readonly status: number;
  /** `atoll_flag_t` bits of the reply's frame. */
  readonly flags: number;
  /** Time since submit in microseconds. */
  readonly elapsedUs: number;
  /** JSON text: the value, or what came with an error; empty for a raw payload. */
  readonly text: string;
  /** A raw payload, a private copy; null for text. */
  readonly bytes: Uint8Array<ArrayBuffer> | null;
}

/** A call that did not end inline. */
export interface PendingCall {
  /** The call's number at the library. */
  ticket: number;
  /** Head of a response whose body follows. */
  onHead(payload: Uint8Array<ArrayBuffer>): void;
  /** A chunk of the response body, a private copy. */
  onBody(chunk: Uint8Array<ArrayBuffer>): void;
  /** The guest took that many request-body chunks. */
  onCredit(chunks: number): void;
  /** The end; nothing comes after it. */
  onReply(reply: Reply): void;
  /** The client is gone before the reply. */
  onLost(error: NativeError): void;
}

/** A call without a streamed body. */
export class PlainCall implements PendingCall {
  ticket = 0;
  readonly promise: Promise<Reply>;
  #resolve!: (reply: Reply) => void;
  #reject!: (error: NativeError) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  onHead(): void {}
  onBody(): void {}
  onCredit(): void {}

  onReply(reply: Reply): void {
    this.#resolve(reply);
  }

  onLost(error: NativeError): void {
    this.#reject(error);
  }
}
