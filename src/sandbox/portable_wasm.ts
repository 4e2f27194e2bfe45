/**
 * Reading and writing of WebAssembly's binary format, as far as rewriting a core module needs it.
 *
 * Owns LEB128, sections and the lengths of instructions. Must not know what is rewritten, or why.
 * Source: WebAssembly Core Specification 3.0, chapter 5, without the GC types' instructions, which
 * transpiled components do not have.
 */

/** The bytes are no module, or use what is not known here. */
export class WasmError extends Error {
  override readonly name = "WasmError";
}

export class WasmReader {
  offset: number;

  constructor(readonly bytes: Uint8Array, start = 0, readonly end = bytes.length) {
    this.offset = start;
  }

  get done(): boolean {
    return this.offset >= this.end;
  }

  u8(): number {
    const byte = this.bytes[this.offset];
    if (byte === undefined || this.offset >= this.end) throw new WasmError("unexpected end");
    this.offset += 1;
    return byte;
  }

  /** Unsigned LEB128 of up to 32 bits. */
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.u8();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new WasmError("an integer is too long");
  }

  /** Skips a LEB128 integer of any kind up to 64 bits. */
  leb(): void {
    for (let count = 0; count < 10; count++) if (this.u8() < 0x80) return;
    throw new WasmError("an integer is too long");
  }

  skip(bytes: number): void {
    this.offset += bytes;
    if (this.offset > this.end) throw new WasmError("unexpected end");
  }

  /** Skips a name or another counted run of bytes. */
  skipBytes(): void {
    this.skip(this.u32());
  }

  /** A value type; reference types with an explicit heap type take more than one byte. */
  valueType(): void {
    const byte = this.u8();
    if (byte === 0x63 || byte === 0x64) this.leb();
  }

  /** Limits of a memory or table: flags, minimum, maximum. */
  limits(): { readonly flags: number; readonly min: number; readonly max: number | null } {
    const flags = this.u8();
    if ((flags & ~0x01) !== 0) {
      throw new WasmError("shared or 64-bit memories and tables are not supported");
    }
    const min = this.u32();
    return { flags, min, max: (flags & 1) === 0 ? null : this.u32() };
  }
}

export class WasmWriter {
  #bytes = new Uint8Array(1024);
  length = 0;

  u8(...values: readonly number[]): this {
    this.#room(values.length);
    for (const value of values) this.#bytes[this.length++] = value;
    return this;
  }

  u32(value: number): this {
    this.#room(5);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.length++] = rest;
    return this;
  }

  /** A signed LEB128 integer of 32 bits. */
  s32(value: number): this {
    this.#room(5);
    let rest = value;
    for (;;) {
      const byte = rest & 0x7f;
      rest >>= 7;
      const last = (rest === 0 && (byte & 0x40) === 0) || (rest === -1 && (byte & 0x40) !== 0);
      this.#bytes[this.length++] = last ? byte : byte | 0x80;
      if (last) return this;
    }
  }

  raw(bytes: Uint8Array): this {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
    return this;
  }

  name(text: string): this {
    const bytes = new TextEncoder().encode(text);
    return this.u32(bytes.length).raw(bytes);
  }

  /** Bytes behind their count. */
  counted(bytes: Uint8Array): this {
    return this.u32(bytes.length).raw(bytes);
  }

  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.length);
  }

  #room(more: number): void {
    if (this.length + more <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + more));
    larger.set(this.#bytes.subarray(0, this.length));
    this.#bytes = larger;
  }
}

/** Sections by number, in the order in which a module has them. */
export const SECTION_ORDER = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11] as const;

/** The sections of a module; custom ones are left out. */
export function readSections(bytes: Uint8Array): Map<number, Uint8Array> {
  const magic = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
  if (magic.some((byte, index) => bytes[index] !== byte)) throw new WasmError("not a core module");
  const reader = new WasmReader(bytes, 8);
  const sections = new Map<number, Uint8Array>();
  while (!reader.done) {
    const id = reader.u8();
    const size = reader.u32();
    const start = reader.offset;
    reader.skip(size);
    if (id !== 0) sections.set(id, bytes.subarray(start, reader.offset));
  }
  return sections;
}

