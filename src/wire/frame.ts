/**
 * The 32-byte frame header: the same at every door.
 *
 * Owns: reading, writing and checking a header and its checksum. Must not know how frames travel.
 * Field places and flag bits come from the generated table, whose one source is
 * `native/abi/atoll_abi.json`.
 */
import { FLAG, FRAME, FRAME_BYTES, FRAME_MAGIC, FRAME_VERSION, KIND } from "../../ffi/abi.gen.ts";

/** Fields of a header; magic and version are fixed. */
export interface FrameHeader {
  /** `atoll_kind_t`. */
  readonly kind: number;
  /** `atoll_flag_t` bits. */
  readonly flags: number;
  /** Length of the extensions in 8-byte words. */
  readonly extensionWords: number;
  /** The caller's own number, copied into the reply. */
  readonly requestId: bigint;
  /** Request: a target or engine number. Reply: the status. */
  readonly target: number;
  /** Time left in microseconds; 0: the door's default. */
  readonly budgetUs: number;
  /** Bytes of payload. */
  readonly payloadLength: number;
  /** CRC-32C over the frame with this field as zero; meaningful with the flag CHECKED. */
  readonly crc32c: number;
}

const KINDS: ReadonlySet<number> = new Set(Object.values(KIND));
const KNOWN_FLAGS = FLAG.CHECKED | FLAG.END | FLAG.STDERR | FLAG.DETACHED | FLAG.ENCODING;

/**
 * Writes a header at `offset`.
 * @throws RangeError when there is no room for 32 bytes
 */
export function encodeHeader(header: FrameHeader, into: Uint8Array, offset = 0): void {
  const view = new DataView(into.buffer, into.byteOffset + offset, FRAME_BYTES);
  view.setUint16(FRAME.magic, FRAME_MAGIC, true);
  view.setUint8(FRAME.version, FRAME_VERSION);
  view.setUint8(FRAME.kind, header.kind);
  view.setUint16(FRAME.flags, header.flags, true);
  view.setUint16(FRAME.extension_words, header.extensionWords, true);
  view.setBigUint64(FRAME.request_id, header.requestId, true);
  view.setUint32(FRAME.target, header.target, true);
  view.setUint32(FRAME.budget_us, header.budgetUs, true);
  view.setUint32(FRAME.payload_length, header.payloadLength, true);
  view.setUint32(FRAME.crc32c, header.crc32c, true);
}

/** Reads a header at `offset` without judging it; call {@link frameFault} first. */
export function decodeHeader(from: Uint8Array, offset = 0): FrameHeader {
  const view = new DataView(from.buffer, from.byteOffset + offset, FRAME_BYTES);
  return {
    kind: view.getUint8(FRAME.kind),
    flags: view.getUint16(FRAME.flags, true),
    extensionWords: view.getUint16(FRAME.extension_words, true),
    requestId: view.getBigUint64(FRAME.request_id, true),
    target: view.getUint32(FRAME.target, true),
    budgetUs: view.getUint32(FRAME.budget_us, true),
    payloadLength: view.getUint32(FRAME.payload_length, true),
    crc32c: view.getUint32(FRAME.crc32c, true),
  };
}

/** Bytes of the whole frame a header announces. */
export function frameLength(header: FrameHeader): number {
  return FRAME_BYTES + header.extensionWords * 8 + header.payloadLength;
}

/**
 * What is wrong with a frame, as one line, or null. The bytes must not change afterwards.
 * @param frame exactly one frame: header, extensions, payload
 */
export function frameFault(frame: Uint8Array): string | null {
  if (frame.length < FRAME_BYTES) {
    return `a frame has ${frame.length} bytes, its header alone ${FRAME_BYTES}`;
  }
  const view = new DataView(frame.buffer, frame.byteOffset, FRAME_BYTES);
  const magic = view.getUint16(FRAME.magic, true);
  if (magic !== FRAME_MAGIC) return `magic is 0x${magic.toString(16)}`;
  const version = view.getUint8(FRAME.version);
  if (version !== FRAME_VERSION) return `version is ${version}, supported is ${FRAME_VERSION}`;
  const header = decodeHeader(frame);
  if (!KINDS.has(header.kind)) return `kind ${header.kind} is unknown`;
  const unknown = header.flags & ~KNOWN_FLAGS;
  if (unknown !== 0) return `flags 0x${unknown.toString(16)} are unknown`;
  const announced = frameLength(header);
  if (announced !== frame.length) {
    return `the header announces ${announced} bytes, there are ${frame.length}`;
  }
  if ((header.flags & FLAG.CHECKED) !== 0) {
    const crc = frameChecksum(frame);
    if (crc !== header.crc32c) return "the checksum does not match";
  }
  return null;
}

/** CRC-32C of a frame, its own field taken as zero. */
export function frameChecksum(frame: Uint8Array): number {
  const before = crc32c(frame.subarray(0, FRAME.crc32c), 0);
  const field = crc32c(ZEROES, before);
  return crc32c(frame.subarray(FRAME.crc32c + ZEROES.length), field);
}

const ZEROES = new Uint8Array(4);
/** Castagnoli's polynomial, bits reversed (RFC 3720, appendix B.4). */
const POLYNOMIAL = 0x82f63b78;
/**
 * What a byte does to the checksum when k bytes follow it, for k from 0 to 7. Eight lookups a step do
 * not wait for each other (slicing by eight, Kounavis and Berry, 2005): here five times as fast as
 * one byte at a time.
 */
const TABLES = Array.from({ length: 8 }, () => new Uint32Array(256));
const [T0, T1, T2, T3, T4, T5, T6, T7] = TABLES as [
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
];
for (let byte = 0; byte < 256; byte++) {
  let value = byte;
  for (const table of TABLES) {
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? POLYNOMIAL : 0);
    table[byte] = value;
  }
}

/**
 * CRC-32C of bytes, continued from the checksum of what came before.
 * @param before 0 at the beginning
 */
export function crc32c(bytes: Uint8Array, before = 0): number {
  const length = bytes.length;
  let value = ~before;
  let i = 0;
  for (; i + 8 <= length; i += 8) {
    value = T7[(value ^ bytes[i]!) & 0xff]! ^
      T6[((value >>> 8) ^ bytes[i + 1]!) & 0xff]! ^
      T5[((value >>> 16) ^ bytes[i + 2]!) & 0xff]! ^
      T4[(value >>> 24) ^ bytes[i + 3]!]! ^
      T3[bytes[i + 4]!]! ^ T2[bytes[i + 5]!]! ^ T1[bytes[i + 6]!]! ^ T0[bytes[i + 7]!]!;
  }
  for (; i < length; i++) value = (value >>> 8) ^ T0[(value ^ bytes[i]!) & 0xff]!;
  return ~value >>> 0;
}
