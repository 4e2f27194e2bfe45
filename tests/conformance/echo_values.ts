/**
 * Values that the fixtures `echo` and `echo-new` give back as they came.
 */

const POINT = { x: 0.1, y: -1e300 };
const LINE = { from: POINT, to: { x: 0, y: 5e-324 }, line_label: null };
const EVERYTHING = {
  a_bool: true,
  an_s8: -128,
  a_u8: 255,
  an_s16: -32768,
  a_u16: 65535,
  an_s32: -2147483648,
  a_u32: 4294967295,
  an_s64: "-9223372036854775808",
  a_u64: "18446744073709551615",
  an_f32: 0.15625,
  an_f64: 0.1,
  a_char: "😀",
  a_string: 'a"\\\u0000\n€',
  some_bytes: "AP8=",
  a_tuple: [1, "two", [false, "Infinity"]],
  a_result: { error: "dark-blue" },
};

/** Values for the functions of `echo`. */
export const ECHOES: Readonly<Record<string, readonly unknown[]>> = {
  "of-bool": [true, false],
  "of-s8": [-128, 0, 127],
  "of-u8": [0, 255],
  "of-s16": [-32768, 32767],
  "of-u16": [65535],
  "of-s32": [-2147483648, 2147483647],
  "of-u32": [4294967295],
  "of-s64": [-1, "-9223372036854775808", "9223372036854775807", -9007199254740991],
  "of-u64": [0, 9007199254740991, "9007199254740992", "18446744073709551615"],
  "of-f32": [0, 1.5, "NaN", "-Infinity", 0.1, 3.4028235e38],
  "of-f64": [0.1, 1e-7, 5e-324, 1.7976931348623157e308, "NaN", "Infinity"],
  "of-char": ["a", "€", "😀", "\u0000"],
  "of-string": ["", "grüß", "\ufeffmark", '\u0000 " \\ \n', "x".repeat(100_000)],
  "of-bytes": ["", "AA==", "AP8A"],
  "of-enum": ["red", "dark-blue"],
  "of-flags": [[], ["read"], ["read", "write", "run-it"]],
  "of-wide-flags": [[], ["f0", "f8", "f19"]],
  "of-record": [POINT],
  "of-variant": [
    { empty: null },
    { circle: 2.5 },
    { polygon: [POINT] },
    { group: [LINE] },
    { named: ["n", POINT] },
  ],
  "of-tuple": [[1, "two", [true, -0.5]]],
  "of-option": [null, "", "some"],
  "of-option-option": [null, { some: null }, { some: 1 }],
  "of-three-options": [null, { some: null }, { some: { some: null } }, { some: { some: 7 } }],
  "of-list": [[], [1, 2, 4294967295]],
  "of-strings": [[], ["", "a"]],
  "of-byte-lists": [["", "AA=="]],
  "of-deep-lists": [[], [[]], [[[1, "-9223372036854775808"], []], []]],
  "of-pairs": [[["a", "AA=="], ["", ""]]],
  "of-results": [[{ ok: 1 }, { error: "no" }]],
  "of-empty-results": [[{ ok: null }, { error: null }]],
  "of-half-results": [[{ ok: null }, { error: "green" }]],
  "of-ok-results": [[{ ok: POINT }, { error: null }]],
  "of-optional-results": [[null, { ok: POINT }, { error: "" }]],
  "of-lines": [[LINE, { ...LINE, line_label: "l" }]],
  "of-drawing": [
    { lines: [LINE], background: { circle: 1 }, may: ["write"], pen: "red" },
    { lines: [], background: null, may: [], pen: "green" },
  ],
  "of-everything": [[EVERYTHING, { ...EVERYTHING, a_result: { ok: POINT } }]],
  "of-chars": [["a", "😀"]],
  "of-floats": [[0.1, -2.5]],
};

/** Values for the functions of `echo-new`. */
export const NEW_ECHOES: Readonly<Record<string, readonly unknown[]>> = {
  "of-map": [{}, { a: 1, "": 2, __proto__x: 3 }],
  "of-number-map": [[], [[1, "one"], ["18446744073709551615", "most"]]],
  "of-map-of-maps": [{ a: { b: "AA==" }, c: {} }],
  "of-fixed": [[1, 2, 3, 4]],
  "of-fixed-bytes": ["AAECAw=="],
  "of-matrix": [[[1, 2], [3, 4], [5, 6]]],
  "of-entries": [[], [{ scores: { a: [1, 2], b: [] }, corner: [0.5, -1] }]],
};
