/**
 * WIT text to syntax: packages with their interfaces and worlds.
 *
 * Owns the grammar, as far as `wasm-tools component wit` prints it: attributes (`@since` …) are
 * skipped, `include` does not occur. Must not know what a name stands for.
 * Source: the component model's WIT.md and wit-component's printer.
 */
import type { Named } from "./model.ts";
import { Lexer, type Token } from "./lexer.ts";
import { parseType, parseTypeBody } from "./parser_types.ts";
import {
  type FieldSyntax,
  type FunctionSyntax,
  interfaceId,
  type InterfaceSyntax,
  type PackageSyntax,
  type TypeDefinition,
  type WorldItemSyntax,
  type WorldSyntax,
} from "./syntax.ts";

/**
 * Reads WIT text: a main package, then `package … { … }` blocks.
 * @throws AtollError component, with line and column.
 */
export function parseWit(text: string): readonly PackageSyntax[] {
  const lexer = new Lexer(text);
  const packages: PackageSyntax[] = [];
  skipAttributes(lexer);
  lexer.expect("package");
  const main = packageHead(lexer);
  lexer.expect(";");
  const content = packageContent(lexer, main, "package");
  packages.push({ ...main, ...content });
  while (lexer.peek().kind !== "end") {
    lexer.expect("package");
    const nested = packageHead(lexer);
    lexer.expect("{");
    packages.push({ ...nested, ...packageContent(lexer, nested, "}") });
    lexer.expect("}");
    skipAttributes(lexer);
  }
  return packages;
}

interface PackageHead {
  readonly name: string;
  readonly version: string | null;
}

function packageHead(lexer: Lexer): PackageHead {
  const namespace = lexer.word("a namespace").text;
  lexer.expect(":");
  const name = `${namespace}:${lexer.word("a package name").text}`;
  return { name, version: lexer.accept("@") ? lexer.version() : null };
}

function packageContent(lexer: Lexer, head: PackageHead, end: "package" | "}") {
  const interfaces: InterfaceSyntax[] = [];
  const worlds: WorldSyntax[] = [];
  for (;;) {
    const docs = skipAttributes(lexer);
    const token = lexer.peek();
    if (token.kind === "end" || token.text === end) return { interfaces, worlds };
    if (lexer.accept("interface")) {
      const name = lexer.word("the interface's name").text;
      interfaces.push(interfaceBody(lexer, head, named(name, docs)));
    } else if (lexer.accept("world")) {
      worlds.push(world(lexer, head, named(lexer.word("the world's name").text, docs)));
    } else {
      lexer.fail(token, "expected `interface`, `world` or `package`");
    }
  }
}

function interfaceBody(lexer: Lexer, head: PackageHead, name: Named): InterfaceSyntax {
  const types: TypeDefinition[] = [];
  const functions: FunctionSyntax[] = [];
  lexer.expect("{");
  for (;;) {
    const docs = skipAttributes(lexer);
    if (lexer.accept("}")) return { ...name, types, functions };
    if (typeItem(lexer, head, types, docs)) continue;
    const token = lexer.word("a type or a function");
    lexer.expect(":");
    functions.push(func(lexer, named(token.text, docs)));
    lexer.expect(";");
  }
}

function world(lexer: Lexer, head: PackageHead, name: Named): WorldSyntax {
  const types: TypeDefinition[] = [];
  const imports: WorldItemSyntax[] = [];
  const exports: WorldItemSyntax[] = [];
  lexer.expect("{");
  for (;;) {
    const docs = skipAttributes(lexer);
    if (lexer.accept("}")) return { ...name, types, imports, exports };
    if (lexer.accept("import")) imports.push(worldItem(lexer, head, docs));
    else if (lexer.accept("export")) exports.push(worldItem(lexer, head, docs));
    else if (!typeItem(lexer, head, types, docs)) {
      lexer.fail(lexer.peek(), "expected `import`, `export` or a type");
    }
  }
}

/** What stands behind `import` or `export`. */
function worldItem(lexer: Lexer, head: PackageHead, docs: string | undefined): WorldItemSyntax {
  const token = lexer.word("a name");
  if (!lexer.accept(":")) {
    const id = interfaceId(head.name, token.text, head.version);
    lexer.expect(";");
    return { kind: "reference", name: id, interface: id, offset: token.offset };
  }
  const next = lexer.peek();
  if (!next.escaped && next.text === "interface") {
    lexer.next();
    return { kind: "inline", interface: interfaceBody(lexer, head, named(token.text, docs)) };
  }
  if (!next.escaped && FUNCTION_WORDS.has(next.text)) {
    const item = func(lexer, named(token.text, docs));
    lexer.expect(";");
    return { kind: "function", function: item };
  }
  // `namespace:package/name@1.2.3`, or `label: path`.
  const word = lexer.word("an interface, `func` or a package's name");
  const second = word.text;
  // These two are no keywords: packages and interfaces may have such a name.
  if (ACCESSOR_WORDS.has(second) && !word.escaped && lexer.peek().text === "(") {
    const item = signature(lexer, named(token.text, docs), "accessor", false);
    lexer.expect(";");
    return { kind: "function", function: item };
  }
  if (lexer.accept("/")) {
    const id = pathTail(lexer, `${token.text}:${second}`);
    lexer.expect(";");
    return { kind: "reference", name: id, interface: id, offset: token.offset };
  }
  const target = lexer.accept(":")
    ? packagePath(lexer, second)
    : interfaceId(head.name, second, head.version);
  lexer.expect(";");
  return { kind: "reference", name: token.text, interface: target, offset: token.offset };
}

