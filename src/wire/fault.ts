/**
 * Why a frame cannot be read, as a sentence.
 *
 * Owns: the words for each fault, the same as the core's. Must not know how faults are found.
 */
import { FAULT, FRAME_VERSION } from "../../ffi/abi.gen.ts";

const FAULT_TEXTS: Readonly<Record<number, string>> = {
  [FAULT.SHORT]: "shorter than its header",
  [FAULT.MAGIC]: "wrong magic",
  [FAULT.KIND]: "unknown kind",
  [FAULT.FLAGS]: "unknown flags",
  [FAULT.ENCODING]: "unknown payload encoding",
  [FAULT.LENGTH]: "longer than the bytes that are there",
  [FAULT.CHECKSUM]: "wrong checksum",
  [FAULT.EXTENSION]: "an extension ends behind the extensions",
  [FAULT.CRITICAL]: "an unknown extension is critical",
  [FAULT.DUPLICATE]: "an extension comes twice",
  [FAULT.VALUE]: "an extension is too short",
  [FAULT.PARTS]: "payload descriptors do not add up",
  [FAULT.CLOCK]: "a deadline by a clock that is not shared",
  [FAULT.PADDING]: "padding is not zero",
};

/**
 * A fault as a sentence.
 * @param version of the frame's header: its third byte
 */
export function faultText(fault: number, version: number): string {
  const reason = fault === FAULT.VERSION
    ? `version is ${version}, supported is ${FRAME_VERSION}`
    : FAULT_TEXTS[fault] ?? `fault ${fault}`;
  return `Cannot read frame: ${reason}`;
}
