/**
 * Names that jco's output gives to what has a name in WIT.
 */
import type { WitType } from "./wit/model.ts";

/** `unit-price` as the member `unitPrice` of an object; words lose capitals of their own. */
export function jsMemberName(wit: string): string {
  return wit.split("-").map((word, index) => {
    const lower = word.toLowerCase();
    return index === 0 ? lower : lower.charAt(0).toUpperCase() + lower.slice(1);
  }).join("");
}

/**
 * Whether jco tags an option: `{tag: "some", val}`, because its payload may be `undefined` itself.
 * A tagged payload never is, so that of three options the outermost is plain again.
 */
export function isTagged(type: WitType): boolean {
  return type.kind === "option" && type.some.kind === "option" && !isTagged(type.some);
}

/** What stands for no value of an option. */
export function noValue(type: WitType): undefined | { readonly tag: "none" } {
  return isTagged(type) ? { tag: "none" } : undefined;
}

/**
 * The name under which the transpiler sees a function that a component itself exports. jco writes
 * such functions as JavaScript functions of their own names, and `arguments` or `eval` do not parse
 * there.
 */
export function transpiledName(wit: string): string {
  return `atoll-export-${wit}`;
}

/** The member under which transpiled code has an exported function. */
export function jsFunctionName(
  place: { readonly interface: string | null; readonly function: { readonly name: string } },
): string {
  const { name } = place.function;
  return jsMemberName(place.interface === null ? transpiledName(name) : name);
}
