/**
 * The arguments of a call as the JSON text that an engine takes.
 *
 * Owns: what `JSON.parse` and `JSON.stringify` lose between them. Must not know the types of a
 * component: an engine checks the text against them.
 */
import { AtollError } from "../core/errors.ts";
import type { Fields } from "./envelope.ts";

/**
 * The text of a call's arguments.
 * @throws AtollError invalid_argument: a number that no f64 holds, with its path
 * @throws RangeError nested too deep
 */
export function argumentsText(given: Fields): string {
  const text = JSON.stringify(given);
  // 1e400 was parsed to Infinity, and that is written as null: an option would read it as absent.
  if (text.includes("null")) refuseInfinity(given, "arguments");
  return text;
}

function refuseInfinity(value: unknown, path: string): void {
  if (typeof value === "number") {
    if (Number.isFinite(value)) return;
    throw new AtollError("invalid_argument", `${path}: number out of range for f64`, {
      path,
      expected: "f64",
    });
  }
  if (Array.isArray(value)) {
    value.forEach((item, index) => refuseInfinity(item, `${path}[${index}]`));
  } else if (typeof value === "object" && value !== null) {
    for (const [name, item] of Object.entries(value)) refuseInfinity(item, member(path, name));
  }
}

/** Names as engines put them into paths: quoted and cut where they are no plain words. */
function member(path: string, name: string): string {
  if (/^[A-Za-z0-9_-]{1,64}$/.test(name)) return `${path}.${name}`;
  return `${path}[${JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}…` : name)}]`;
}
