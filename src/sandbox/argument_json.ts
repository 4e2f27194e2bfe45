/**
 * JSON text to a tree that keeps what `JSON.parse` drops: repeated keys and the digits of numbers.
 *
 * Arguments are checked the same by both engines, so 18446744073709551615 has to stay exact and
 * `{"a":1,"a":2}` has to be refused. Must not know WIT types.
 * Source: RFC 8259; nesting is bounded as in serde_json, which the native engine uses.
 */

/** A number as it was written. */
export class JsonNumber {
  constructor(readonly text: string) {}

  /** Whether it is written as an integer: no fraction, no exponent, no negative zero. */
  get isInteger(): boolean {
    return /^-?[0-9]+$/.test(this.text) && this.text !== "-0";
  }
}

/** An object with its members in order, repeated keys included. */
export class JsonObject {
  constructor(readonly members: readonly (readonly [string, Json])[]) {}
}

export type Json = null | boolean | string | JsonNumber | JsonObject | readonly Json[];

/** Deepest nesting of arrays and objects. */
export const JSON_DEPTH_MAX = 128;

/** The text is no JSON; the message says where. */
export class JsonError extends Error {
  override readonly name = "JsonError";
}

/**
 * Reads JSON text.
 * @throws JsonError
 */
export function readJson(text: string): Json {
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.end();
  return value;
}

const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
// Up to the closing quote or the first escape; the usual string is one piece.
// deno-lint-ignore no-control-regex -- control characters are what JSON forbids in strings
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const LITERALS = [["null", null], ["true", true], ["false", false]] as const;
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ["\\", "\\"],
  ["/", "/"],
  ["b", "\b"],
  ["f", "\f"],
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"],
]);

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): Json {
    if (depth > JSON_DEPTH_MAX) {
      throw new JsonError(`nested deeper than ${JSON_DEPTH_MAX} levels at ${this.#place()}`);
    }
    this.#match(SPACE);
    switch (this.#text[this.#at]) {
      case "{":
        return this.#object(depth);
      case "[":
        return this.#array(depth);
      case '"':
        return this.#string();
    }
    for (const [word, value] of LITERALS) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    const number = this.#match(NUMBER);
    if (number === "") this.#fail("expected a value");
    return new JsonNumber(number);
  }

  end(): void {
    this.#match(SPACE);
    if (this.#at < this.#text.length) this.#fail("trailing characters");
  }

  #object(depth: number): JsonObject {
    const members: [string, Json][] = [];
    this.#at += 1;
    if (this.#accept("}")) return new JsonObject(members);
    do {
      this.#match(SPACE);
      if (this.#text[this.#at] !== '"') this.#fail("expected a key");
      const key = this.#string();
      if (!this.#accept(":")) this.#fail("expected `:`");
      members.push([key, this.value(depth + 1)]);
    } while (this.#accept(","));
    if (!this.#accept("}")) this.#fail("expected `,` or `}`");
    return new JsonObject(members);
  }

  #array(depth: number): Json[] {
    const items: Json[] = [];
    this.#at += 1;
    if (this.#accept("]")) return items;
    do items.push(this.value(depth + 1)); while (this.#accept(","));
    if (!this.#accept("]")) this.#fail("expected `,` or `]`");
    return items;
  }

  #string(): string {
    const start = this.#at;
    this.#at += 1;
    let text = this.#match(PLAIN);
    while (this.#text[this.#at] === "\\") {
      text += this.#escape();
      text += this.#match(PLAIN);
    }
    if (this.#text[this.#at] !== '"') {
      this.#fail(this.#at < this.#text.length ? "control character in a string" : "open string");
    }
    this.#at += 1;
    if (!text.isWellFormed()) {
      this.#at = start;
      this.#fail("lone surrogate in a string");
    }
    return text;
  }

  #escape(): string {
    const code = this.#text[this.#at + 1] ?? "";
    if (code === "u") {
      const digits = this.#text.slice(this.#at + 2, this.#at + 6);
      if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.#fail("invalid escape");
      this.#at += 6;
      return String.fromCharCode(parseInt(digits, 16));
    }
    const character = ESCAPES.get(code);
    if (character === undefined) this.#fail("invalid escape");
    this.#at += 2;
    return character;
  }

  #accept(character: string): boolean {
    this.#match(SPACE);
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const text = pattern.exec(this.#text)?.[0] ?? "";
    this.#at += text.length;
    return text;
  }

  #fail(problem: string): never {
    throw new JsonError(`${problem} at ${this.#place()}`);
  }

  #place(): string {
    const before = this.#text.slice(0, this.#at).split("\n");
    return `line ${before.length} column ${(before.at(-1)?.length ?? 0) + 1}`;
  }
}
