/**
 * Documentation comments of a plugin's WIT, put into its component.
 *
 * Owns: reading `///` out of WIT sources and writing the custom section `package-docs`, from which
 * wit-parser (crate wit-parser, `metadata.rs`, format 1) gives them back when it decodes the
 * component. No toolchain keeps them on its own. Must not know what becomes of them.
 *
 * Only what the section can say is written: exported functions of the world itself and of
 * interfaces written in it, and the types that those functions use. A name that the component does
 * not have would make it unreadable, so nothing else is.
 */

interface Docs {
  docs?: string;
}

interface TypeDocs extends Docs {
  items?: Record<string, string>;
}

interface WorldDocs extends Docs {
  types?: Record<string, TypeDocs>;
  funcs?: Record<string, Docs>;
  interfaces?: Record<string, Docs & { funcs?: Record<string, Docs> }>;
}

/**
 * The component with the documentation of a world appended, or the component itself where there is
 * nothing to add. `world` is needed only where the sources have several.
 */
export function withWitDocs(
  component: Uint8Array,
  witSources: readonly string[],
  world?: string,
): Uint8Array {
  if (includes(component, SECTION)) return component;
  const worlds = witSources.flatMap((source) => new Reader(source).worlds());
  const chosen = world === undefined ? worlds : worlds.filter((found) => found.name === world);
  const only = chosen[0];
  if (only === undefined || chosen.length > 1 || Object.keys(only.docs).length === 0) {
    return component;
  }
  return concat(component, section({ worlds: { root: only.docs } }));
}

/** Name of the custom section; wit-parser reads one of them. */
const SECTION = new TextEncoder().encode("package-docs");

/** A custom section: id 0, size, name, then format 1 and JSON. */
function section(content: unknown): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(content));
  const body = concat(leb128(SECTION.length), SECTION, Uint8Array.of(1), json);
  return concat(Uint8Array.of(0), leb128(body.length), body);
}

