/**
 * Payloads that are spread over several slots, because the arena has no room for them in a row.
 *
 * Owns: taking the slots and describing them. Must not know calls. The way back, for replies, is in
 * `events.ts`. A part fills its slot from the first byte on: so as many parts as there may be hold as
 * much as the longest row of slots.
 */
import { partsExtension, partsExtensionBytes } from "../src/wire/extensions.ts";
import type { Part } from "../src/wire/frame.ts";
import { PARTS_MAX } from "./abi.gen.ts";
import { type ClientMemory, LARGEST_CLASS, type Slot, type SlotCache } from "./arena.ts";

/** A frame without a payload of its own, and the slots it describes. */
export interface SpreadPayload {
  /** With the extensions in its payload; the header is still to be written. */
  readonly slot: Slot;
  readonly extensionBytes: number;
  /** Numbers of those slots. */
  readonly parts: readonly number[];
}

/**
 * Copies a payload into slots of 64 KiB, whole ones but for the last.
 * @param trace an extension that goes before the descriptors
 * @returns null, with nothing taken, when there are not enough slots
 */
export function spreadPayload(
  slots: SlotCache,
  memory: ClientMemory,
  bytes: Uint8Array,
  trace: Uint8Array | null | undefined,
): SpreadPayload | null {
  const count = Math.ceil(bytes.length / LARGEST_CLASS);
  if (count === 0 || count > PARTS_MAX) return null;
  const before = trace ? trace.length : 0;
  const extensionBytes = before + partsExtensionBytes(count);
  const parts: Part[] = [];
  const slot = slots.take(extensionBytes);
  for (let at = 0; slot && at < bytes.length; at += LARGEST_CLASS) {
    const part = slots.takeLargest();
    if (part === 0) break;
    const chunk = bytes.subarray(at, at + LARGEST_CLASS);
    memory.fill(part, chunk);
    parts.push({ segment: 0, slot: part, offset: 0, length: chunk.length });
  }
  if (!slot || parts.length < count) {
    for (const part of parts) slots.give(part.slot);
    if (slot) slots.put(slot);
    return null;
  }
  if (trace) slot.payload.set(trace);
  slot.payload.set(partsExtension(parts), before);
  return { slot, extensionBytes, parts: parts.map((part) => part.slot) };
}
