/**
 * Mends the code that jco 0.15.0 writes, where it is wrong or less strict than the canonical ABI.
 *
 * Each mend replaces a text that jco writes word by word and does nothing where it is absent; the
 * conformance tests fail when one no longer applies.
 */

/** Beside the guest's own imports: the functions of the call's guard that the mended code calls. */
export const HOST_IMPORT = "atoll:host";

/** Entries of a map inside a list or another map are lowered to the wrong place, or not at all. */
function mapCounters(source: string): string {
  // The counter `let i` hides that of the loop around it, which the place of the entry is computed
  // with. Bound for each turn, the `i++` at the end of the body is without effect.
  return source.replace(
    /let i = 0;\n(\s*)for \(const \[key, value\] of (entries[0-9]+)\) \{/g,
    "$1for (let [i, [key, value]] of [...$2].entries()) {",
  );
}

/**
 * Strings that are not UTF-8 are repaired in silence, a byte order mark is dropped, and the same
 * bytes can be decoded without end.
 */
function strictText(source: string): string {
  return source.replace(
    "const TEXT_DECODER_UTF8 = new TextDecoder();",
    "const TEXT_DECODER_UTF8 = _atollDecoder(" +
      'new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }));',
  ).replace(
    "const utf16Decoder = new TextDecoder('utf-16');",
    "const utf16Decoder = _atollDecoder(new TextDecoder('utf-16'));",
  );
}

/** Lists of numbers that reach beyond the memory are cut in silence. */
function strictLists(source: string): string {
  const call = /(memory[0-9]+)\.buffer\.slice\((ptr[0-9]+), /g;
  return source.replace(call, "_atollSlice($1.buffer, $2, ");
}

/** Nothing bounds how many entries a list may have, nor how often lists share their entries. */
function meteredLists(source: string): string {
  return source.replace(
    /for \(let i = 0; i < (len[0-9]+); i\+\+\) \{\s*const base = base[0-9]+ \+ i \* ([0-9]+);/g,
    "_atollLift($1 * _atollEntry($2));\n$&",
  ).replace(
    /for \(var i = 0; i < len; i\+\+\) \{\s*const elemPtr = dataPtr \+ i \* elemSize32;/,
    "_atollLift(len * _atollEntry(elemSize32));\n$&",
  );
}

/** The host's time is not counted, and nothing tells where one crossing ends. */
function meteredCalls(source: string): string {
  return source.replace(
    "function _trackHostOperation(operation) {",
    "$&\n_atollCrossed();",
  );
}

/** What the mends call, inside of `instantiate`, where the imports are. */
const HELPERS = `
  const { lift: _atollLift, crossed: _atollCrossed } = imports["${HOST_IMPORT}"];
  // An object with its members; those take more than their bytes in the guest's memory.
  const _atollEntry = (bytes) => 32 + 2 * bytes;
  const _atollDecoder = (decoder) => ({
    decode: (view) => {
      _atollLift(view.byteLength);
      return decoder.decode(view);
    },
  });
  const _atollSlice = (buffer, start, end) => {
    if (start < 0 || end < start || end > buffer.byteLength) {
      throw new RangeError("list pointer/length out of bounds of memory");
    }
    _atollLift(end - start);
    return buffer.slice(start, end);
  };
`;

function withHelpers(source: string): string {
  return source.replace(/^export function instantiate\(.*\{$/m, (line) => line + HELPERS);
}

/** The code with all mends. */
export function mended(source: string): string {
  const mends = [mapCounters, strictText, strictLists, meteredLists, meteredCalls, withHelpers];
  return mends.reduce((text, mend) => mend(text), source);
}
