import assert from "node:assert/strict";
// Not the harness of Atoll, so that this folder can be copied and tested on its own.
import { test } from "node:test";
import { findUnit, nearestUnits } from "./lookup.ts";
import { UNITS } from "./table.ts";
import { convert } from "./units.ts";

function messageOf(body: () => unknown): string {
  try {
    body();
  } catch (thrown) {
    // The host gets the error side of a `result<_, string>` only from a thrown text.
    assert.equal(typeof thrown, "string");
    return thrown as string;
  }
  throw new Error("nothing was thrown");
}

test("converts within each dimension", () => {
  const cases: [number, string, string, number][] = [
    [1, "mi", "km", 1.609344],
    [10, "km", "mi", 6.21371192237334],
    [1, "acre", "m2", 4046.8564224],
    [1, "gal", "L", 3.785411784],
    [1, "impgal", "L", 4.54609],
    [1, "lb", "g", 453.59237],
    [1, "d", "min", 1440],
    [36, "km/h", "m/s", 10],
    [5, "MiB", "kB", 5242.88],
    [8, "Mbit", "MB", 1],
    [1, "atm", "hPa", 1013.25],
    [1, "kWh", "MJ", 3.6],
    [180, "deg", "rad", Math.PI],
    [1, "hp", "W", 745.699871582270],
  ];
  for (const [value, from, to, expected] of cases) {
    const got = convert(value, from, to);
    assert.ok(Math.abs(got.value - expected) <= Math.abs(expected) * 1e-14, `${value} ${from}`);
    assert.equal(got.unit, to);
  }
});

test("temperatures shift as well as scale", () => {
  assert.deepEqual(convert(100, "celsius", "F"), { value: 212, unit: "degF" });
  assert.deepEqual(convert(-40, "degF", "degC"), { value: -40, unit: "degC" });
  assert.deepEqual(convert(0, "K", "degC"), { value: -273.15, unit: "degC" });
});

test("units have symbols, names, plurals and any case that is not ambiguous", () => {
  for (const text of ["km", "kilometre", "kilometers", "Kilometres", "KM", " km "]) {
    assert.equal(findUnit(text)?.symbol, "km", text);
  }
  assert.equal(findUnit("mW")?.symbol, "mW");
  assert.equal(findUnit("MW")?.symbol, "MW");
  assert.equal(findUnit("Mw"), undefined);
  assert.equal(findUnit("square  feet")?.symbol, "ft2");
});

test("an unknown unit is an error that names the nearest", () => {
  assert.deepEqual(nearestUnits("killometre", 1), ["km"]);
  const message = messageOf(() => convert(1, "mils", "km"));
  assert.match(message, /unknown unit "mils"; the nearest are .*mi/);
  const long = messageOf(() => convert(1, "x".repeat(100_000), "km"));
  assert.ok(long.length < 200);
});

test("two dimensions are an error that names what would fit", () => {
  const message = messageOf(() => convert(1, "kg", "m"));
  assert.match(message, /cannot convert kg \(mass\) to m \(length\); units of mass: .*lb/);
});

test("values that are no numbers go through", () => {
  assert.ok(Number.isNaN(convert(NaN, "m", "km").value));
  assert.equal(convert(Infinity, "m", "km").value, Infinity);
  assert.equal(convert(0.1, "m", "m").value, 0.1);
});

test("no symbol or name stands for two units", () => {
  const seen = new Map<string, string>();
  for (const unit of UNITS) {
    for (const name of [unit.symbol, ...unit.names]) {
      assert.equal(seen.get(name), undefined, `${name}: ${unit.symbol}`);
      seen.set(name, unit.symbol);
    }
  }
});

test("each unit converts to each other one of its dimension and back", () => {
  for (const from of UNITS) {
    for (const to of UNITS.filter((unit) => unit.dimension === from.dimension)) {
      const there = convert(12.5, from.symbol, to.symbol);
      const back = convert(there.value, to.symbol, from.symbol);
      // Offsets cancel digits: a temperature keeps fewer of them.
      assert.ok(Math.abs(back.value - 12.5) < 1e-10, `${from.symbol} to ${to.symbol}`);
    }
  }
});
