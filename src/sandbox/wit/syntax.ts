/**
 * WIT as written: names still unresolved. What `parser.ts` makes and `resolve.ts` reads.
 */
import type { FunctionKind, Named } from "./model.ts";

/** A type as written. A word that is no built-in stays a `name`, with where it stood. */
export type TypeSyntax =
  | { readonly kind: "name"; readonly name: string; readonly offset: number }
  | { readonly kind: "list"; readonly element: TypeSyntax; readonly length?: number }
  | { readonly kind: "map"; readonly key: TypeSyntax; readonly value: TypeSyntax }
  | { readonly kind: "option"; readonly some: TypeSyntax }
  | { readonly kind: "result"; readonly ok: TypeSyntax | null; readonly error: TypeSyntax | null }
  | { readonly kind: "tuple"; readonly items: readonly TypeSyntax[] }
  | { readonly kind: "own" | "borrow"; readonly resource: string; readonly offset: number }
  | { readonly kind: "stream" | "future"; readonly element: TypeSyntax | null };

export interface FieldSyntax extends Named {
  readonly type: TypeSyntax;
}

export interface CaseSyntax extends Named {
  readonly type: TypeSyntax | null;
}

export type TypeBody =
  | { readonly kind: "alias"; readonly type: TypeSyntax }
  | { readonly kind: "record"; readonly fields: readonly FieldSyntax[] }
  | { readonly kind: "variant"; readonly cases: readonly CaseSyntax[] }
  | { readonly kind: "enum"; readonly cases: readonly Named[] }
  | { readonly kind: "flags"; readonly flags: readonly Named[] }
  | { readonly kind: "resource"; readonly functions: readonly FunctionSyntax[] }
  /** `use other.{name}`. */
  | { readonly kind: "use"; readonly from: string; readonly name: string };

export interface TypeDefinition extends Named {
  readonly offset: number;
  readonly body: TypeBody;
}

export interface FunctionSyntax extends Named {
  readonly kind: FunctionKind;
  readonly resource?: string;
  readonly async: boolean;
  readonly params: readonly FieldSyntax[];
  readonly result: TypeSyntax | null;
}

export interface InterfaceSyntax extends Named {
  readonly types: readonly TypeDefinition[];
  readonly functions: readonly FunctionSyntax[];
}

export type WorldItemSyntax =
  | { readonly kind: "function"; readonly function: FunctionSyntax }
  | { readonly kind: "inline"; readonly interface: InterfaceSyntax }
  | {
    readonly kind: "reference";
    readonly name: string;
    readonly interface: string;
    readonly offset: number;
  };

export interface WorldSyntax extends Named {
  readonly types: readonly TypeDefinition[];
  readonly imports: readonly WorldItemSyntax[];
  readonly exports: readonly WorldItemSyntax[];
}

export interface PackageSyntax {
  /** `demo:text`, without the version. */
  readonly name: string;
  readonly version: string | null;
  readonly interfaces: readonly InterfaceSyntax[];
  readonly worlds: readonly WorldSyntax[];
}

/** A package's name with its version, `demo:text@0.1.0`. */
export function packageId(name: string, version: string | null): string {
  return version === null ? name : `${name}@${version}`;
}

/** An interface's name in WIT, `demo:text/api@0.1.0`. */
export function interfaceId(name: string, inside: string, version: string | null): string {
  return packageId(`${name}/${inside}`, version);
}
