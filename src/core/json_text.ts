/**
 * JSON files that people write: where a mistake is, by line and column.
 *
 * Owns: a scanner for RFC 8259 that knows positions. `JSON.parse` gives the value; its messages
 * differ between the runtimes and JavaScriptCore's have no position. Must not know what is in the
 * files.
 */

/** A place in a text, both counted from 1. Columns are UTF-16 code units. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export type JsonScan =
  | { readonly ok: true; readonly value: unknown; position(path: readonly Key[]): Position | null }
  | { readonly ok: false; readonly message: string; readonly position: Position };

type Key = string | number;

/** Deeper texts are refused: nobody writes them, and the scanner recurses. */
const DEEPEST = 200;

/** Parses a JSON text and remembers where each member is. A byte order mark is skipped. */
export function scanJson(source: string): JsonScan {
  const text = source.startsWith("\ufeff") ? source.slice(1) : source;
  const scanner = new Scanner(text);
  try {
    scanner.document();
  } catch (thrown) {
    if (!(thrown instanceof SyntaxAt)) throw thrown;
    return { ok: false, message: thrown.message, position: positionOf(text, thrown.offset) };
  }
  return {
    ok: true,
    value: JSON.parse(text),
    position: (path) => {
      const offset = scanner.offsets.get(JSON.stringify(path));
      return offset === undefined ? null : positionOf(text, offset);
    },
  };
}

function positionOf(text: string, offset: number): Position {
  const before = text.slice(0, offset);
  const line = before.split("\n").length;
  return { line, column: offset - (before.lastIndexOf("\n") + 1) + 1 };
}

class SyntaxAt extends Error {
  constructor(readonly offset: number, message: string) {
    super(message);
  }
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
// deno-lint-ignore no-control-regex -- RFC 8259 §7: control characters must be escaped
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;

class Scanner {
  readonly offsets = new Map<string, number>();
  #at = 0;
  readonly #path: Key[] = [];

  constructor(readonly text: string) {}

  document(): void {
    this.#value();
    this.#space();
    if (this.#at < this.text.length) this.#fail(`unexpected ${this.#shown()} after the value`);
  }

  #value(): void {
    this.#space();
    const key = JSON.stringify(this.#path);
    if (!this.offsets.has(key)) this.offsets.set(key, this.#at);
    if (this.#path.length > DEEPEST) this.#fail("nested too deep");
    const first = this.text[this.#at];
    if (first === "{") return this.#object();
    if (first === "[") return this.#array();
    if (first === '"') return void this.#string();
    for (const word of ["true", "false", "null"]) {
      if (this.text.startsWith(word, this.#at)) return void (this.#at += word.length);
    }
    if (this.#match(NUMBER) === null) this.#fail(`expected a value, found ${this.#shown()}`);
  }

  #object(): void {
    this.#at++;
    const seen = new Set<string>();
    for (let first = true;; first = false) {
      this.#space();
      if (this.text[this.#at] === "}" && first) break;
      if (this.text[this.#at] === "}") this.#fail("comma before the closing brace");
      if (this.text[this.#at] !== '"') this.#fail(`expected a quoted key, found ${this.#shown()}`);
      const start = this.#at;
      const key = this.#string();
      if (seen.has(key)) {
        this.#at = start;
        this.#fail(`key ${JSON.stringify(key)} is there twice`);
      }
      seen.add(key);
      this.#path.push(key);
      this.offsets.set(JSON.stringify(this.#path), start);
      this.#space();
      if (this.text[this.#at] !== ":") this.#fail(`expected ":", found ${this.#shown()}`);
      this.#at++;
      this.#value();
      this.#path.pop();
      this.#space();
      if (this.text[this.#at] === "}") break;
      if (this.text[this.#at] !== ",") this.#fail(`expected "," or "}", found ${this.#shown()}`);
      this.#at++;
    }
    this.#at++;
  }

  #array(): void {
    this.#at++;
    for (let index = 0;; index++) {
      this.#space();
      if (this.text[this.#at] === "]" && index === 0) break;
      if (this.text[this.#at] === "]") this.#fail("comma before the closing bracket");
      this.#path.push(index);
      this.#value();
      this.#path.pop();
      this.#space();
      if (this.text[this.#at] === "]") break;
      if (this.text[this.#at] !== ",") this.#fail(`expected "," or "]", found ${this.#shown()}`);
      this.#at++;
    }
    this.#at++;
  }

  #string(): string {
    const found = this.#match(STRING);
    if (found === null) this.#fail("string is not closed, or has a bad escape");
    return JSON.parse(found) as string;
  }

  #match(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.text)?.[0];
    if (found === undefined) return null;
    this.#at += found.length;
    return found;
  }

  #space(): void {
    while (" \t\n\r".includes(this.text[this.#at] ?? "x")) this.#at++;
    if (this.text.startsWith("//", this.#at) || this.text.startsWith("/*", this.#at)) {
      this.#fail("comments are not part of JSON");
    }
  }

  #shown(): string {
    const found = this.text[this.#at];
    return found === undefined ? "the end of the file" : JSON.stringify(found);
  }

  #fail(message: string): never {
    throw new SyntaxAt(this.#at, message);
  }
}
