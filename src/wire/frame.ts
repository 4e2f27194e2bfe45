/**
 * Frames read and written where they lie: `docs/reference/wire.md` in TypeScript.
 *
 * Owns: reading and checking a frame with its extensions, writing headers. Must not know how frames
 * travel. Numbers come from the generated table, whose one source is `native/abi/atoll_abi.json`.
 * Reading allocates nothing: a reader is made once for a buffer, then pointed at frames; only what is
 * asked for becomes an object, and bytes become views.
 *
 * An arena may have up to 64 GiB, where 32-bit operators wrap. They are used for places inside of a
 * frame only; where the frame itself begins takes part in sums, products and divisions alone.
 */
import {
  CLOCK,
  DEADLINE,
  DEADLINE_SIZE,
  EXTENSION,
  EXTENSION_CRITICAL,
  EXTENSION_HEAD_SIZE,
  FAULT,
  FLAG,
  FRAME,
  FRAME_BYTES,
  FRAME_MAGIC,
  FRAME_VERSION,
  KIND,
  LEVEL,
  PART,
  PART_SIZE,
  PARTS_MAX,
  PAYLOAD,
  PAYLOAD_SIZE,
  TRACE,
  TRACE_SIZE,
} from "../../ffi/abi.gen.ts";
import { crc32c } from "./crc32c.ts";

/** Magic and version as they lie in the first word, below the kind. */
const FIRST_WORD = FRAME_MAGIC | (FRAME_VERSION << 16);
const FIRST_MASK = 0xff_ffff;
/** Bit n: kind n is known. */
const KINDS = Object.values(KIND).reduce((bits: number, kind) => bits | (1 << kind), 0);
const UNKNOWN_FLAGS = 0xffff &
  ~(FLAG.CHECKED | FLAG.END | FLAG.STDERR | FLAG.DETACHED | FLAG.ENCODING);
const NAME_BYTES_MAX = 255;
const U32 = 2 ** 32;

// Places of the fields in 32-bit words.
const FLAGS_WORD = FRAME.flags / 4;
const ID_WORD = FRAME.request_id / 4;
const TARGET_WORD = FRAME.target / 4;
const BUDGET_WORD = FRAME.budget_us / 4;
const LENGTH_WORD = FRAME.payload_length / 4;
const CRC_WORD = FRAME.crc32c / 4;
const TRACE_FLAGS_WORD = TRACE.flags / 4;
const TRACE_ID_WORD = TRACE.trace_id / 4;
const CLOCK_WORD = DEADLINE.clock / 4;
const AT_NS_WORD = DEADLINE.at_ns / 4;
const PART_WORDS = PART_SIZE / 4;

/** A payload descriptor: bytes of a slot elsewhere. */
export interface Part {
  /** 0: the library's arena. */
  readonly segment: number;
  readonly slot: number;
  /** First byte, from the slot's beginning. */
  readonly offset: number;
  readonly length: number;
}

/** An absolute time. */
export interface Deadline {
  /** `atoll_clock_t`. */
  readonly clock: number;
  readonly atNs: bigint;
}

/** W3C trace context; the ids are views into the frame. */
export interface TraceContext {
  /** 16 bytes. */
  readonly traceId: Uint8Array<ArrayBuffer>;
  /** 8 bytes. */
  readonly spanId: Uint8Array<ArrayBuffer>;
  readonly flags: number;
}

/** Reads frames in one buffer. What it says is about the frame of the last `read` without a fault. */
export class FrameReader {
  /** `atoll_kind_t`. */
  kind = 0;
  /** `atoll_flag_t` bits. */
  flags = 0;
  /** Lower and upper half of the caller's own number. */
  requestLow = 0;
  requestHigh = 0;
  /** Request: a target or engine number. Reply: the status. */
  target = 0;
  /** Time left in microseconds; 0: the door's default. */
  budgetUs = 0;
  /** Where the frame's own part of the payload begins in the buffer, and its length. */
  payloadOffset = 0;
  payloadLength = 0;
  /** Payload descriptors behind it, and the bytes they describe. */
  partsCount = 0;
  partsBytes = 0;
  readonly #buffer: ArrayBuffer;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #view: DataView<ArrayBuffer>;
  #start = 0;
  #known = 0;
  // In words from the buffer's beginning.
  #traceAt = 0;
  #deadlineAt = 0;
  #partsAt = 0;

