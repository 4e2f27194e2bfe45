/**
 * Rewrites a core module so that its host can end it: a spinning guest cannot be stopped from
 * outside, because Deno's `Worker.terminate()` leaves a thread running that never returns to its
 * event loop.
 *
 * - Each function and each turn of a loop takes one unit of fuel. When it is used up, the host is
 *   asked; it looks at the clock and gives more, or the guest traps. Traps cannot be caught by a
 *   guest, exceptions thrown by the host can.
 * - Growing a memory or a table asks the host first, which sums over all modules of an instance, and
 *   tells it afterwards what came of it.
 * - Filling and copying take fuel by the byte, since one such instruction can take milliseconds.
 * - The start function is exported instead, so that it runs with the host in place.
 * - The maximum of each memory is at most the limit, as a second guard.
 *
 * Owns the transformation. Must not know calls, clocks or components.
 */
import {
  readSections,
  skipImmediates,
  WasmError,
  WasmReader,
  WasmWriter,
  writeSections,
} from "./portable_wasm.ts";

/** Names of what a rewritten module exports besides its own. */
export const EXPORT_TICK = "atoll:tick";
export const EXPORT_FUEL = "atoll:fuel";
export const EXPORT_START = "atoll:start";

/** First argument of the host's tick function: `(kind, amount) -> answer`. */
export const TICK_FUEL = 0;
/** May it grow by so much? What was allowed may still fail, at its own maximum or for want of memory. */
export const TICK_MEMORY = 1;
export const TICK_TABLE = 2;
/** It has grown by so much. */
export const TICK_MEMORY_GREW = 3;
export const TICK_TABLE_GREW = 4;

/** Fuel that a fresh instance has. */
export const FUEL = 20_000;

/** A core module as the portable engine runs it. */
export interface GuardedModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Pages that its own memories have at the start. */
  readonly memoryPages: number;
  /** Elements that its own tables have at the start. */
  readonly tableElements: number;
}

const SECTION = {
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  code: 10,
} as const;

const I32 = 0x7f;

/**
 * @param memoryPagesMax Most pages that one memory may have.
 * @throws WasmError
 */
export function guardModule(bytes: Uint8Array, memoryPagesMax: number): GuardedModule {
  const sections = readSections(bytes);
  const memory = limitMemories(sections, memoryPagesMax);
  const tables = readTables(sections);
  const code = sections.get(SECTION.code);
  if (code === undefined) {
    return {
      bytes: writeSections(sections),
      memoryPages: memory.pages,
      tableElements: tables.elements,
    };
  }
  new Guard(sections, tables.types).run(code);
  return {
    bytes: writeSections(sections),
    memoryPages: memory.pages,
    tableElements: tables.elements,
  };
}

function limitMemories(sections: Map<number, Uint8Array>, pagesMax: number): { pages: number } {
  const section = sections.get(SECTION.memory);
  if (section === undefined) return { pages: 0 };
  const reader = new WasmReader(section);
  const count = reader.u32();
  const writer = new WasmWriter().u32(count);
  let pages = 0;
  for (let index = 0; index < count; index++) {
    const { min, max } = reader.limits();
    pages += min;
    // A minimum beyond the limit is refused before the module is instantiated.
    writer.u8(1).u32(min).u32(Math.max(min, Math.min(max ?? pagesMax, pagesMax)));
  }
  sections.set(SECTION.memory, writer.take());
  return { pages };
}

/** Element types of all tables, imported ones first, and the elements of the module's own. */
function readTables(sections: ReadonlyMap<number, Uint8Array>) {
  const types: Uint8Array[] = [];
  for (const item of readImports(sections)) if (item.kind === 1) types.push(item.type);
  let elements = 0;
  const section = sections.get(SECTION.table);
  if (section !== undefined) {
    const reader = new WasmReader(section);
    for (let count = reader.u32(); count > 0; count--) {
      if (reader.bytes[reader.offset] === 0x40) {
        throw new WasmError("tables with an initial element are not supported");
      }
      const start = reader.offset;
      reader.valueType();
      types.push(section.subarray(start, reader.offset));
      elements += reader.limits().min;
    }
  }
  return { types, elements };
}

