/**
 * Deno's refusals of what it was given no permission for.
 *
 * Owns: finding one in what was thrown, and the flag it asks for. Must not know what was tried.
 */
import { AtollError } from "./errors.ts";

/** Causes of causes that are looked at: a chain may be a ring. */
const DEEPEST = 16;

/** Deno's refusal in a thrown value or among its causes; null: there is none. */
export function refusalIn(thrown: unknown): Error | null {
  let error = thrown;
  for (let depth = 0; error instanceof Error && depth < DEEPEST; depth++) {
    if (error.name === "NotCapable") return error;
    error = error.cause;
  }
  return null;
}

/**
 * What was thrown as an error that names the missing permission, or null when no permission is the
 * reason.
 * @param what could not be done, as in `Cannot open the native engine`
 */
export function deniedByDeno(thrown: unknown, what = "Cannot go on"): AtollError | null {
  const refusal = refusalIn(thrown);
  if (refusal === null) return null;
  const told = thrown instanceof AtollError && thrown.code !== "internal" ? thrown : null;
  // An error that names the flag already says more about what was tried than this one could.
  const message = told !== null && /--allow-\w/.test(told.message)
    ? told.message
    : `${told?.message ?? what}: ${reasonOf(refusal)}`;
  return new AtollError("denied", message, told?.data ?? {}, { cause: thrown });
}

/** Deno says: `Requires net access to "127.0.0.1:80", run again with the --allow-net flag`. */
function reasonOf({ message }: Error): string {
  if (/^Requires net access to "unix:/.test(message)) {
    return "Deno did not grant --allow-net for a socket of its own, whose path is new at each " +
      "start: only --allow-net without addresses covers it";
  }
  const flag = /--allow-[a-z]+/.exec(message)?.[0];
  return flag === undefined ? message : `Deno did not grant ${flag}: ${message}`;
}
