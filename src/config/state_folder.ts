/**
 * Where a user's programs keep what is to outlive them, as the XDG base directories say.
 */
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** The user's state directory of Atoll. */
export function stateFolder(environment: Readonly<Record<string, string | undefined>>): string {
  const shared = environment["XDG_STATE_HOME"];
  // The specification says that a relative path is to be ignored.
  if (shared?.startsWith("/")) return join(shared, "atoll");
  const home = environment["HOME"] ?? answer(homedir);
  if (home) return join(home, ".local", "state", "atoll");
  const user = answer(() => process.getuid?.()) ?? "user";
  return join(answer(tmpdir) ?? "/tmp", `atoll-state-${user}`);
}

/** Deno refuses these questions without a permission for them. */
function answer<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch {
    return undefined;
  }
}
