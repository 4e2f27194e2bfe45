/**
 * The nearest known word to a mistyped one, for "did you mean" in messages.
 *
 * Owns: edit distance. Must not know where the words come from.
 */

/**
 * Levenshtein distance in UTF-16 code units, with a swap of two neighbours counted as one edit
 * (optimal string alignment), since that is what fingers do.
 */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let cost = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        cost = Math.min(cost, (beforeLast[column - 2] ?? 0) + 1);
      }
      current.push(cost);
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length] ?? 0;
}

/** Words longer than this are not compared: they are not typing mistakes, and cost is quadratic. */
const LONGEST = 100;

/**
 * The candidate that is most likely meant by `word`, or null when none is near: at most a third of
 * the longer word may differ. Case and the separators `-`, `_` do not count.
 */
export function nearest(word: string, candidates: Iterable<string>): string | null {
  if (word.length > LONGEST) return null;
  const plain = (text: string) => text.toLowerCase().replaceAll(/[-_]/g, "");
  const wanted = plain(word);
  let best: string | null = null;
  let bestDistance = Infinity;
  for (const candidate of candidates) {
    if (candidate.length > LONGEST) continue;
    const other = plain(candidate);
    const distance = editDistance(wanted, other);
    const allowed = Math.max(1, Math.floor(Math.max(wanted.length, other.length) / 3));
    if (distance <= allowed && distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}
