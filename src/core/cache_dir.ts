/**
 * Where Atoll keeps what it can make again: built plugins, compiled code, the native libraries.
 *
 * Owns: the place. Must not know what is in it.
 */
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/**
 * `$XDG_CACHE_HOME/atoll`, else `~/.cache/atoll` (XDG Base Directory Specification 0.8; a relative
 * value is to be ignored), else a folder of this user's among the temporary files.
 */
export function userCacheDir(environment: Readonly<Record<string, string | undefined>>): string {
  const base = environment["XDG_CACHE_HOME"];
  if (base !== undefined && base.startsWith("/")) return join(base, "atoll");
  const home = environment["HOME"] ?? answer(homedir) ?? "";
  if (home !== "") return join(home, ".cache", "atoll");
  return join(answer(tmpdir) ?? "/tmp", `atoll-${answer(() => process.getuid?.()) ?? "user"}`);
}

/** Deno refuses these questions without a permission for them. */
function answer<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch {
    return undefined;
  }
}