const FUNCTION_WORDS: ReadonlySet<string> = new Set(["func", "async"]);
const ACCESSOR_WORDS: ReadonlySet<string> = new Set(["get", "set"]);

/** `package/name@version` behind `namespace:`. */
function packagePath(lexer: Lexer, namespace: string): string {
  const name = lexer.word("a package name").text;
  lexer.expect("/");
  return pathTail(lexer, `${namespace}:${name}`);
}

function pathTail(lexer: Lexer, packageName: string): string {
  const name = lexer.word("an interface's name").text;
  return interfaceId(packageName, name, lexer.accept("@") ? lexer.version() : null);
}

/** Reads a type definition or `use` if there is one. */
function typeItem(
  lexer: Lexer,
  head: PackageHead,
  types: TypeDefinition[],
  docs: string | undefined,
): boolean {
  const token = lexer.peek();
  if (token.kind !== "word" || token.escaped || !TYPE_WORDS.has(token.text)) return false;
  lexer.next();
  if (token.text === "use") {
    types.push(...use(lexer, head));
    return true;
  }
  const name = lexer.word(`the name of the ${token.text}`);
  const definition = { ...named(name.text, docs), offset: name.offset };
  if (token.text === "resource") {
    types.push({ ...definition, body: { kind: "resource", functions: methods(lexer, name.text) } });
  } else {
    types.push({ ...definition, body: parseTypeBody(lexer, token) });
  }
  return true;
}

const TYPE_WORDS: ReadonlySet<string> = new Set([
  "use",
  "type",
  "record",
  "variant",
  "enum",
  "flags",
  "resource",
]);

/** `use path.{a, b as c};` */
function use(lexer: Lexer, head: PackageHead): TypeDefinition[] {
  const first = lexer.word("an interface's name").text;
  const from = lexer.accept(":")
    ? packagePath(lexer, first)
    : interfaceId(head.name, first, head.version);
  lexer.expect(".");
  lexer.expect("{");
  const definitions: TypeDefinition[] = [];
  while (!lexer.accept("}")) {
    const name = lexer.word("a type's name");
    const own = lexer.accept("as") ? lexer.word("a name").text : name.text;
    const body = { kind: "use", from, name: name.text } as const;
    definitions.push({ name: own, offset: name.offset, body });
    if (!lexer.accept(",")) {
      lexer.expect("}");
      break;
    }
  }
  lexer.expect(";");
  return definitions;
}

/** The functions of a resource, `;` or `{ … }`. */
function methods(lexer: Lexer, resource: string): FunctionSyntax[] {
  const functions: FunctionSyntax[] = [];
  if (lexer.accept(";")) return functions;
  lexer.expect("{");
  for (;;) {
    const docs = skipAttributes(lexer);
    if (lexer.accept("}")) return functions;
    const token = lexer.word("a method");
    if (token.text === "constructor" && !token.escaped && lexer.peek().text === "(") {
      const name = named("constructor", docs);
      functions.push({ ...signature(lexer, name, "constructor", false), resource });
    } else {
      lexer.expect(":");
      functions.push({ ...func(lexer, named(token.text, docs), true), resource });
    }
    lexer.expect(";");
  }
}

/** `[static] [async] func(…) -> …`, or `get(…)`, `set(…)`. */
function func(lexer: Lexer, name: Named, inResource = false): FunctionSyntax {
  const isStatic = inResource && lexer.accept("static");
  const isAsync = lexer.accept("async");
  if (lexer.accept("get") || lexer.accept("set")) {
    return signature(lexer, name, "accessor", isAsync);
  }
  lexer.expect("func");
  const kind = !inResource ? "free" : isStatic ? "static" : "method";
  return signature(lexer, name, kind, isAsync);
}

function signature(
  lexer: Lexer,
  name: Named,
  kind: FunctionSyntax["kind"],
  isAsync: boolean,
): FunctionSyntax {
  lexer.expect("(");
  const params: FieldSyntax[] = [];
  while (!lexer.accept(")")) {
    const param = lexer.word("a parameter");
    lexer.expect(":");
    params.push({ name: param.text, type: parseType(lexer) });
    if (!lexer.accept(",")) {
      lexer.expect(")");
      break;
    }
  }
  const result = lexer.accept("->") ? parseType(lexer) : null;
  return { ...name, kind, async: isAsync, params, result };
}

/** Skips `@since(version = 1.2.3)` and its like; returns the documentation before or after them. */
export function skipAttributes(lexer: Lexer): string | undefined {
  let docs = lexer.peek().docs;
  while (lexer.accept("@")) {
    lexer.word("an attribute");
    const open: Token = lexer.peek();
    if (open.text === "(") lexer.skipParentheses();
    docs ??= lexer.peek().docs;
  }
  return docs;
}

/** A name, with documentation where there is some. */
export function named(name: string, docs: string | undefined): Named {
  return docs === undefined ? { name } : { name, docs };
}