function leb128(value: number): Uint8Array {
  const bytes: number[] = [];
  do {
    const low = value % 128;
    value = Math.floor(value / 128);
    bytes.push(value > 0 ? low + 128 : low);
  } while (value > 0);
  return Uint8Array.from(bytes);
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function includes(bytes: Uint8Array, wanted: Uint8Array): boolean {
  const first = wanted[0] ?? 0;
  for (let at = bytes.indexOf(first); at >= 0; at = bytes.indexOf(first, at + 1)) {
    if (wanted.every((byte, i) => bytes[at + i] === byte)) return true;
  }
  return false;
}

interface Token {
  readonly kind: "doc" | "name" | "mark";
  readonly text: string;
}

// In order: doc line, doc block, comments, names (also versions), marks.
const LEXEMES =
  /\/\/\/([^\n]*)|\/\*\*([\s\S]*?)\*\/|\/\/[^\n]*|\/\*[\s\S]*?\*\/|(%?[A-Za-z0-9_][A-Za-z0-9_.+-]*)|(->|[^\s])/g;

function tokens(source: string): Token[] {
  const found: Token[] = [];
  for (const [, line, block, name, mark] of source.matchAll(LEXEMES)) {
    if (line !== undefined) found.push({ kind: "doc", text: line.replace(/^ /, "").trimEnd() });
    else if (block !== undefined) {
      const lines = block.split("\n").map((text) => text.replace(/^\s*\*? ?/, "").trimEnd());
      found.push({ kind: "doc", text: lines.join("\n").trim() });
    } else if (name !== undefined) found.push({ kind: "name", text: name.replace(/^%/, "") });
    else if (mark !== undefined) found.push({ kind: "mark", text: mark });
  }
  return found;
}

interface FoundType {
  readonly docs: TypeDocs;
  /** Names of types that it is made of. */
  readonly uses: readonly string[];
}

/** Reads as much of WIT as has documentation to offer; the rest is skipped. */
class Reader {
  readonly #tokens: readonly Token[];
  #at = 0;
  #docs: string[] = [];
  /** Set by `@unstable`: the item may be absent from the component. */
  #unstable = false;

  constructor(source: string) {
    this.#tokens = tokens(source);
  }

  worlds(): { name: string; docs: WorldDocs }[] {
    const found: { name: string; docs: WorldDocs }[] = [];
    for (let word = this.#next(); word !== undefined; word = this.#next()) {
      const docs = this.#takeDocs();
      if (word.text === "world") {
        const name = this.#next()?.text ?? "";
        this.#next();
        found.push({ name, docs: { ...docs, ...this.#world() } });
      } else this.#skipItem();
    }
    return found;
  }

  /** The members of a world, up to its closing brace. */
  #world(): WorldDocs {
    const funcs: Record<string, Docs> = {};
    const interfaces: NonNullable<WorldDocs["interfaces"]> = {};
    const types = new Map<string, FoundType>();
    const used: string[] = [];
    for (let word = this.#next(); word !== undefined && word.text !== "}"; word = this.#next()) {
      const unstable = this.#unstable;
      const docs = this.#takeDocs();
      if (COMPOUND.has(word.text)) {
        const name = this.#next()?.text ?? "";
        types.set(name, this.#type(docs));
      } else if (word.text === "export" && this.#peek(1) === ":" && !unstable) {
        const name = this.#next()?.text ?? "";
        this.#next();
        if (this.#peek() === "interface") {
          this.#next();
          this.#next();
          interfaces[name] = { ...docs, funcs: this.#interface() };
        } else if (this.#peek() === "func" || this.#peek() === "async") {
          if (docs.docs !== undefined) funcs[name] = docs;
          used.push(...this.#skipItem());
        } else this.#skipItem();
      } else this.#skipItem();
    }
    return {
      ...whenAny("types", reachable(types, used)),
      ...whenAny("funcs", funcs),
      ...whenAny("interfaces", interfaces),
    };
  }

  /** The functions of an interface written inside a world, up to its closing brace. */
  #interface(): Record<string, Docs> {
    const funcs: Record<string, Docs> = {};
    for (let word = this.#next(); word !== undefined && word.text !== "}"; word = this.#next()) {
      const unstable = this.#unstable;
      const docs = this.#takeDocs();
      if (this.#peek() === ":" && docs.docs !== undefined && !unstable) funcs[word.text] = docs;
      this.#skipItem();
    }
    return funcs;
  }

  /** A record, variant, enum or flags, from its opening to its closing brace. */
  #type(docs: Docs): FoundType {
    const items: Record<string, string> = {};
    const uses: string[] = [];
    let depth = 0;
    let opens = true;
    this.#next();
    for (let word = this.#next(); word !== undefined; word = this.#next()) {
      if (word.text === "}" && depth === 0) break;
      if (word.text === "<" || word.text === "(") depth++;
      if (word.text === ">" || word.text === ")") depth--;
      if (opens) {
        const own = this.#takeDocs();
        if (own.docs !== undefined) items[word.text] = own.docs;
      } else if (word.kind === "name") uses.push(word.text);
      opens = word.text === "," && depth === 0;
    }
    this.#takeDocs();
    return { docs: { ...docs, ...whenAny("items", items) }, uses };
  }

  /** The next token that is no documentation, which is kept for `#takeDocs`. */
  #next(): Token | undefined {
    for (;;) {
      const token = this.#tokens[this.#at++];
      if (token === undefined) return undefined;
      if (token.kind === "doc") this.#docs.push(token.text);
      else if (token.text === "@") this.#gate();
      else return token;
    }
  }

  /** `@since(…)`, `@unstable(…)`, `@deprecated(…)`; a version's `@1.0` is not one. */
  #gate(): void {
    const name = this.#tokens[this.#at]?.text;
    if (this.#tokens[this.#at + 1]?.text !== "(") return;
    if (name === "unstable") this.#unstable = true;
    while (this.#at < this.#tokens.length && this.#tokens[this.#at++]?.text !== ")");
  }

  #peek(ahead = 0): string | undefined {
    return this.#tokens[this.#at + ahead]?.text;
  }

  #takeDocs(): Docs {
    const docs = this.#docs.join("\n").trim();
    this.#docs = [];
    this.#unstable = false;
    return docs === "" ? {} : { docs };
  }

  /** Goes past the item's `;` or its closing brace; gives the names in it. */
  #skipItem(): string[] {
    const names: string[] = [];
    let depth = 0;
    for (let word = this.#next(); word !== undefined; word = this.#next()) {
      if (word.kind === "name") names.push(word.text);
      if (word.text === ";" && depth === 0) break;
      if (word.text === "{") depth++;
      if (word.text === "}" && --depth <= 0) {
        // `include a with { … };` has both.
        if (this.#peek() === ";") this.#at++;
        break;
      }
    }
    this.#docs = [];
    this.#unstable = false;
    return names;
  }
}

/** Types that always keep their name in a component. */
const COMPOUND: ReadonlySet<string> = new Set(["record", "variant", "enum", "flags"]);

/** Documentation of those types that the names in `used` lead to. */
function reachable(
  types: ReadonlyMap<string, FoundType>,
  used: readonly string[],
): Record<string, TypeDocs> {
  const kept: Record<string, TypeDocs> = {};
  const seen = new Set<string>();
  const waiting = [...used];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const type = types.get(name);
    if (type === undefined || seen.has(name)) continue;
    seen.add(name);
    if (Object.keys(type.docs).length > 0) kept[name] = type.docs;
    waiting.push(...type.uses);
  }
  return kept;
}

function whenAny<K extends string, V extends object>(key: K, value: V): { [P in K]?: V } {
  return (Object.keys(value).length > 0 ? { [key]: value } : {}) as { [P in K]?: V };
}
