/**
 * Base64 with the standard alphabet and padding (RFC 4648, section 4), strict in reading: one text
 * for each sequence of bytes.
 */
import { Buffer } from "node:buffer";

/** The base64 text of bytes. */
export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** The bytes that a text stands for, or what is wrong with it. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> | string {
  const stray = text.search(/[^A-Za-z0-9+/=]/);
  if (text.length % 4 !== 0) {
    if (stray >= 0) return `invalid character at position ${stray}`;
    return `${text.length} characters are not a multiple of 4; padding is needed`;
  }
  const padding = text.indexOf("=");
  if (stray >= 0 && (padding < 0 || stray < padding)) {
    return `invalid character at position ${stray}`;
  }
  if (padding >= 0) {
    if (!/^(?:==|=)$/.test(text.slice(padding)) || padding < text.length - 2) {
      return `invalid character at position ${padding}`;
    }
    const last = ALPHABET.indexOf(text.charAt(padding - 1));
    const spare = text.endsWith("==") ? 15 : 3;
    if ((last & spare) !== 0) return `stray bits before the padding at position ${padding}`;
  }
  // A copy of its own: a Buffer may share a pool that is larger.
  return new Uint8Array(Buffer.from(text, "base64"));
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
