/** How many workers a server has. */
import type { Config } from "../../config/schema.ts";

/** Isolates that serve requests, that of the server's own thread too. */
export function workerCount(config: Config): number {
  const { workers } = config.http;
  // Asks for no permission under Deno, and counts only those that this process may run on.
  return workers === 0 ? navigator.hardwareConcurrency : workers;
}
