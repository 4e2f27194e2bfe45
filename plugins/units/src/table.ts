/**
 * The units that are known: symbol, names, and how a value of each becomes one of its dimension's
 * base unit. Knows nothing of looking them up.
 *
 * Factors: BIPM SI brochure (9th edition), the international yard and pound agreement of 1959,
 * NIST SP 811 for US customary volumes and the thermochemical calorie, IEC 80000-13 for binary
 * prefixes.
 */

/** One unit. `value in base = value * factor + offset`. */
export interface Unit {
  readonly symbol: string;
  readonly names: readonly string[];
  readonly dimension: string;
  readonly factor: number;
  readonly offset: number;
}

/** A unit whose zero is the base unit's zero, which all have but temperatures. */
type Row = readonly [symbol: string, factor: number, ...names: string[]];

const INCH = 0.0254;
const FOOT = 12 * INCH;
const YARD = 3 * FOOT;
const MILE = 1760 * YARD;
const POUND = 0.45359237;
const US_GALLON = 231 * INCH ** 3;
const IMPERIAL_GALLON = 4.54609e-3;
const HOUR = 3600;
const STANDARD_GRAVITY = 9.80665;

const DIMENSIONS: Readonly<Record<string, readonly Row[]>> = {
  length: [
    ["nm", 1e-9, "nanometre", "nanometer"],
    ["um", 1e-6, "µm", "micrometre", "micrometer", "micron"],
    ["mm", 1e-3, "millimetre", "millimeter"],
    ["cm", 1e-2, "centimetre", "centimeter"],
    ["m", 1, "metre", "meter"],
    ["km", 1e3, "kilometre", "kilometer"],
    ["in", INCH, "inch", "inches"],
    ["ft", FOOT, "foot", "feet"],
    ["yd", YARD, "yard"],
    ["mi", MILE, "mile"],
    ["nmi", 1852, "nautical mile"],
    ["au", 149_597_870_700, "astronomical unit"],
    ["ly", 9_460_730_472_580_800, "light year", "light-year"],
  ],
  area: [
    ["mm2", 1e-6, "mm²", "square millimetre", "square millimeter"],
    ["cm2", 1e-4, "cm²", "square centimetre", "square centimeter"],
    ["m2", 1, "m²", "square metre", "square meter"],
    ["km2", 1e6, "km²", "square kilometre", "square kilometer"],
    ["ha", 1e4, "hectare"],
    ["in2", INCH ** 2, "in²", "square inch", "square inches"],
    ["ft2", FOOT ** 2, "ft²", "square foot", "square feet"],
    ["yd2", YARD ** 2, "yd²", "square yard"],
    ["ac", 4840 * YARD ** 2, "acre"],
    ["mi2", MILE ** 2, "mi²", "square mile"],
  ],
  volume: [
    ["mL", 1e-6, "ml", "millilitre", "milliliter"],
    ["cL", 1e-5, "cl", "centilitre", "centiliter"],
    ["dL", 1e-4, "dl", "decilitre", "deciliter"],
    ["L", 1e-3, "l", "litre", "liter"],
    ["cm3", 1e-6, "cm³", "cc", "cubic centimetre", "cubic centimeter"],
    ["m3", 1, "m³", "cubic metre", "cubic meter"],
    ["tsp", US_GALLON / 768, "teaspoon"],
    ["tbsp", US_GALLON / 256, "tablespoon"],
    ["floz", US_GALLON / 128, "fl oz", "fluid ounce"],
    ["cup", US_GALLON / 16],
    ["pt", US_GALLON / 8, "pint"],
    ["qt", US_GALLON / 4, "quart"],
    ["gal", US_GALLON, "gallon", "us gallon"],
    ["impgal", IMPERIAL_GALLON, "imperial gallon"],
    ["imppt", IMPERIAL_GALLON / 8, "imperial pint"],
    ["in3", INCH ** 3, "in³", "cubic inch", "cubic inches"],
    ["ft3", FOOT ** 3, "ft³", "cubic foot", "cubic feet"],
  ],
  mass: [
    ["ug", 1e-9, "µg", "microgram"],
    ["mg", 1e-6, "milligram"],
    ["g", 1e-3, "gram", "gramme"],
    ["kg", 1, "kilogram", "kilogramme", "kilo"],
    ["t", 1e3, "tonne", "metric ton"],
    ["oz", POUND / 16, "ounce"],
    ["lb", POUND, "lbs", "pound"],
    ["st", 14 * POUND, "stone"],
    ["ton", 2000 * POUND, "short ton", "us ton"],
    ["longton", 2240 * POUND, "long ton", "imperial ton"],
  ],
  time: [
    ["ns", 1e-9, "nanosecond"],
    ["us", 1e-6, "µs", "microsecond"],
    ["ms", 1e-3, "millisecond"],
    ["s", 1, "sec", "second"],
    ["min", 60, "minute"],
    ["h", HOUR, "hr", "hour"],
    ["d", 24 * HOUR, "day"],
    ["wk", 7 * 24 * HOUR, "week"],
    ["yr", 365.25 * 24 * HOUR, "year", "julian year"],
  ],
  speed: [
    ["m/s", 1, "mps", "metre per second", "meter per second", "metres per second"],
    ["km/h", 1e3 / HOUR, "kph", "kmh", "kilometre per hour", "kilometres per hour"],
    ["mph", MILE / HOUR, "mi/h", "mile per hour", "miles per hour"],
    ["kn", 1852 / HOUR, "kt", "knot"],
    ["ft/s", FOOT, "fps", "foot per second", "feet per second"],
  ],
  data: [
    ["bit", 1 / 8],
    ["kbit", 1e3 / 8, "kilobit"],
    ["Mbit", 1e6 / 8, "megabit"],
    ["Gbit", 1e9 / 8, "gigabit"],
    ["B", 1, "byte"],
    ["kB", 1e3, "KB", "kilobyte"],
    ["MB", 1e6, "megabyte"],
    ["GB", 1e9, "gigabyte"],
    ["TB", 1e12, "terabyte"],
    ["PB", 1e15, "petabyte"],
    ["KiB", 2 ** 10, "kibibyte"],
    ["MiB", 2 ** 20, "mebibyte"],
    ["GiB", 2 ** 30, "gibibyte"],
    ["TiB", 2 ** 40, "tebibyte"],
    ["PiB", 2 ** 50, "pebibyte"],
  ],
  pressure: [
    ["Pa", 1, "pascal"],
    ["hPa", 100, "hectopascal"],
    ["kPa", 1e3, "kilopascal"],
    ["MPa", 1e6, "megapascal"],
    ["mbar", 100, "millibar"],
    ["bar", 1e5],
    ["atm", 101_325, "atmosphere"],
    ["torr", 101_325 / 760, "mmHg"],
    ["psi", POUND * STANDARD_GRAVITY / INCH ** 2, "pound per square inch"],
  ],
  energy: [
    ["J", 1, "joule"],
    ["kJ", 1e3, "kilojoule"],
    ["MJ", 1e6, "megajoule"],
    ["cal", 4.184, "calorie"],
    ["kcal", 4184, "kilocalorie"],
    ["Wh", HOUR, "watt hour"],
    ["kWh", 1e3 * HOUR, "kilowatt hour"],
    ["eV", 1.602176634e-19, "electronvolt"],
    ["BTU", 1055.05585262, "btu", "british thermal unit"],
  ],
  power: [
    ["mW", 1e-3, "milliwatt"],
    ["W", 1, "watt"],
    ["kW", 1e3, "kilowatt"],
    ["MW", 1e6, "megawatt"],
    ["hp", 550 * FOOT * POUND * STANDARD_GRAVITY, "horsepower"],
  ],
  angle: [
    ["rad", 1, "radian"],
    ["deg", Math.PI / 180, "°", "degree"],
    ["arcmin", Math.PI / 10_800, "arcminute"],
    ["arcsec", Math.PI / 648_000, "arcsecond"],
    ["grad", Math.PI / 200, "gon", "gradian"],
    ["turn", 2 * Math.PI, "revolution"],
  ],
};

const TEMPERATURES: readonly Unit[] = [
  temperature("K", 1, 0, "kelvin"),
  temperature("degC", 1, 273.15, "C", "°C", "celsius", "centigrade"),
  temperature("degF", 5 / 9, 459.67 * 5 / 9, "F", "°F", "fahrenheit"),
  temperature("degR", 5 / 9, 0, "R", "°R", "rankine"),
];

function temperature(symbol: string, factor: number, offset: number, ...names: string[]): Unit {
  return { symbol, names, dimension: "temperature", factor, offset };
}

/** Every unit, those of one dimension together. */
export const UNITS: readonly Unit[] = [
  ...Object.entries(DIMENSIONS).flatMap(([dimension, rows]) =>
    rows.map(([symbol, factor, ...names]): Unit => ({
      symbol,
      names,
      dimension,
      factor,
      offset: 0,
    }))
  ),
  ...TEMPERATURES,
];
