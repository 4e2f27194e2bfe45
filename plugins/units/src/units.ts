/**
 * The guest side of the world in `wit/units.wit`. A WIT function is an exported function of the
 * same name; the error side of its `result` is what it throws.
 */
import { findUnit, nearestUnits, unitsOf } from "./lookup.ts";
import type { Unit } from "./table.ts";

/** The record `quantity`. */
export interface Quantity {
  readonly value: number;
  readonly unit: string;
}

/** Longest part of an unknown unit that an error repeats, in characters. */
const SHOWN = 40;

/** Converts `value` from one unit to another of the same dimension; throws a text otherwise. */
export function convert(value: number, from: string, to: string): Quantity {
  const source = unit(from);
  const target = unit(to);
  if (source.dimension !== target.dimension) {
    fail(
      `cannot convert ${source.symbol} (${source.dimension}) to ${target.symbol} ` +
        `(${target.dimension}); units of ${source.dimension}: ` +
        unitsOf(source.dimension).join(", "),
    );
  }
  if (source === target) return { value, unit: target.symbol };
  const base = value * source.factor + source.offset;
  return { value: tidy((base - target.offset) / target.factor), unit: target.symbol };
}

function unit(text: string): Unit {
  // Bounded before it is compared with every name.
  const shown = text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
  return findUnit(text) ??
    fail(`unknown unit "${shown}"; the nearest are ${nearestUnits(shown, 3).join(", ")}`);
}

/** Takes the last two of a double's 17 digits off: they are noise of the factors. */
function tidy(value: number): number {
  return Number.isFinite(value) ? Number(value.toPrecision(15)) : value;
}

function fail(message: string): never {
  // Thrown as a text and not as an Error, because the error type in WIT is `string`.
  throw message;
}
