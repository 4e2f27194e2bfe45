/**
 * The memory shared with the library: slots with frames, and the client's area with events.
 *
 * Owns: how bytes get in and out, in place where the runtime may map the arena, else by copying.
 * Must not know what frames mean: `src/wire` does.
 */
import { CHUNK_BYTES_MAX, EVENT_BYTES, EVENTS_MAX, FRAME_BYTES, SLOT_BYTES } from "./abi.gen.ts";
import { FrameReader } from "../src/wire/frame.ts";
import { bytesArgument, check, type NativeSymbols, outArgument } from "./library.ts";

/** A slot that this isolate holds and may write. */
export interface Slot {
  /** Number of the slot, in units of 64 bytes. */
  readonly index: number;
  /** Capacity in bytes, header included. */
  readonly bytes: number;
  /** The eight words of the frame header. */
  readonly header: Uint32Array<ArrayBuffer>;
  /** What follows the header. */
  readonly payload: Uint8Array<ArrayBuffer>;
}

/** Where a client's slots and events are. */
export interface ClientMemory {
  /** False: everything is copied by calls, which costs about a microsecond a call. */
  readonly mapped: boolean;
  /** The eight words of the event that `atoll_submit` wrote. */
  readonly submitted: Uint32Array<ArrayBuffer>;
  /** Eight words for each event that `atoll_reap` wrote. */
  readonly reaped: Uint32Array<ArrayBuffer>;
  /** A view of a slot that the client holds. */
  slot(index: number, bytes: number): Slot;
  /** Makes the header and `length` bytes behind it visible to the library. */
  commit(slot: Slot, length: number): void;
  /** Writes bytes into a slot from its beginning on: not a frame, but a part of a payload. */
  fill(index: number, bytes: Uint8Array): void;
  /** Makes the event of the last submit readable in `submitted`. */
  loadSubmitted(): void;
  /** Makes that many events readable in `reaped`. */
  loadReaped(count: number): void;
  /**
   * Bytes of a slot from an offset on, those of a frame without extensions by default; in mapped
   * memory valid only until the slot is given back.
   */
  payload(index: number, length: number, offset?: number): Uint8Array<ArrayBuffer>;
  /** What reads the frame in a slot of that capacity, and where the frame is for it. */
  frame(index: number, capacity: number): { readonly reader: FrameReader; readonly offset: number };
  /** The upper half of the request id in the frame of a slot. */
  requestHigh(index: number): number;
  /** Lower half of the request id of the frame in a slot. */
  requestLow(index: number): number;
  /** Makes every view of the arena unusable. */
  detach(): void;
}

const HEADER_WORDS = FRAME_BYTES / 4;
const EVENT_WORDS = EVENT_BYTES / 4;
const REQUEST_LOW_WORD = 2;
const REQUEST_HIGH_WORD = 3;
/** Events of atoll_reap begin here in the client's area. */
const REAPED_OFFSET = 64;

/** Memory that is read and written in place. */
export class MappedMemory implements ClientMemory {
  readonly mapped = true;
  readonly submitted: Uint32Array<ArrayBuffer>;
  readonly reaped: Uint32Array<ArrayBuffer>;
  readonly #arena: ArrayBuffer;
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #reader: FrameReader;

  /** @param arena view of the whole arena, this client's own */
  constructor(arena: ArrayBuffer, areaSlot: number) {
    const area = areaSlot * SLOT_BYTES;
    this.#arena = arena;
    this.#words = new Uint32Array(arena);
    this.#reader = new FrameReader(arena);
    this.submitted = new Uint32Array(arena, area, EVENT_WORDS);
    this.reaped = new Uint32Array(arena, area + REAPED_OFFSET, EVENT_WORDS * EVENTS_MAX);
  }

