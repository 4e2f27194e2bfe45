/**
 * `wasi:io` for guests of the portable engine: streams, pollables, errors.
 *
 * Guests are synchronous, so waiting blocks the worker's thread; see `CallGuard.wait`. Classes and
 * members have the names that jco's code looks up. Must not know what the streams carry.
 * Source: wasi:io 0.2.
 */
import { type CallGuard } from "./portable_guard.ts";

/** Bytes a stream takes or gives in one go. */
export const STREAM_BYTES_MAX = 64 * 1024;

/** `stream-error` as jco has it. */
export type StreamError = { tag: "closed" } | { tag: "last-operation-failed"; val: IoError };

/** Something the guest holds a handle of. */
export class HostResource {
  readonly guard: CallGuard;
  #alive = true;
  #heldBytes = 0;

  constructor(guard: CallGuard) {
    this.guard = guard;
    guard.resource(1);
  }

  [Symbol.dispose](): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.guard.resource(-1);
    this.guard.hold(-this.#heldBytes);
    this.disposed();
  }

  /** Counts what the host keeps in it for the guest, until the guest lets go; negative: no longer. */
  protected hold(bytes: number): void {
    this.#heldBytes += bytes;
    this.guard.hold(bytes);
  }

  /** The guest let go of it. */
  protected disposed(): void {}
}

/** The resource `error`. */
export class IoError extends HostResource {
  constructor(guard: CallGuard, readonly text: string) {
    super(guard);
  }

  toDebugString(): string {
    return this.text;
  }
}

/** What a pollable waits for. */
export interface Condition {
  /** Whether it has come. */
  ready(): boolean;
  /** Milliseconds until it is worth looking again; Infinity: only a wake can change it. */
  readonly inMs: () => number;
}

export const ALWAYS: Condition = { ready: () => true, inMs: () => 0 };

export class Pollable extends HostResource {
  constructor(guard: CallGuard, readonly condition: Condition) {
    super(guard);
  }

  ready(): boolean {
    this.guard.charge();
    return this.condition.ready();
  }

  block(): void {
    waitFor(this.guard, this.condition);
  }
}

/** `poll`: indices of those that are ready, after waiting for the first. */
export function poll(list: readonly Pollable[]): Uint32Array {
  const guard = list[0]?.guard;
  // An empty list traps by the specification; jco turns this into a trap.
  if (guard === undefined) throw new WebAssembly.RuntimeError("poll of an empty list");
  for (;;) {
    const seen = guard.wakes;
    const ready: number[] = [];
    let inMs = Infinity;
    for (const [index, { condition }] of list.entries()) {
      guard.charge();
      if (condition.ready()) ready.push(index);
      else inMs = Math.min(inMs, condition.inMs());
    }
    if (ready.length > 0) return Uint32Array.from(ready);
    guard.wait(inMs, seen);
  }
}

function waitFor(guard: CallGuard, condition: Condition): void {
  guard.charge();
  for (;;) {
    const seen = guard.wakes;
    if (condition.ready()) return;
    guard.wait(condition.inMs(), seen);
  }
}

/** Where an input stream's bytes come from. */
export interface Source extends Condition {
  /** Up to `most` bytes; empty when there are none yet, null at the end. Throws a StreamError. */
  read(most: number): Uint8Array | null;
}

export class InputStream extends HostResource {
  constructor(guard: CallGuard, readonly source: Source) {
    super(guard);
  }

  read(length: bigint): Uint8Array {
    this.guard.charge();
    const most = length > BigInt(STREAM_BYTES_MAX) ? STREAM_BYTES_MAX : Number(length);
    const bytes = this.source.read(most);
    if (bytes === null) throw { tag: "closed" } satisfies StreamError;
    this.guard.chargeBytes(bytes.length);
    return bytes;
  }

  blockingRead(length: bigint): Uint8Array {
    if (length > 0n) waitFor(this.guard, this.source);
    return this.read(length);
  }

  skip(length: bigint): bigint {
    return BigInt(this.read(length).length);
  }

  blockingSkip(length: bigint): bigint {
    return BigInt(this.blockingRead(length).length);
  }

  subscribe(): Pollable {
    return new Pollable(this.guard, this.source);
  }
}

/** Where an output stream's bytes go. */
export interface Sink extends Condition {
  /** Bytes it takes now; 0 while it is not ready. Throws a StreamError. */
  room(): number;
  write(bytes: Uint8Array): void;
}

export class OutputStream extends HostResource {
  constructor(guard: CallGuard, readonly sink: Sink) {
    super(guard);
  }

  checkWrite(): bigint {
    this.guard.charge();
    return BigInt(this.sink.room());
  }

  write(contents: Uint8Array): void {
    this.guard.charge();
    if (contents.length > this.sink.room()) {
      throw new WebAssembly.RuntimeError("a write is larger than check-write allowed");
    }
    this.guard.chargeBytes(contents.length);
    // A copy: what jco hands over may be a view of the guest's memory.
    if (contents.length > 0) this.sink.write(contents.slice());
  }

  blockingWriteAndFlush(contents: Uint8Array): void {
    let rest = contents;
    do {
      waitFor(this.guard, this.sink);
      const room = Math.min(this.sink.room(), rest.length);
      this.write(rest.subarray(0, room));
      rest = rest.subarray(room);
    } while (rest.length > 0);
  }

  flush(): void {
    this.guard.charge();
    this.sink.room();
  }

  blockingFlush(): void {
    waitFor(this.guard, this.sink);
    this.sink.room();
  }

  subscribe(): Pollable {
    return new Pollable(this.guard, this.sink);
  }

  writeZeroes(length: bigint): void {
    this.write(
      new Uint8Array(Number(length > BigInt(STREAM_BYTES_MAX) ? STREAM_BYTES_MAX + 1 : length)),
    );
  }

  blockingWriteZeroesAndFlush(length: bigint): void {
    // The specification allows up to 4096.
    this.blockingWriteAndFlush(new Uint8Array(Math.min(Number(length), STREAM_BYTES_MAX)));
  }

  splice(from: InputStream, length: bigint): bigint {
    const room = BigInt(this.sink.room());
    const bytes = from.read(length < room ? length : room);
    this.write(bytes);
    return BigInt(bytes.length);
  }

  blockingSplice(from: InputStream, length: bigint): bigint {
    waitFor(this.guard, this.sink);
    waitFor(this.guard, from.source);
    return this.splice(from, length);
  }
}

/** A stream that is at its end. */
export const NO_INPUT: Source = { ...ALWAYS, read: () => null };
