/**
 * Extensions as bytes to be put behind a frame's header.
 *
 * Owns: writing extensions, `traceparent` to bytes. Must not know frames' headers. Reading is in
 * `frame.ts`. Each function gives whole 8-byte words, so that results can be put side by side.
 */
import {
  DEADLINE,
  DEADLINE_SIZE,
  EXTENSION,
  EXTENSION_CRITICAL,
  EXTENSION_HEAD,
  EXTENSION_HEAD_SIZE,
  PART,
  PART_SIZE,
  PARTS_MAX,
  PAYLOAD,
  PAYLOAD_SIZE,
  TRACE,
  TRACE_SIZE,
} from "../../ffi/abi.gen.ts";
import type { Deadline, Part } from "./frame.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** An extension of any type with that value. */
export function extension(tag: number, value: Uint8Array): Bytes {
  const bytes = blank(tag, EXTENSION_HEAD_SIZE + value.length);
  bytes.set(value, EXTENSION_HEAD_SIZE);
  return bytes;
}

/** A trace context from bytes of 16, 8 and 1. */
export function traceExtension(traceId: Uint8Array, spanId: Uint8Array, flags: number): Bytes {
  const bytes = blank(EXTENSION.TRACE, TRACE_SIZE);
  bytes[TRACE.flags] = flags;
  bytes.set(traceId, TRACE.trace_id);
  bytes.set(spanId, TRACE.span_id);
  return bytes;
}

// Version 00 has exactly these four fields; a later one may have more behind them.
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const ALL_ZERO = /^0+$/;

/**
 * The extension of a `traceparent` field, or null for one that is to be ignored.
 * Source: W3C Trace Context, section 3.2.
 */
export function traceparentExtension(field: string): Bytes | null {
  const found = fieldsOf(field);
  if (found === null) return null;
  const bytes = blank(EXTENSION.TRACE, TRACE_SIZE);
  bytes[TRACE.flags] = parseInt(found.flags, 16);
  setHex(bytes, TRACE.trace_id, found.traceId);
  setHex(bytes, TRACE.span_id, found.spanId);
  return bytes;
}

/** The trace-id of a `traceparent` field, or null as above. */
export function traceIdOf(field: string): string | null {
  return fieldsOf(field)?.traceId ?? null;
}

function fieldsOf(field: string): { traceId: string; spanId: string; flags: string } | null {
  const [, version, traceId = "", spanId = "", flags = "", more] = TRACEPARENT.exec(field) ?? [];
  if (version === undefined || version === "ff") return null;
  if (version === "00" && more !== undefined) return null;
  return ALL_ZERO.test(traceId) || ALL_ZERO.test(spanId) ? null : { traceId, spanId, flags };
}

/** An absolute deadline. */
export function deadlineExtension({ clock, atNs }: Deadline): Bytes {
  const bytes = blank(EXTENSION.DEADLINE, DEADLINE_SIZE);
  bytes[DEADLINE.clock] = clock;
  new DataView(bytes.buffer).setBigUint64(DEADLINE.at_ns, atNs, true);
  return bytes;
}

/** Bytes of {@link partsExtension} for so many parts. */
export function partsExtensionBytes(count: number): number {
  return PAYLOAD_SIZE + count * PART_SIZE;
}

/**
 * Payload descriptors.
 * @throws RangeError none or too many
 */
export function partsExtension(parts: readonly Part[]): Bytes {
  if (parts.length === 0 || parts.length > PARTS_MAX) {
    throw new RangeError(`Cannot describe a payload of ${parts.length} parts: 1 to ${PARTS_MAX}`);
  }
  const tag = EXTENSION.PAYLOAD | EXTENSION_CRITICAL;
  const bytes = blank(tag, partsExtensionBytes(parts.length));
  const words = new Uint32Array(bytes.buffer);
  let at = PAYLOAD_SIZE / 4;
  let sum = 0;
  for (const part of parts) {
    words[at + PART.segment / 4] = part.segment;
    words[at + PART.slot / 4] = part.slot;
    words[at + PART.offset / 4] = part.offset;
    words[at + PART.length / 4] = part.length;
    sum += part.length;
    at += PART_SIZE / 4;
  }
  words[PAYLOAD.bytes / 4] = sum;
  return bytes;
}

/** An extension of `bytes` bytes, head included, with its head. */
function blank(tag: number, bytes: number): Bytes {
  const all = new Uint8Array(new ArrayBuffer((bytes + 7) & ~7));
  const view = new DataView(all.buffer);
  view.setUint16(EXTENSION_HEAD.tag, tag, true);
  view.setUint16(EXTENSION_HEAD.length, bytes - EXTENSION_HEAD_SIZE, true);
  return all;
}

function setHex(bytes: Bytes, at: number, digits: string): void {
  for (let i = 0; i < digits.length; i += 2) {
    bytes[at + i / 2] = parseInt(digits.slice(i, i + 2), 16);
  }
}