  slot(index: number, bytes: number): Slot {
    const offset = index * SLOT_BYTES;
    return {
      index,
      bytes,
      header: new Uint32Array(this.#arena, offset, HEADER_WORDS),
      payload: new Uint8Array(this.#arena, offset + FRAME_BYTES, bytes - FRAME_BYTES),
    };
  }

  commit(): void {}

  fill(index: number, bytes: Uint8Array): void {
    new Uint8Array(this.#arena, index * SLOT_BYTES, bytes.length).set(bytes);
  }

  loadSubmitted(): void {}

  loadReaped(): void {}

  payload(index: number, length: number, offset = FRAME_BYTES): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#arena, index * SLOT_BYTES + offset, length);
  }

  frame(index: number): { reader: FrameReader; offset: number } {
    return { reader: this.#reader, offset: index * SLOT_BYTES };
  }

  requestHigh(index: number): number {
    return this.#words[index * (SLOT_BYTES / 4) + REQUEST_HIGH_WORD] ?? 0;
  }

  requestLow(index: number): number {
    return this.#words[index * (SLOT_BYTES / 4) + REQUEST_LOW_WORD] ?? 0;
  }

  detach(): void {
    // The memory itself stays; transfer() takes the views away from whoever kept one.
    if (!this.#arena.detached) this.#arena.transfer(0);
  }
}

/** Memory behind the library's copy functions, for a runtime that may not map the arena. */
export class CopiedMemory implements ClientMemory {
  readonly mapped = false;
  readonly submitted: Uint32Array<ArrayBuffer>;
  readonly reaped: Uint32Array<ArrayBuffer>;
  readonly #submittedBytes = outArgument(EVENT_BYTES);
  readonly #reapedBytes = outArgument(EVENT_BYTES * EVENTS_MAX);
  readonly #headerBytes = outArgument(FRAME_BYTES);

  constructor(
    private readonly symbols: NativeSymbols,
    private readonly client: number,
    private readonly areaSlot: number,
  ) {
    this.submitted = new Uint32Array(this.#submittedBytes.buffer);
    this.reaped = new Uint32Array(this.#reapedBytes.buffer);
  }

  slot(index: number, bytes: number): Slot {
    const own = new ArrayBuffer(bytes);
    return {
      index,
      bytes,
      header: new Uint32Array(own, 0, HEADER_WORDS),
      payload: new Uint8Array(own, FRAME_BYTES),
    };
  }

  commit(slot: Slot, length: number): void {
    this.fill(slot.index, new Uint8Array(slot.header.buffer, 0, FRAME_BYTES + length));
  }

  fill(index: number, bytes: Uint8Array): void {
    const argument = bytesArgument(bytes);
    const status = this.symbols.atoll_copy_in(this.client, index, argument, bytes.length);
    check(this.symbols, status, "Cannot copy into the arena");
  }

  loadSubmitted(): void {
    this.#copyOut(this.areaSlot, 0, this.#submittedBytes, EVENT_BYTES);
  }

  loadReaped(count: number): void {
    if (count === 0) return;
    this.#copyOut(this.areaSlot, REAPED_OFFSET, this.#reapedBytes, count * EVENT_BYTES);
  }

  payload(index: number, length: number, offset = FRAME_BYTES): Uint8Array<ArrayBuffer> {
    const bytes = outArgument(length);
    if (length > 0) this.#copyOut(index, offset, bytes, length);
    return bytes;
  }

  frame(index: number, capacity: number): { reader: FrameReader; offset: number } {
    return { reader: new FrameReader(this.payload(index, capacity, 0).buffer), offset: 0 };
  }

  requestHigh(index: number): number {
    this.#copyOut(index, 0, this.#headerBytes, FRAME_BYTES);
    return new Uint32Array(this.#headerBytes.buffer)[REQUEST_HIGH_WORD] ?? 0;
  }

  requestLow(index: number): number {
    this.#copyOut(index, 0, this.#headerBytes, FRAME_BYTES);
    return new Uint32Array(this.#headerBytes.buffer)[REQUEST_LOW_WORD] ?? 0;
  }

  detach(): void {}

  #copyOut(slot: number, offset: number, bytes: Uint8Array<ArrayBuffer>, length: number): void {
    const status = this.symbols.atoll_copy_out(this.client, slot, offset, bytes, length);
    check(this.symbols, status, "Cannot copy out of the arena");
  }
}

/** Capacity of the slots that are kept for the next call: most arguments and results fit. */
const KEPT_BYTES = 4096;
/** How many are kept; beyond it they go back to the other clients of the process. */
const KEPT_MAX = 32;
/** A 64 KiB slot, the largest class; more than that has to lie in a row. */
export const LARGEST_CLASS = CHUNK_BYTES_MAX + FRAME_BYTES;

/** The slots of one client, the last used ones kept at hand. */
export class SlotCache {
  readonly #kept: Slot[] = [];

  constructor(
    private readonly symbols: NativeSymbols,
    private readonly client: number,
    private readonly memory: ClientMemory,
  ) {}

  /** A slot for a payload of so many bytes; null when the arena has none left. */
  take(payloadBytes: number): Slot | null {
    const bytes = payloadBytes + FRAME_BYTES;
    if (bytes <= KEPT_BYTES) {
      const kept = this.#kept.pop();
      if (kept) return kept;
      return this.#takeNew(KEPT_BYTES);
    }
    return this.#takeNew(bytes);
  }

  /** A 64 KiB slot, for a chunk of a body. */
  takeChunk(): Slot | null {
    return this.#takeNew(LARGEST_CLASS);
  }

  /** The number of a 64 KiB slot, for a part of a payload; 0 when the arena has none left. */
  takeLargest(): number {
    return this.symbols.atoll_slot_take(this.client, LARGEST_CLASS);
  }

  #takeNew(bytes: number): Slot | null {
    const index = this.symbols.atoll_slot_take(this.client, bytes);
    return index === 0 ? null : this.memory.slot(index, bytes);
  }

  /** Takes back a slot that is this isolate's again. */
  put(slot: Slot): void {
    if (slot.bytes === KEPT_BYTES && this.#kept.length < KEPT_MAX) this.#kept.push(slot);
    else this.give(slot.index);
  }

  /** Gives a slot back to the library. */
  give(index: number): void {
    this.symbols.atoll_slot_give(this.client, index);
  }

  /** Gives back everything that is kept. */
  clear(): void {
    for (const slot of this.#kept) this.give(slot.index);
    this.#kept.length = 0;
  }
}
