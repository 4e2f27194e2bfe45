/**
 * CRC-32C, for frames that cross an untrusted door or are checked in tests.
 *
 * Owns: the tables and the loop. Must not know frames. The native core has its own, faster one.
 */

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
