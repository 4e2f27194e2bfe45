/**
 * Mends the code that jco 0.15.0 writes, where it is wrong or less strict than the canonical ABI.
 *
 * Each mend replaces a text that jco writes word by word and does nothing where it is absent; the
 * conformance tests fail when one no longer applies.
 */

/** Entries of a map inside a list or another map are lowered to the wrong place, or not at all. */
function mapCounters(source: string): string {
  // The counter `let i` hides that of the loop around it, which the place of the entry is computed
  // with. Bound for each turn, the `i++` at the end of the body is without effect.
  return source.replace(
    /let i = 0;\n(\s*)for \(const \[key, value\] of (entries[0-9]+)\) \{/g,
    "$1for (let [i, [key, value]] of [...$2].entries()) {",
  );
}

/** Strings that are not UTF-8 are repaired in silence, and a byte order mark is dropped. */
function strictText(source: string): string {
  return source.replace(
    "const TEXT_DECODER_UTF8 = new TextDecoder();",
    'const TEXT_DECODER_UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });',
  );
}

/** Lists of numbers that reach beyond the memory are cut in silence. */
function strictLists(source: string): string {
  const call = /(memory[0-9]+)\.buffer\.slice\((ptr[0-9]+), /g;
  return `${source.replace(call, "_atollSlice($1.buffer, $2, ")}
function _atollSlice(buffer, start, end) {
  if (start < 0 || end < start || end > buffer.byteLength) {
    throw new RangeError("list pointer/length out of bounds of memory");
  }
  return buffer.slice(start, end);
}
`;
}

/** The code with all mends. */
export function mended(source: string): string {
  return strictLists(strictText(mapCounters(source)));
}
