/**
 * The length that a message declares for its body.
 *
 * Owns: what a Content-Length field may hold. Must not know who reads the body.
 * Source: RFC 9110 §8.6.
 */
import { AtollError } from "../core/errors.ts";

/**
 * The declared length in bytes, or null when none is.
 * @param field Content-Length; several fields of that name arrive as one, joined by commas.
 * @throws AtollError invalid_argument: no number of bytes, or more than one, also when they are equal
 */
export function declaredLength(field: string | null): number | null {
  if (field === null) return null;
  if (/^\d+$/.test(field)) return Number(field);
  const shown = JSON.stringify(field.slice(0, 64));
  throw new AtollError("invalid_argument", `Content-Length ${shown} is not a number of bytes`);
}
