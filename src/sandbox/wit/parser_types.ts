/**
 * The part of the WIT grammar that is about types: `list<u8>`, and the bodies of records, variants,
 * enums, flags and aliases.
 */
import type { Named } from "./model.ts";
import type { Lexer, Token } from "./lexer.ts";
import type { CaseSyntax, FieldSyntax, TypeBody, TypeSyntax } from "./syntax.ts";

/** Deeper nesting than this is refused instead of using up the stack. */
const DEPTH_MAX = 100;

/** A type where one is used. */
export function parseType(lexer: Lexer, depth = 0): TypeSyntax {
  const token = lexer.word("a type");
  if (depth > DEPTH_MAX) lexer.fail(token, `types nested deeper than ${DEPTH_MAX}`);
  const inner = () => parseType(lexer, depth + 1);
  if (token.escaped) return { kind: "name", name: token.text, offset: token.offset };
  switch (token.text) {
    case "list":
      return arguments_(lexer, () => list(lexer, inner()));
    case "map":
      return arguments_(lexer, () => {
        const key = inner();
        lexer.expect(",");
        return { kind: "map", key, value: inner() };
      });
    case "option":
      return arguments_(lexer, () => ({ kind: "option", some: inner() }));
    case "tuple":
      return arguments_(lexer, () => ({ kind: "tuple", items: separated(lexer, ">", inner) }));
    case "result":
      return result(lexer, inner);
    case "stream":
    case "future": {
      const kind = token.text;
      if (lexer.peek().text !== "<") return { kind, element: null };
      return arguments_(lexer, () => ({ kind, element: inner() }));
    }
    case "own":
    case "borrow": {
      const kind = token.text;
      return arguments_(lexer, () => {
        const resource = lexer.word("a resource");
        return { kind, resource: resource.text, offset: resource.offset };
      });
    }
    default:
      return { kind: "name", name: canonical(token.text), offset: token.offset };
  }
}

/** Old spellings of the floats. */
function canonical(name: string): string {
  return name === "float32" ? "f32" : name === "float64" ? "f64" : name;
}

function arguments_<T>(lexer: Lexer, read: () => T): T {
  lexer.expect("<");
  const value = read();
  lexer.expect(">");
  return value;
}

/** `list<T>` or the fixed `list<T, 4>`. */
function list(lexer: Lexer, element: TypeSyntax): TypeSyntax {
  if (!lexer.accept(",")) return { kind: "list", element };
  const token = lexer.next();
  const length = Number(token.text);
  if (token.kind !== "integer" || !Number.isSafeInteger(length)) {
    lexer.fail(token, "expected the length of the list");
  }
  return { kind: "list", element, length };
}

function result(lexer: Lexer, inner: () => TypeSyntax): TypeSyntax {
  if (lexer.peek().text !== "<") return { kind: "result", ok: null, error: null };
  return arguments_(lexer, () => {
    const ok = lexer.accept("_") ? null : inner();
    const error = lexer.accept(",") ? inner() : null;
    return { kind: "result", ok, error };
  });
}

/** Items with commas between them, up to a closing token that is not taken. */
function separated<T>(lexer: Lexer, end: string, read: () => T): T[] {
  const items: T[] = [];
  while (lexer.peek().text !== end) {
    items.push(read());
    if (!lexer.accept(",")) break;
  }
  return items;
}

/** The body of a type definition, behind its name. */
export function parseTypeBody(lexer: Lexer, keyword: Token): TypeBody {
  if (keyword.text === "type") {
    lexer.expect("=");
    const type = parseType(lexer);
    lexer.expect(";");
    return { kind: "alias", type };
  }
  lexer.expect("{");
  const body = braced(lexer, keyword);
  lexer.expect("}");
  return body;
}

function braced(lexer: Lexer, keyword: Token): TypeBody {
  switch (keyword.text) {
    case "record":
      return { kind: "record", fields: separated(lexer, "}", () => field(lexer)) };
    case "variant":
      return { kind: "variant", cases: separated(lexer, "}", () => variantCase(lexer)) };
    case "enum":
      return { kind: "enum", cases: separated(lexer, "}", () => item(lexer)) };
    case "flags":
      return { kind: "flags", flags: separated(lexer, "}", () => item(lexer)) };
    default:
      return lexer.fail(keyword, "expected a type definition");
  }
}

function item(lexer: Lexer): Named {
  const token = lexer.word("a name");
  return token.docs === undefined ? { name: token.text } : { name: token.text, docs: token.docs };
}

function field(lexer: Lexer): FieldSyntax {
  const name = item(lexer);
  lexer.expect(":");
  return { ...name, type: parseType(lexer) };
}

function variantCase(lexer: Lexer): CaseSyntax {
  const name = item(lexer);
  if (lexer.peek().text !== "(") return { ...name, type: null };
  lexer.expect("(");
  const type = parseType(lexer);
  lexer.expect(")");
  return { ...name, type };
}