/** Kinds of imports, 0 to 4: function, table, memory, global, tag. */
function readImports(sections: ReadonlyMap<number, Uint8Array>) {
  const imports: { kind: number; type: Uint8Array }[] = [];
  const section = sections.get(SECTION.import);
  if (section === undefined) return imports;
  const reader = new WasmReader(section);
  for (let count = reader.u32(); count > 0; count--) {
    reader.skipBytes();
    reader.skipBytes();
    const kind = reader.u8();
    const start = reader.offset;
    let end = start;
    if (kind === 0) reader.leb();
    else if (kind === 1) {
      reader.valueType();
      end = reader.offset;
      reader.limits();
    } else if (kind === 2) reader.limits();
    else if (kind === 3) {
      reader.valueType();
      reader.u8();
    } else {
      reader.u8();
      reader.leb();
    }
    imports.push({ kind, type: section.subarray(start, end) });
  }
  return imports;
}

/** Of an added function. */
interface Counts {
  /** Parameters, where a type of them takes more than one byte. */
  readonly params?: number;
  /** Locals of type i32, behind the parameters. */
  readonly locals?: number;
}

class Guard {
  readonly #sections: Map<number, Uint8Array>;
  readonly #tableTypes: readonly Uint8Array[];
  /** Functions added behind the module's own: their type's index and their body. */
  readonly #added: { type: number; body: Uint8Array }[] = [];
  readonly #types: Uint8Array[] = [];
  readonly #typeIndices = new Map<string, number>();
  readonly #wrappers = new Map<string, number>();
  readonly #typeBase: number;
  readonly #functionBase: number;
  readonly #fuel: number;
  readonly #table: number;
  readonly #check: number;

  constructor(sections: Map<number, Uint8Array>, tableTypes: readonly Uint8Array[]) {
    this.#sections = sections;
    this.#tableTypes = tableTypes;
    const imports = readImports(sections);
    const imported = (kind: number) => imports.filter((item) => item.kind === kind).length;
    this.#typeBase = countTypes(sections.get(SECTION.type));
    this.#functionBase = imported(0) + count(sections.get(SECTION.function));
    this.#fuel = imported(3) + count(sections.get(SECTION.global));
    this.#table = tableTypes.length;
    this.#check = this.#add("check", [], [], this.#checkBody());
  }

