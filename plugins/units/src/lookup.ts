/**
 * Finds units by what people write, and the nearest ones where nothing fits.
 */
import { type Unit, UNITS } from "./table.ts";

/** Spelled exactly (`mW` is not `MW`) … */
const exact = new Map<string, Unit>();
/** … or in any case and in the plural, where that is not ambiguous. */
const loose = new Map<string, Unit | null>();

for (const unit of UNITS) {
  for (const name of [unit.symbol, ...unit.names]) {
    exact.set(name, unit);
    addLoose(name.toLowerCase(), unit);
    // Symbols have no plural.
    if (name.length > 3 && !name.endsWith("s")) addLoose(`${name.toLowerCase()}s`, unit);
  }
}

function addLoose(name: string, unit: Unit): void {
  const known = loose.get(name);
  loose.set(name, known === undefined || known === unit ? unit : null);
}

/** The unit a text names, or undefined. */
export function findUnit(text: string): Unit | undefined {
  const name = text.trim().replace(/\s+/g, " ");
  return exact.get(name) ?? loose.get(name.toLowerCase()) ?? undefined;
}

/** Symbols of the units nearest to a text that names none, best first; at most `count`. */
export function nearestUnits(text: string, count: number): string[] {
  const wanted = text.trim().toLowerCase();
  const ranked = UNITS.map((unit) => ({
    symbol: unit.symbol,
    distance: Math.min(
      ...[unit.symbol, ...unit.names].map((name) => editDistance(wanted, name.toLowerCase())),
    ),
  }));
  ranked.sort((a, b) => a.distance - b.distance);
  return ranked.slice(0, count).map((entry) => entry.symbol);
}

/** Symbols of the units of a dimension, in the table's order. */
export function unitsOf(dimension: string): string[] {
  return UNITS.filter((unit) => unit.dimension === dimension).map((unit) => unit.symbol);
}

/** How many characters have to be put in, taken out or changed (Levenshtein 1965). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
