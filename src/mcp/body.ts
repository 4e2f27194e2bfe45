/**
 * Reads a request's body up to a limit.
 *
 * Owns: counting bytes. Must not know what is in them.
 */

import { brokenOff } from "../dispatch/client_gone.ts";
import { declaredLength } from "../wire/content_length.ts";

/**
 * The whole body, or null when it is longer than `limit` bytes. A declared length is believed, as
 * the HTTP server cuts the body there; without one the bytes are counted as they come.
 * @param contentLength The Content-Length field, or null.
 * @throws AtollError cancelled: the body broke off; invalid_argument: Content-Length is no length
 */
export function readBody(
  request: Request,
  contentLength: string | null,
  limit: number,
): Promise<Uint8Array | null> {
  const declared = declaredLength(contentLength);
  if (declared === null) return readUndeclared(request.body, limit);
  return declared <= limit ? request.arrayBuffer().then(toBytes, fail) : discard(request.body);
}

function toBytes(buffer: ArrayBuffer): Uint8Array {
  return new Uint8Array(buffer);
}

function fail(cause: unknown): never {
  throw brokenOff(cause);
}

async function discard(body: Request["body"]): Promise<null> {
  await body?.cancel();
  return null;
}

async function readUndeclared(body: Request["body"], limit: number): Promise<Uint8Array | null> {
  return body === null ? new Uint8Array() : await readCounted(body, limit).catch(fail);
}

async function readCounted(
  body: ReadableStream<Uint8Array>,
  limit: number,
): Promise<Uint8Array | null> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = body.getReader();
  while (true) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.byteLength;
    if (length > limit) {
      await reader.cancel();
      return null;
    }
    chunks.push(value);
  }
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return whole;
}
