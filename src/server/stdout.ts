/**
 * Writing to standard output without blocking the thread: a client that stops reading must not keep
 * the server from its signals. `process.stdout.write` blocks in a full pipe under Deno.
 */
import { write } from "node:fs";

const STDOUT = 1;
const AGAIN_MS = 5;
const encoder = new TextEncoder();

/** Resolves when all of the text is taken by the pipe, the terminal or the file. */
export function writeStdout(text: string): Promise<void> {
  const bytes = encoder.encode(text);
  return new Promise((resolve, reject) => {
    let offset = 0;
    const next = () => write(STDOUT, bytes, offset, bytes.length - offset, null, written);
    const written = (error: NodeJS.ErrnoException | null, count: number) => {
      // A pipe that its owner has made non-blocking says so when it is full.
      if (error?.code === "EAGAIN") return void setTimeout(next, AGAIN_MS);
      if (error) return reject(error);
      offset += count;
      if (offset < bytes.length) next();
      else resolve();
    };
    next();
  });
}