  run(code: Uint8Array): void {
    const reader = new WasmReader(code);
    const functions = reader.u32();
    const bodies: Uint8Array[] = [];
    for (let index = 0; index < functions; index++) {
      const size = reader.u32();
      const start = reader.offset;
      reader.skip(size);
      bodies.push(this.#body(new WasmReader(code, start, start + size)));
    }
    const writer = new WasmWriter().u32(functions + this.#added.length);
    for (const body of bodies) writer.counted(body);
    for (const { body } of this.#added) writer.counted(body);
    this.#sections.set(SECTION.code, writer.take());
    this.#declare();
  }

  /** Sections other than the code. */
  #declare(): void {
    const functions = new WasmWriter();
    for (const { type } of this.#added) functions.u32(type);
    this.#append(SECTION.type, this.#types.length, concat(this.#types));
    this.#append(SECTION.function, this.#added.length, functions.take());
    this.#append(SECTION.table, 1, new WasmWriter().u8(0x70, 1).u32(1).u32(1).take());
    const fuel = new WasmWriter().u8(I32, 1, 0x41).s32(FUEL).u8(0x0b);
    this.#append(SECTION.global, 1, fuel.take());
    const exports = new WasmWriter()
      .name(EXPORT_TICK).u8(1).u32(this.#table)
      .name(EXPORT_FUEL).u8(3).u32(this.#fuel);
    const start = this.#sections.get(SECTION.start);
    if (start !== undefined) {
      exports.name(EXPORT_START).u8(0).raw(start);
      this.#sections.delete(SECTION.start);
    }
    this.#append(SECTION.export, start === undefined ? 2 : 3, exports.take());
  }

  #append(id: number, more: number, content: Uint8Array): void {
    const section = this.#sections.get(id) ?? new Uint8Array([0]);
    const reader = new WasmReader(section);
    const before = reader.u32();
    const rest = section.subarray(reader.offset);
    this.#sections.set(id, new WasmWriter().u32(before + more).raw(rest).raw(content).take());
  }

  #body(reader: WasmReader): Uint8Array {
    const writer = new WasmWriter();
    const start = reader.offset;
    for (let groups = reader.u32(); groups > 0; groups--) {
      reader.leb();
      reader.valueType();
    }
    writer.raw(reader.bytes.subarray(start, reader.offset));
    this.#burn(writer);
    let copied = reader.offset;
    const flush = (end: number) => {
      writer.raw(reader.bytes.subarray(copied, end));
      copied = reader.offset;
    };
    while (!reader.done) {
      const at = reader.offset;
      const opcode = reader.u8();
      if (opcode === 0x40) {
        const memory = reader.u32();
        flush(at);
        writer.u8(0x10).u32(this.#growMemory(memory));
      } else if (opcode === 0xfc) {
        const wrapper = this.#bulk(reader);
        if (wrapper === null) continue;
        flush(at);
        writer.u8(0x10).u32(wrapper);
      } else {
        skipImmediates(reader, opcode);
        if (opcode !== 0x03) continue;
        flush(reader.offset);
        this.#burn(writer);
      }
    }
    flush(reader.end);
    return writer.take();
  }

  /** Takes one unit of fuel and asks the host when there is none left. */
  #burn(writer: WasmWriter): void {
    writer.u8(0x23).u32(this.#fuel).u8(0x41, 1, 0x6b, 0x24).u32(this.#fuel);
    this.#checkFuel(writer);
  }

  #checkFuel(writer: WasmWriter): void {
    writer.u8(0x23).u32(this.#fuel).u8(0x41, 0, 0x48, 0x04, 0x40, 0x10);
    writer.u32(this.#functionBase).u8(0x0b);
  }

  /** `fuel = tick(0, 0); if fuel == 0 trap`. */
  #checkBody(): WasmWriter {
    const writer = new WasmWriter().u8(0x41, TICK_FUEL, 0x41, 0);
    this.#tick(writer);
    return writer.u8(0x24).u32(this.#fuel).u8(0x23).u32(this.#fuel).u8(
      0x45,
      0x04,
      0x40,
      0x00,
      0x0b,
    );
  }

  /** Calls the host with the two arguments on the stack. */
  #tick(writer: WasmWriter): void {
    const type = this.#type([I32, I32], [I32]);
    writer.u8(0x41, 0, 0x11).u32(type).u32(this.#table);
  }

  /** Asks the host whether something may grow by the amount in a local; traps when it may not. */
  #ask(kind: number, local: number): WasmWriter {
    const writer = new WasmWriter().u8(0x41, kind, 0x20).u32(local);
    this.#tick(writer);
    return writer.u8(0x45, 0x04, 0x40, 0x00, 0x0b);
  }

  /** Tells the host that something has grown by the amount in a local, unless the result is -1. */
  #tell(writer: WasmWriter, kind: number, amount: number, result: number): WasmWriter {
    writer.u8(0x22).u32(result).u8(0x41, 0x7f, 0x47, 0x04, 0x40);
    writer.u8(0x41, kind, 0x20).u32(amount);
    this.#tick(writer);
    return writer.u8(0x1a, 0x0b, 0x20).u32(result);
  }

  #growMemory(memory: number): number {
    return this.#wrapper(`memory.grow ${memory}`, [I32], [I32], () => {
      const writer = this.#ask(TICK_MEMORY, 0).u8(0x20, 0, 0x40).u32(memory);
      return this.#tell(writer, TICK_MEMORY_GREW, 0, 1);
    }, { locals: 1 });
  }

  /** The function that stands for a bulk instruction, or null for one that is left as it is. */
  #bulk(reader: WasmReader): number | null {
    const start = reader.offset;
    const code = reader.u32();
    if (code === 15) {
      const table = reader.u32();
      const type = this.#tableTypes[table];
      if (type === undefined) throw new WasmError("a table is not defined");
      return this.#wrapper(`table.grow ${table}`, [...type, I32], [I32], () => {
        const writer = this.#ask(TICK_TABLE, 1).u8(0x20, 0, 0x20, 1, 0xfc, 15).u32(table);
        return this.#tell(writer, TICK_TABLE_GREW, 1, 2);
      }, { params: 2, locals: 1 });
    }
    reader.offset = start;
    skipImmediates(reader, 0xfc);
    if (code !== 8 && code !== 10 && code !== 11) return null;
    const instruction = reader.bytes.slice(start, reader.offset);
    return this.#wrapper(`bulk ${instruction.join()}`, [I32, I32, I32], [], () => {
      const writer = new WasmWriter().u8(0x20, 0, 0x20, 1, 0x20, 2, 0xfc).raw(instruction);
      // 64 bytes a unit.
      writer.u8(0x23).u32(this.#fuel).u8(0x20, 2, 0x41, 6, 0x76, 0x6b, 0x24).u32(this.#fuel);
      this.#checkFuel(writer);
      return writer;
    });
  }

  #wrapper(
    key: string,
    params: readonly number[],
    results: readonly number[],
    body: () => WasmWriter,
    counts: Counts = {},
  ): number {
    const known = this.#wrappers.get(key);
    if (known !== undefined) return known;
    return this.#add(key, params, results, body(), counts);
  }

  #add(
    key: string,
    params: readonly number[],
    results: readonly number[],
    body: WasmWriter,
    counts: Counts = {},
  ): number {
    const index = this.#functionBase + this.#added.length;
    const type = this.#type(params, results, counts.params);
    const writer = new WasmWriter();
    if (counts.locals === undefined) writer.u32(0);
    else writer.u32(1).u32(counts.locals).u8(I32);
    const bytes = writer.raw(body.take()).u8(0x0b).take();
    this.#added.push({ type, body: bytes });
    this.#wrappers.set(key, index);
    return index;
  }

  /** The index of a function type, added where it is new. Types may take more than one byte each. */
  #type(params: readonly number[], results: readonly number[], paramCount = params.length): number {
    const key = `${params.join()} ${results.join()}`;
    let index = this.#typeIndices.get(key);
    if (index === undefined) {
      index = this.#typeBase + this.#types.length;
      const writer = new WasmWriter().u8(0x60).u32(paramCount).u8(...params);
      this.#types.push(writer.u32(results.length).u8(...results).take());
      this.#typeIndices.set(key, index);
    }
    return index;
  }
}

function count(section: Uint8Array | undefined): number {
  return section === undefined ? 0 : new WasmReader(section).u32();
}

function countTypes(section: Uint8Array | undefined): number {
  if (section === undefined) return 0;
  const reader = new WasmReader(section);
  const types = reader.u32();
  for (let index = 0; index < types; index++) {
    if (reader.u8() !== 0x60) throw new WasmError("types of garbage collection are not supported");
    for (const _ of ["params", "results"]) {
      for (let values = reader.u32(); values > 0; values--) reader.valueType();
    }
  }
  return types;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const writer = new WasmWriter();
  for (const part of parts) writer.raw(part);
  return writer.take();
}