/** A module of these sections. */
export function writeSections(sections: ReadonlyMap<number, Uint8Array>): Uint8Array<ArrayBuffer> {
  const writer = new WasmWriter().u8(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00);
  for (const id of SECTION_ORDER) {
    const content = sections.get(id);
    if (content !== undefined) writer.u8(id).counted(content);
  }
  return writer.take();
}

/** unreachable, nop, else, throw_ref, end, return, catch_all, drop, select, tests of references. */
// deno-fmt-ignore
const NO_IMMEDIATE: ReadonlySet<number> = new Set([
  0x00, 0x01, 0x05, 0x0a, 0x0b, 0x0f, 0x19, 0x1a, 0x1b, 0xd1, 0xd3, 0xd4,
]);

/**
 * One index or integer: catch, throw, rethrow, delegate, br, br_if, calls, locals, globals, tables,
 * memory.size, constants, ref.null, ref.func, br_on_null, br_on_non_null.
 */
// deno-fmt-ignore
const ONE_INDEX: ReadonlySet<number> = new Set([
  0x07, 0x08, 0x09, 0x18, 0x0c, 0x0d, 0x10, 0x12, 0x14, 0x15, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25,
  0x26, 0x3f, 0x40, 0x41, 0x42, 0xd0, 0xd2, 0xd5, 0xd6,
]);

/** Skips one instruction; its opcode was read already. */
export function skipImmediates(reader: WasmReader, opcode: number): void {
  if (opcode >= 0x45 && opcode <= 0xc4) return;
  if (opcode >= 0x28 && opcode <= 0x3e) return memoryArgument(reader);
  if (NO_IMMEDIATE.has(opcode)) return;
  if (ONE_INDEX.has(opcode)) return reader.leb();
  switch (opcode) {
    case 0x02: // block, loop, if, try
    case 0x03:
    case 0x04:
    case 0x06:
      return blockType(reader);
    case 0x11: // call_indirect, return_call_indirect
    case 0x13:
      reader.leb();
      return reader.leb();
    case 0x0e: // br_table
      for (let count = reader.u32(); count >= 0; count--) reader.leb();
      return;
    case 0x1c: // select with types
      for (let count = reader.u32(); count > 0; count--) reader.valueType();
      return;
    case 0x1f:
      return tryTable(reader);
    case 0x43:
      return reader.skip(4);
    case 0x44:
      return reader.skip(8);
    case 0xfc:
      return skipNumeric(reader);
    case 0xfd:
      return skipVector(reader);
    default:
      throw new WasmError(`instruction 0x${opcode.toString(16)} is not supported`);
  }
}

function blockType(reader: WasmReader): void {
  const byte = reader.bytes[reader.offset];
  // Empty, or one value type; else the index of a function type.
  if (byte === 0x63 || byte === 0x64) reader.valueType();
  else reader.leb();
}

function memoryArgument(reader: WasmReader): void {
  const flags = reader.u32();
  if ((flags & 0x40) !== 0) reader.leb();
  reader.leb();
}

function tryTable(reader: WasmReader): void {
  blockType(reader);
  for (let count = reader.u32(); count > 0; count--) {
    const kind = reader.u8();
    reader.leb();
    if (kind < 2) reader.leb();
  }
}

/** Saturating conversions, bulk memory and tables, wide arithmetic. */
function skipNumeric(reader: WasmReader): void {
  const code = reader.u32();
  const indices = [0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 0, 0, 0, 0, 0][code];
  if (indices === undefined || code === 18) {
    throw new WasmError(`instruction 0xfc ${code} is not supported`);
  }
  for (let count = 0; count < indices; count++) reader.leb();
}

function skipVector(reader: WasmReader): void {
  const code = reader.u32();
  if (code <= 11 || code === 92 || code === 93) return memoryArgument(reader);
  if (code === 12 || code === 13) return reader.skip(16);
  if (code >= 21 && code <= 34) return reader.skip(1);
  if (code >= 84 && code <= 91) {
    memoryArgument(reader);
    return reader.skip(1);
  }
  if (code > 0x113) throw new WasmError(`instruction 0xfd ${code} is not supported`);
}
