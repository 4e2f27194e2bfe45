/**
 * WIT syntax to the model: every name replaced by what it stands for.
 *
 * Owns scopes, `use` and aliases. Must not know where the WIT comes from.
 */
import { AtollError } from "../../core/errors.ts";
import {
  type Field,
  type PrimitiveKind,
  PRIMITIVES,
  type WitFunction,
  type WitType,
  type World,
  type WorldItem,
} from "./model.ts";
import { parseWit } from "./parser.ts";
import {
  type FunctionSyntax,
  interfaceId,
  type InterfaceSyntax,
  type TypeDefinition,
  type TypeSyntax,
  type WorldItemSyntax,
  type WorldSyntax,
} from "./syntax.ts";

/** What a type name stands for; a resource is no value type but can be named by handles. */
type Definition =
  | { readonly kind: "type"; readonly type: WitType }
  | { readonly kind: "resource"; readonly name: string };

/**
 * The world of a component, from its WIT text.
 * @throws AtollError component: not WIT, or a name that stands for nothing.
 */
export function readWorld(text: string): World {
  const packages = parseWit(text);
  const main = packages[0]?.worlds[0];
  if (main === undefined) {
    throw new AtollError("component", "Cannot read WIT: it has no world");
  }
  const interfaces = new Map<string, InterfaceSyntax>();
  for (const { name, version, interfaces: members } of packages) {
    for (const member of members) interfaces.set(interfaceId(name, member.name, version), member);
  }
  return new Resolver(interfaces).world(main);
}

class Resolver {
  readonly #interfaces: ReadonlyMap<string, InterfaceSyntax>;
  readonly #scopes = new Map<string, Scope>();

  constructor(interfaces: ReadonlyMap<string, InterfaceSyntax>) {
    this.#interfaces = interfaces;
  }

  world(syntax: WorldSyntax): World {
    const scope = new Scope(syntax.types, this);
    const item = (each: WorldItemSyntax) => this.#item(each, scope);
    return {
      name: syntax.name,
      ...(syntax.docs === undefined ? {} : { docs: syntax.docs }),
      imports: syntax.imports.map(item),
      exports: syntax.exports.map(item),
    };
  }

  /** The scope of an interface of another package or this one. */
  scope(id: string): Scope {
    let scope = this.#scopes.get(id);
    if (scope === undefined) {
      scope = new Scope(this.#interface(id).types, this);
      this.#scopes.set(id, scope);
    }
    return scope;
  }

  #interface(id: string): InterfaceSyntax {
    const found = this.#interfaces.get(id);
    if (found === undefined) {
      throw new AtollError("component", `Cannot read WIT: interface \`${id}\` is not defined`);
    }
    return found;
  }

  #item(item: WorldItemSyntax, scope: Scope): WorldItem {
    switch (item.kind) {
      case "function":
        return { kind: "function", function: scope.function(item.function) };
      case "inline":
        // Types of the world are not visible inside; the printer writes `use` for what is shared.
        return interfaceItem(
          item.interface.name,
          item.interface,
          new Scope(item.interface.types, this),
        );
      case "reference":
        return interfaceItem(
          item.name,
          this.#interface(item.interface),
          this.scope(item.interface),
        );
    }
  }
}

function interfaceItem(name: string, syntax: InterfaceSyntax, scope: Scope): WorldItem {
  const functions = syntax.functions.map((each) => scope.function(each));
  const resources: string[] = [];
  for (const type of syntax.types) {
    if (type.body.kind !== "resource") continue;
    resources.push(type.name);
    functions.push(...type.body.functions.map((each) => scope.function(each)));
  }
  const docs = syntax.docs === undefined ? {} : { docs: syntax.docs };
  return { kind: "interface", name, ...docs, functions, resources };
}

/** The type names of one interface or world. */
class Scope {
  readonly #definitions: ReadonlyMap<string, TypeDefinition>;
  readonly #resolver: Resolver;
  readonly #resolved = new Map<string, Definition | "resolving">();

