/**
 * Payloads that are spread over several slots, because the arena has no room for them in a row.
 *
 * Owns: taking the slots and describing them. Must not know calls. The way back, for replies, is in
 * `events.ts`.
 */
import { partsExtension, partsExtensionBytes } from "../src/wire/extensions.ts";
import type { Part } from "../src/wire/frame.ts";
import { CHUNK_BYTES_MAX, FRAME_BYTES, PARTS_MAX } from "./abi.gen.ts";
import type { ClientMemory, Slot, SlotCache } from "./arena.ts";

/** A frame without a payload of its own, and the slots it describes. */
export interface SpreadPayload {
  /** With the extensions in its payload; the header is still to be written. */
  readonly slot: Slot;
  readonly extensionBytes: number;
  readonly parts: readonly Slot[];
}

/**
 * Copies a payload into slots of 64 KiB.
 * @param trace an extension that goes before the descriptors
 * @returns null, with nothing taken, when there are not enough slots
 */
export function spreadPayload(
  slots: SlotCache,
  memory: ClientMemory,
  bytes: Uint8Array,
  trace: Uint8Array | null | undefined,
): SpreadPayload | null {
  const count = Math.ceil(bytes.length / CHUNK_BYTES_MAX);
  if (count === 0 || count > PARTS_MAX) return null;
  const before = trace ? trace.length : 0;
  const extensionBytes = before + partsExtensionBytes(count);
  const taken: Slot[] = [];
  const parts: Part[] = [];
  const slot = slots.take(extensionBytes);
  for (let at = 0; slot && at < bytes.length; at += CHUNK_BYTES_MAX) {
    const part = slots.takeChunk();
    if (!part) break;
    taken.push(part);
    const chunk = bytes.subarray(at, at + CHUNK_BYTES_MAX);
    part.payload.set(chunk);
    memory.commit(part, chunk.length);
    parts.push({ segment: 0, slot: part.index, offset: FRAME_BYTES, length: chunk.length });
  }
  if (!slot || parts.length < count) {
    for (const one of taken) slots.put(one);
    if (slot) slots.put(slot);
    return null;
  }
  if (trace) slot.payload.set(trace);
  slot.payload.set(partsExtension(parts), before);
  return { slot, extensionBytes, parts: taken };
}
