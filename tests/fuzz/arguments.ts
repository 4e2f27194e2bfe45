/**
 * Arguments for a function, from its types and numbers of a seed: mostly of the right type, now and
 * then not.
 *
 * Must not know whom they are for.
 */
import {
  INTEGER_RANGES,
  isBytes,
  isNestedOption,
  jsonName,
} from "../../src/sandbox/value_types.ts";
import type { Field, WitType } from "../../src/sandbox/wit/model.ts";

/** Numbers from a seed (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor(((t ^ (t >>> 14)) >>> 0) / 2 ** 32 * bound);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }
}

/** One in so many values has no type that is asked for. */
const WRONG_ONE_IN = 40;
const WRONG = ["null", "{}", "[]", '"\\ud800"', "1e400", "-1", "0.5", "[[[]]]", '{"__proto__":1}'];

/** A JSON object of named parameters, as text: integers may be larger than a number holds. */
export function argumentsFor(params: readonly Field[], random: Random): string {
  return object(params, random);
}

function object(fields: readonly Field[], random: Random): string {
  const all = fields.map(({ name, type }) => `"${jsonName(name)}":${value(type, random)}`);
  return `{${all.join(",")}}`;
}

function value(type: WitType | null, random: Random): string {
  if (type === null) return "null";
  if (random.below(WRONG_ONE_IN) === 0) return random.pick(WRONG);
  switch (type.kind) {
    case "bool":
      return random.pick(["true", "false"]);
    case "f32":
    case "f64":
      return random.pick(["0", "-0", "1.5", "1e38", '"NaN"', '"Infinity"', "-7"]);
    case "char":
      return random.pick(['"a"', '"€"', '"\\ud83d\\ude00"', '"ab"']);
    case "string":
      return random.pick(['""', '"text"', '"\\u0000ü€"', `"${"x".repeat(random.below(3_000))}"`]);
    case "list":
      return list(type, random);
    case "option":
      if (random.below(3) === 0) return "null";
      return isNestedOption(type)
        ? `{"some":${value(type.some, random)}}`
        : value(type.some, random);
    case "result":
      return random.below(2) === 0
        ? `{"ok":${value(type.ok, random)}}`
        : `{"error":${value(type.error, random)}}`;
    case "tuple":
      return `[${type.items.map((item) => value(item, random)).join(",")}]`;
    case "record":
      return object(type.fields, random);
    case "variant": {
      const chosen = random.pick(type.cases);
      const name = JSON.stringify(chosen.name);
      return chosen.type === null ? name : `{${name}:${value(chosen.type, random)}}`;
    }
    case "enum":
      return JSON.stringify(random.pick(type.cases).name);
    case "flags": {
      const set = type.flags.filter(() => random.below(2) === 0);
      return JSON.stringify(set.map(({ name }) => name));
    }
    default:
      return integer(type.kind, random);
  }
}

function list(type: WitType & { kind: "list" }, random: Random): string {
  const length = type.length ?? random.pick([0, 1, 2, 30]);
  if (isBytes(type)) return JSON.stringify(btoa("\0\xff7".repeat(length).slice(0, length)));
  return `[${
    Array.from({ length: Math.min(length, 100) }, () => value(type.element, random)).join(",")
  }]`;
}

function integer(kind: string, random: Random): string {
  const [least, most] = INTEGER_RANGES[kind] ?? [0n, 1n];
  return String(random.pick([least, most, 0n, 1n, 7n, most + 1n]));
}