  constructor(buffer: ArrayBuffer) {
    this.#buffer = buffer;
    this.#bytes = new Uint8Array(buffer);
    this.#words = new Uint32Array(buffer, 0, Math.floor(buffer.byteLength / 4));
    this.#view = new DataView(buffer);
  }

  /**
   * Points at the frame that begins at `offset`, a multiple of 8.
   * @param capacity bytes that are there; what lies behind the frame is not looked at
   * @param level `atoll_level_t`
   * @param remote whether the peer may be on another machine
   * @returns `atoll_fault_t`, 0: none; after another one the reader says nothing
   */
  read(offset: number, capacity: number, level: number, remote = false): number {
    if (capacity < FRAME_BYTES) return FAULT.SHORT;
    const words = this.#words;
    const at = offset / 4;
    const first = words[at]!;
    if ((first & FIRST_MASK) !== FIRST_WORD) {
      return (first & 0xffff) === FRAME_MAGIC ? FAULT.VERSION : FAULT.MAGIC;
    }
    const kind = first >>> 24;
    if (kind > 31 || (KINDS & (1 << kind)) === 0) return FAULT.KIND;
    const second = words[at + FLAGS_WORD]!;
    if ((second & UNKNOWN_FLAGS) !== 0) return FAULT.FLAGS;
    if ((second & FLAG.ENCODING) > FLAG.RKYV) return FAULT.ENCODING;
    const extensions = (second >>> 16) * 8;
    const length = words[at + LENGTH_WORD]!;
    if (FRAME_BYTES + extensions + length > capacity) return FAULT.LENGTH;
    this.kind = kind;
    this.flags = second & 0xffff;
    this.requestLow = words[at + ID_WORD]!;
    this.requestHigh = words[at + ID_WORD + 1]!;
    this.target = words[at + TARGET_WORD]!;
    this.budgetUs = words[at + BUDGET_WORD]!;
    this.payloadLength = length;
    this.payloadOffset = offset + FRAME_BYTES + extensions;
    this.partsCount = 0;
    this.partsBytes = 0;
    this.#start = offset;
    this.#known = 0;
    if ((second & FLAG.CHECKED) !== 0 || level === LEVEL.FULL) {
      if (this.#checksum(offset) !== words[at + CRC_WORD]!) return FAULT.CHECKSUM;
    }
    if (extensions === 0 || level === LEVEL.HEADER) return FAULT.NONE;
    return this.#readExtensions(at, FRAME_BYTES + extensions, level, remote);
  }

  /** What the header at `offset` says its version is, also when `read` refused it. */
  versionAt(offset: number): number {
    return this.#bytes[offset + FRAME.version]!;
  }

  /** The caller's own number. */
  get requestId(): bigint {
    return BigInt(this.requestHigh) << 32n | BigInt(this.requestLow);
  }

  /** Bytes of the frame itself. */
  get length(): number {
    return this.payloadOffset + this.payloadLength - this.#start;
  }

  /** A view of what the frame holds of the payload. */
  get payload(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#buffer, this.payloadOffset, this.payloadLength);
  }

  /** Whether there is a trace context. */
  get traced(): boolean {
    return (this.#known & (1 << EXTENSION.TRACE)) !== 0;
  }

  /** trace-flags; meaningful when there is a trace context. */
  get traceFlags(): number {
    return this.#words[this.#traceAt + TRACE_FLAGS_WORD]! & 0xff;
  }

  /**
   * The ids of the trace context as they lie, without an object: words 0 to 3 are the trace-id, 4 and 5
   * the parent-id. Good for comparing and for copying.
   */
  traceWord(place: number): number {
    return this.#words[this.#traceAt + TRACE_ID_WORD + place]!;
  }

  get trace(): TraceContext | null {
    if (!this.traced) return null;
    const at = this.#traceAt * 4;
    const bytes = this.#bytes;
    return {
      traceId: bytes.subarray(at + TRACE.trace_id, at + TRACE.span_id),
      spanId: bytes.subarray(at + TRACE.span_id, at + TRACE_SIZE),
      flags: bytes[at + TRACE.flags]!,
    };
  }

  /** The trace-id as 32 hexadecimal digits; empty when there is none. */
  get traceIdHex(): string {
    if (!this.traced) return "";
    const at = this.#traceAt * 4 + TRACE.trace_id;
    let text = "";
    for (let i = 0; i < 16; i++) text += HEX[this.#bytes[at + i]!]!;
    return text;
  }

  /** `atoll_clock_t` of the deadline; 0: there is none. */
  get deadlineClock(): number {
    const timed = (this.#known & (1 << EXTENSION.DEADLINE)) !== 0;
    return timed ? this.#words[this.#deadlineAt + CLOCK_WORD]! & 0xff : 0;
  }

  /** The deadline on its clock in milliseconds, exact to a microsecond; meaningful when there is one. */
  get deadlineMs(): number {
    const at = this.#deadlineAt + AT_NS_WORD;
    return (this.#words[at + 1]! * U32 + this.#words[at]!) / 1e6;
  }

  get deadline(): Deadline | null {
    if (this.deadlineClock === 0) return null;
    const at = this.#deadlineAt * 4;
    return {
      clock: this.#bytes[at + DEADLINE.clock]!,
      atNs: this.#view.getBigUint64(at + DEADLINE.at_ns, true),
    };
  }

  /** The payload descriptor of that place, 0 to `partsCount` - 1. */
  part(place: number): Part {
    const at = this.#partsAt + place * PART_WORDS;
    const words = this.#words;
    return {
      segment: words[at + PART.segment / 4]!,
      slot: words[at + PART.slot / 4]!,
      offset: words[at + PART.offset / 4]!,
      length: words[at + PART.length / 4]!,
    };
  }

  #checksum(offset: number): number {
    const checked = (this.flags & FLAG.CHECKED) !== 0;
    const end = this.payloadOffset + (checked ? this.payloadLength : 0);
    const before = crc32c(this.#bytes.subarray(offset, offset + FRAME.crc32c));
    return crc32c(this.#bytes.subarray(offset + FRAME_BYTES, end), crc32c(ZEROES, before));
  }

  /**
   * @param start of the frame, in words
   * @param end of the extensions, in bytes from there
   */
  #readExtensions(start: number, end: number, level: number, remote: boolean): number {
    const words = this.#words;
    let known = 0;
    for (let at = FRAME_BYTES; at < end;) {
      const word = start + (at >>> 2);
      const head = words[word]!;
      const tag = head & 0xffff;
      const length = head >>> 16;
      const last = at + EXTENSION_HEAD_SIZE + length;
      if (last > end) return FAULT.EXTENSION;
      const next = (last + 7) & ~7;
      if (level === LEVEL.FULL && !this.#zero(last, next)) return FAULT.PADDING;
      const type = tag & ~EXTENSION_CRITICAL;
      if (type > EXTENSION.PAYLOAD) {
        if (type !== tag) return FAULT.CRITICAL;
      } else if (type !== EXTENSION.PADDING) {
        if ((known & (1 << type)) !== 0) return FAULT.DUPLICATE;
        known |= 1 << type;
        const fault = this.#readKnown(type, word, length);
        if (fault !== FAULT.NONE) return fault;
      }
      at = next;
    }
    if ((known & (1 << EXTENSION.TRACE)) !== 0 && this.#untraced()) {
      known &= ~(1 << EXTENSION.TRACE);
    }
    this.#known = known;
    return remote && this.deadlineClock === CLOCK.MONOTONIC ? FAULT.CLOCK : FAULT.NONE;
  }

  /** An all-zero trace-id is none. */
  #untraced(): boolean {
    return (this.traceWord(0) | this.traceWord(1) | this.traceWord(2) | this.traceWord(3)) === 0;
  }

  /** @param at in words from the buffer's beginning */
  #readKnown(type: number, at: number, length: number): number {
    const bytes = EXTENSION_HEAD_SIZE + length;
    if (type === EXTENSION.TRACE) {
      this.#traceAt = at;
      return bytes < TRACE_SIZE ? FAULT.VALUE : FAULT.NONE;
    }
    if (type === EXTENSION.DEADLINE) {
      if (bytes < DEADLINE_SIZE) return FAULT.VALUE;
      this.#deadlineAt = at;
      const clock = this.#words[at + CLOCK_WORD]! & 0xff;
      return clock === CLOCK.MONOTONIC || clock === CLOCK.REALTIME ? FAULT.NONE : FAULT.CLOCK;
    }
    if (type === EXTENSION.PAYLOAD) return this.#readParts(at, bytes);
    // Principal and tenant are stripped by not being kept.
    return length === 0 || length > NAME_BYTES_MAX ? FAULT.VALUE : FAULT.NONE;
  }

  #readParts(at: number, bytes: number): number {
    if (bytes < PAYLOAD_SIZE) return FAULT.PARTS;
    const words = this.#words;
    const critical = words[at]! & EXTENSION_CRITICAL;
    const count = (bytes - PAYLOAD_SIZE) / PART_SIZE;
    if (critical === 0 || !Number.isInteger(count) || count === 0 || count > PARTS_MAX) {
      return FAULT.PARTS;
    }
    const first = at + PAYLOAD_SIZE / 4;
    let sum = 0;
    for (let part = first; part < first + count * PART_WORDS; part += PART_WORDS) {
      const length = words[part + PART.length / 4]!;
      if (length === 0 || words[part + PART.offset / 4]! + length >= U32) {
        return FAULT.PARTS;
      }
      sum += length;
    }
    const said = words[at + PAYLOAD.bytes / 4]!;
    if (sum !== said || sum + this.payloadLength >= U32) return FAULT.PARTS;
    this.#partsAt = first;
    this.partsCount = count;
    this.partsBytes = sum;
    return FAULT.NONE;
  }

  #zero(from: number, to: number): boolean {
    const start = this.#start;
    let seen = 0;
    for (let i = from; i < to; i++) seen |= this.#bytes[start + i]!;
    return seen === 0;
  }
}

const ZEROES = new Uint8Array(4);
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/**
 * Writes the eight words of a header for a trusted door: no checksum.
 * @param header view of those words
 * @param flags `atoll_flag_t` bits, CHECKED not among them
 * @param extensionWords length of the extensions in 8-byte words
 */
export function writeHeader(
  header: Uint32Array,
  kind: number,
  flags: number,
  extensionWords: number,
  requestLow: number,
  requestHigh: number,
  target: number,
  budgetUs: number,
  payloadLength: number,
): void {
  header[0] = FIRST_WORD | (kind << 24);
  header[FLAGS_WORD] = flags | (extensionWords << 16);
  header[ID_WORD] = requestLow;
  header[ID_WORD + 1] = requestHigh;
  header[TARGET_WORD] = target;
  header[BUDGET_WORD] = budgetUs;
  header[LENGTH_WORD] = payloadLength;
  header[CRC_WORD] = 0;
}

/**
 * Puts the checksum into the header of a frame that is otherwise complete.
 * @param frame header, extensions and payload; CHECKED in its flags covers the payload
 */
export function seal(frame: Uint8Array): void {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const checked = (view.getUint16(FRAME.flags, true) & FLAG.CHECKED) !== 0;
  const extensions = view.getUint16(FRAME.extension_words, true) * 8;
  view.setUint32(FRAME.crc32c, 0, true);
  const end = checked ? frame.length : FRAME_BYTES + extensions;
  view.setUint32(FRAME.crc32c, crc32c(frame.subarray(0, end)), true);
}