  constructor(types: readonly TypeDefinition[], resolver: Resolver) {
    this.#definitions = new Map(types.map((type) => [type.name, type]));
    this.#resolver = resolver;
  }

  function(syntax: FunctionSyntax): WitFunction {
    return {
      ...syntax,
      params: syntax.params.map((param) => ({ ...param, type: this.type(param.type) })),
      result: syntax.result === null ? null : this.type(syntax.result),
    };
  }

  lookup(name: string): Definition {
    const known = this.#resolved.get(name);
    if (known === "resolving") {
      throw new AtollError("component", `Cannot read WIT: type \`${name}\` contains itself`);
    }
    if (known !== undefined) return known;
    const definition = this.#definitions.get(name);
    if (definition === undefined) {
      throw new AtollError("component", `Cannot read WIT: type \`${name}\` is not defined`);
    }
    this.#resolved.set(name, "resolving");
    const resolved = this.#define(definition);
    this.#resolved.set(name, resolved);
    return resolved;
  }

  #define(definition: TypeDefinition): Definition {
    const { body, name } = definition;
    const docs = definition.docs === undefined ? {} : { docs: definition.docs };
    switch (body.kind) {
      case "use":
        return this.#resolver.scope(body.from).lookup(body.name);
      case "resource":
        return { kind: "resource", name };
      case "alias": {
        if (body.type.kind === "name" && !PRIMITIVES.has(body.type.name)) {
          const target = this.lookup(body.type.name);
          return target.kind === "resource"
            ? target
            : { kind: "type", type: { ...target.type, ...docs } };
        }
        return { kind: "type", type: { ...this.type(body.type), ...docs } };
      }
      case "record":
        return {
          kind: "type",
          type: { kind: "record", name, ...docs, fields: this.#fields(body) },
        };
      case "variant": {
        const cases = body.cases.map((each) => ({
          ...each,
          type: each.type === null ? null : this.type(each.type),
        }));
        return { kind: "type", type: { kind: "variant", name, ...docs, cases } };
      }
      case "enum":
        return { kind: "type", type: { kind: "enum", name, ...docs, cases: body.cases } };
      case "flags":
        return { kind: "type", type: { kind: "flags", name, ...docs, flags: body.flags } };
    }
  }

  #fields(body: { readonly fields: FunctionSyntax["params"] }): Field[] {
    return body.fields.map((field) => ({ ...field, type: this.type(field.type) }));
  }

  type(syntax: TypeSyntax): WitType {
    const optional = (each: TypeSyntax | null) => each === null ? null : this.type(each);
    switch (syntax.kind) {
      case "name": {
        if (PRIMITIVES.has(syntax.name)) return { kind: syntax.name as PrimitiveKind };
        const found = this.lookup(syntax.name);
        return found.kind === "type"
          ? found.type
          : { kind: "handle", resource: found.name, borrowed: false };
      }
      case "list": {
        const element = this.type(syntax.element);
        return syntax.length === undefined
          ? { kind: "list", element }
          : { kind: "list", element, length: syntax.length };
      }
      case "map":
        return { kind: "map", key: this.type(syntax.key), value: this.type(syntax.value) };
      case "option":
        return { kind: "option", some: this.type(syntax.some) };
      case "result":
        return { kind: "result", ok: optional(syntax.ok), error: optional(syntax.error) };
      case "tuple":
        return { kind: "tuple", items: syntax.items.map((item) => this.type(item)) };
      case "own":
      case "borrow":
        return {
          kind: "handle",
          resource: this.#resource(syntax.resource),
          borrowed: syntax.kind === "borrow",
        };
      case "stream":
      case "future":
        return { kind: syntax.kind, element: optional(syntax.element) };
    }
  }

  #resource(name: string): string {
    const found = this.lookup(name);
    if (found.kind !== "resource") {
      throw new AtollError("component", `Cannot read WIT: \`${name}\` is not a resource`);
    }
    return found.name;
  }
}
