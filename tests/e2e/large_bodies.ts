/**
 * A client for bodies larger than any memory: sends and receives them by pieces over one socket, as
 * fast as the server goes or standing still for a while.
 *
 * Owns: HTTP/1.1 as far as such an exchange needs it. Must not know what the server is.
 */
import { connect, type Socket } from "node:net";

/** What is sent again and again; no period of a power of two, so that a lost chunk shows in a sum. */
const PIECE = Uint8Array.from({ length: 65_521 }, (_, index) => (index * 31) % 251);

export interface LargeExchange {
  readonly port: number;
  readonly method: string;
  readonly path: string;
  /** Bytes of the request's body; absent: none. */
  readonly send?: number;
  /** The most that is sent before it has come back; absent: as fast as the server takes it. */
  readonly ahead?: number;
  /** The client reads nothing for so long, once it has received the first mebibyte. */
  readonly stallMs?: number;
}

export interface Progress {
  /** Bytes of the request's body that the client's socket took. */
  sent: number;
  /** Bytes of the response's body. */
  received: number;
}

export interface LargeAnswer extends Progress {
  readonly status: number;
  /** Sum of the response's bytes. */
  readonly sum: number;
  /** The body, if it is short. */
  readonly text: string;
}

const STALL_AT = 1024 * 1024;
const SHORT = 1024;

/** Makes an exchange and rejects unless the response's body came to its end. */
export function exchangeLarge(exchange: LargeExchange): Promise<LargeAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect(exchange.port, "127.0.0.1");
    const progress = { sent: 0, received: 0 };
    const body = new ResponseBody();
    let stalled = exchange.stallMs === undefined;
    const done = () => {
      const { status, sum } = body;
      resolve({ ...progress, status, sum, text: new TextDecoder().decode(body.begin) });
      socket.destroy();
    };
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`closed after ${progress.received} bytes`)));
    let goOn = () => {};
    const turn = async () => {
      const { ahead = Infinity } = exchange;
      while (progress.sent - progress.received > ahead && !socket.destroyed) {
        await new Promise<void>((resolve) => goOn = resolve);
      }
    };
    socket.on("data", (bytes) => {
      body.push(bytes);
      progress.received = body.length;
      goOn();
      if (body.complete) return done();
      if (stalled || body.length < STALL_AT) return;
      stalled = true;
      socket.pause();
      setTimeout(() => socket.resume(), exchange.stallMs);
    });
    const { method, path, send, port } = exchange;
    const length = send === undefined ? "" : `Content-Length: ${send}\r\n`;
    socket.write(`${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${length}\r\n`);
    if (send !== undefined) void sendBody(socket, send, progress, turn);
  });
}

/** Sends a body until it is sent or the socket is closed; before each piece it waits for `turn`. */
export async function sendBody(
  socket: Socket,
  bytes: number,
  progress: Progress,
  turn: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  while (progress.sent < bytes && !socket.destroyed) {
    const piece = PIECE.subarray(0, Math.min(PIECE.length, bytes - progress.sent));
    if (!socket.write(piece)) await drained(socket);
    progress.sent += piece.length;
    await turn();
  }
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      socket.off("drain", done);
      socket.off("close", done);
      resolve();
    };
    socket.on("drain", done);
    socket.on("close", done);
  });
}

/** The sum of the bytes of a body of that length, as {@link sendBody} sends it. */
export function sumOfBody(bytes: number): number {
  const whole = Math.floor(bytes / PIECE.length);
  return whole * sumOf(PIECE) + sumOf(PIECE.subarray(0, bytes % PIECE.length));
}

function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += bytes[i]!;
  return sum;
}

/** A response of which only counts and the beginning are kept. */
class ResponseBody {
  status = 0;
  length = 0;
  sum = 0;
  complete = false;
  begin = new Uint8Array(0);
  #state: "line" | "data" = "line";
  /** What is not understood yet: of the head, or of the line that begins a chunk. */
  #text = "";
  #chunked = true;
  /** Bytes left of the chunk, or of the body that is not chunked. */
  #left = 0;

  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length && !this.complete;) {
      at += this.#state === "data" ? this.#data(bytes, at) : this.#line(bytes, at);
    }
  }

  #data(bytes: Uint8Array, at: number): number {
    const data = bytes.subarray(at, at + this.#left);
    this.length += data.length;
    this.sum += sumOf(data);
    if (this.begin.length < SHORT) {
      this.begin = Uint8Array.from([...this.begin, ...data.subarray(0, SHORT)]);
    }
    this.#left -= data.length;
    if (this.#left === 0) {
      this.#state = "line";
      this.complete = !this.#chunked;
    }
    return data.length;
  }

  #line(bytes: Uint8Array, at: number): number {
    const end = bytes.indexOf(0x0a, at);
    const stop = end === -1 ? bytes.length : end + 1;
    this.#text += new TextDecoder("latin1").decode(bytes.subarray(at, stop));
    if (end !== -1) this.#take();
    return stop - at;
  }

  /** A line is complete: one of the head's, the end of a chunk, or the size of the next. */
  #take(): void {
    if (this.status === 0) {
      if (!this.#text.endsWith("\r\n\r\n")) return;
      this.status = Number(/^HTTP\/1\.1 (\d{3})/.exec(this.#text)?.[1]);
      const length = /^content-length: (\d+)/im.exec(this.#text)?.[1];
      if (length !== undefined) {
        this.#chunked = false;
        this.#begin(Number(length));
      }
    } else if (this.#text !== "\r\n") {
      this.#begin(Number.parseInt(this.#text, 16));
    }
    this.#text = "";
  }

  #begin(length: number): void {
    this.#left = length;
    this.#state = "data";
    this.complete = length === 0;
  }
}
