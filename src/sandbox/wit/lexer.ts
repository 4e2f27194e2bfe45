/**
 * Tokens of WIT text: words, punctuation, integers, and the documentation before each of them.
 *
 * Owns positions and the wording of syntax errors. Must not know the grammar.
 * Source: the component model's WIT.md, "Lexical structure".
 */
import { AtollError } from "../../core/errors.ts";

export interface Token {
  readonly kind: "word" | "integer" | "punctuation" | "end";
  /** Without the `%` of an escaped identifier. */
  readonly text: string;
  /** The word was written with `%`, so it is never a keyword. */
  readonly escaped: boolean;
  readonly offset: number;
  /** Documentation comments right before the token, one line each. */
  readonly docs: string | undefined;
}

const SPACE = /\s+/y;
const WORD = /%?[A-Za-z][A-Za-z0-9-]*/y;
const INTEGER = /[0-9]+/y;
const PUNCTUATION = /->|[{}()<>=,:;*@./_+-]/y;
// SemVer 2.0.0; greedy, but a `.` before `{` stays: `@0.2.6.{pollable}`.
const VERSION =
  /[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?/y;
const STRING = /"(?:[^"\\]|\\.)*"/y;
const OTHER = /[()]|[^()"]+/y;

export class Lexer {
  readonly #text: string;
  #offset = 0;
  #ahead: Token | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  /** The next token, not taken. */
  peek(): Token {
    return this.#ahead ??= this.#read();
  }

  /** Takes the next token. */
  next(): Token {
    const token = this.peek();
    this.#ahead = undefined;
    return token;
  }

  /** Takes the next token if it is this punctuation or keyword. */
  accept(text: string): boolean {
    const token = this.peek();
    if (token.text !== text || token.escaped || token.kind === "end") return false;
    this.#ahead = undefined;
    return true;
  }

  /** Takes the next token, which has to be this one. */
  expect(text: string): Token {
    const token = this.next();
    if (token.text !== text || token.escaped || token.kind === "end") {
      this.fail(token, `expected \`${text}\``);
    }
    return token;
  }

  /** Takes an identifier. */
  word(what: string): Token {
    const token = this.next();
    if (token.kind !== "word") this.fail(token, `expected ${what}`);
    return token;
  }

  /** Takes a version, whose parts are no tokens of their own. */
  version(): string {
    const from = this.#ahead ? this.#ahead.offset : this.#offset;
    this.#ahead = undefined;
    this.#offset = from;
    const text = this.#match(VERSION);
    if (text === undefined) this.fail(this.peek(), "expected a version such as 1.2.3");
    return text;
  }

  /** Skips `( … )` with anything in it, strings too: an attribute's arguments. */
  skipParentheses(): void {
    const open = this.expect("(");
    let depth = 1;
    while (depth > 0) {
      const text = this.#match(STRING) ?? this.#match(OTHER);
      if (text === undefined) this.fail(open, "a parenthesis is not closed");
      if (text === "(") depth += 1;
      if (text === ")") depth -= 1;
    }
  }

  /** @throws AtollError component: the text is not WIT, with line and column. */
  fail(token: Token, problem: string): never {
    const before = this.#text.slice(0, token.offset).split("\n");
    const at = `${before.length}:${(before.at(-1)?.length ?? 0) + 1}`;
    const found = token.kind === "end" ? "the end" : `\`${token.text}\``;
    throw new AtollError("component", `Cannot read WIT at ${at}: ${problem}, got ${found}`);
  }

  #read(): Token {
    const docs = this.#skip();
    const offset = this.#offset;
    const token = (kind: Token["kind"], text: string, escaped = false): Token => ({
      kind,
      text,
      escaped,
      offset,
      docs,
    });
    if (offset >= this.#text.length) return token("end", "");
    const word = this.#match(WORD);
    if (word !== undefined) {
      const escaped = word.startsWith("%");
      return token("word", escaped ? word.slice(1) : word, escaped);
    }
    const integer = this.#match(INTEGER);
    if (integer !== undefined) return token("integer", integer);
    const punctuation = this.#match(PUNCTUATION);
    if (punctuation !== undefined) return token("punctuation", punctuation);
    const character = String.fromCodePoint(this.#text.codePointAt(offset) ?? 0);
    return this.fail(token("punctuation", character), "expected a name or punctuation");
  }

  /** Skips space and comments; returns the documentation among them. */
  #skip(): string | undefined {
    const lines: string[] = [];
    for (;;) {
      this.#match(SPACE);
      if (this.#text.startsWith("//", this.#offset)) {
        const end = this.#text.indexOf("\n", this.#offset);
        const line = this.#text.slice(this.#offset, end < 0 ? undefined : end);
        this.#offset = end < 0 ? this.#text.length : end + 1;
        if (line.startsWith("///")) lines.push(line.slice(3).replace(/^ /, "").trimEnd());
      } else if (this.#text.startsWith("/*", this.#offset)) {
        const comment = this.#block();
        if (comment.startsWith("/**") && comment.length > 4) lines.push(...blockLines(comment));
      } else {
        const docs = lines.join("\n").trim();
        return docs === "" ? undefined : docs;
      }
    }
  }

  /** A block comment; they nest. */
  #block(): string {
    const start = this.#offset;
    let depth = 0;
    do {
      if (this.#text.startsWith("/*", this.#offset)) depth += 1;
      else if (this.#text.startsWith("*/", this.#offset)) depth -= 1;
      else if (this.#offset >= this.#text.length) {
        const token: Token = {
          kind: "end",
          text: "",
          escaped: false,
          offset: start,
          docs: undefined,
        };
        this.fail(token, "a comment is not closed");
      } else {
        this.#offset += 1;
        continue;
      }
      this.#offset += 2;
    } while (depth > 0);
    return this.#text.slice(start, this.#offset);
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#offset;
    const text = pattern.exec(this.#text)?.[0];
    if (text !== undefined) this.#offset += text.length;
    return text;
  }
}

function blockLines(comment: string): string[] {
  return comment.slice(3, -2).split("\n").map((line) => line.replace(/^\s*\*? ?/, "").trimEnd());
}
