/**
 * The shape of `atoll_abi.json` and what each emitter needs to know about it.
 *
 * Owns: reading and checking the description of the boundary. Must not know any target language.
 */
import { readFileSync } from "node:fs";

/** A named number. */
export interface Constant {
  readonly name: string;
  readonly type: "u8" | "u16" | "u32";
  readonly value: number;
  readonly doc: string;
}

/** One value of an {@link Enum}; `code` is the name TypeScript gives a status. */
export interface EnumValue {
  readonly name: string;
  readonly value: number;
  readonly doc: string;
  readonly code?: string;
}

/** A closed list of numbers with a common prefix. */
export interface Enum {
  readonly name: string;
  readonly prefix: string;
  readonly type: "u8" | "u16" | "u32";
  readonly doc: string;
  readonly values: readonly EnumValue[];
}

/** One field of a {@link Struct}, `count` elements of `type` at byte `offset`. */
export interface Field {
  readonly name: string;
  readonly type: "u8" | "u16" | "u32" | "u64" | "ptr";
  readonly offset: number;
  readonly count?: number;
  readonly doc: string;
}

/** A struct whose layout is the same in each language. */
export interface Struct {
  readonly name: string;
  readonly size: number;
  readonly doc: string;
  readonly fields: readonly Field[];
}

/**
 * A parameter. `bytes` and `ptr` point at bytes that are read, `out` and `mptr` at bytes that are
 * written, `cstruct` at a struct that is read, `cout` and `cinout` at one that is written.
 */
export interface Parameter {
  readonly name: string;
  readonly type:
    | "u32"
    | "u64"
    | "bytes"
    | "out"
    | "ptr"
    | "mptr"
    | "opaque"
    | "cstruct"
    | "cout"
    | "cinout"
    | "table"
    | "mtable";
  readonly struct?: string;
  readonly table?: string;
}

/** A function of the library, of a table, or the entry of an engine. */
export interface AbiFunction {
  readonly name: string;
  readonly returns: "status" | "u32" | "void";
  readonly hot?: boolean;
  readonly params: readonly Parameter[];
  readonly doc: string;
}

/** A table of function pointers that one side hands to the other. */
export interface Table {
  readonly name: string;
  readonly doc: string;
  readonly functions: readonly AbiFunction[];
}

/** The whole description. */
export interface Abi {
  readonly version: number;
  readonly about: string;
  readonly constants: readonly Constant[];
  readonly enums: readonly Enum[];
  readonly structs: readonly Struct[];
  readonly functions: readonly AbiFunction[];
  readonly tables: readonly Table[];
  readonly engine_entry: AbiFunction;
}

/** Bytes of one element of a field, on the 64-bit platforms that Atoll serves. */
export const FIELD_BYTES: Readonly<Record<Field["type"], number>> = {
  u8: 1,
  u16: 2,
  u32: 4,
  u64: 8,
  ptr: 8,
};

/** Reads the description and throws an `Error` that names the first thing wrong with it. */
export function readAbi(file: URL): Abi {
  const abi = JSON.parse(readFileSync(file, "utf8")) as Abi;
  for (const item of abi.enums) {
    const numbers = new Set(item.values.map((value) => value.value));
    if (numbers.size !== item.values.length) {
      throw new Error(`Cannot read enum "${item.name}": a number is used twice`);
    }
  }
  for (const struct of abi.structs) checkStruct(struct);
  for (const item of abi.functions) {
    if (item.hot && item.params.some((parameter) => parameter.type !== "u32")) {
      throw new Error(`Cannot read function "${item.name}": a hot function takes u32 only`);
    }
  }
  return abi;
}

/** Fields must be adjacent, naturally aligned and fill the struct: no compiler may add padding. */
function checkStruct(struct: Struct): void {
  let end = 0;
  for (const field of struct.fields) {
    const bytes = FIELD_BYTES[field.type];
    if (field.offset !== end || field.offset % bytes !== 0) {
      throw new Error(
        `Cannot read struct "${struct.name}": field "${field.name}" is at ${field.offset}, expected ${end}, a multiple of ${bytes}`,
      );
    }
    end += bytes * (field.count ?? 1);
  }
  if (end !== struct.size) {
    throw new Error(
      `Cannot read struct "${struct.name}": its fields end at ${end}, its size is ${struct.size}`,
    );
  }
}

/** Breaks text into lines of at most `width` characters. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/)) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  if (line !== "") lines.push(line);
  return lines;
}

/** `atoll_arena_info_t` without prefix and suffix: `arena_info`. */
export function bareName(name: string): string {
  return name.replace(/^atoll_/, "").replace(/_t$/, "");
}
