/**
 * The values that a transpiled component gives back to JSON, no further than a limit.
 *
 * Owns the written form; the same as the native engine's. Must not know calls or workers.
 */
import { encodeBase64 } from "./base64.ts";
import { isBytes, isNestedOption, jsonName, typeName } from "./value_types.ts";
import { isTagged, jsMemberName } from "./value_names.ts";
import type { WitType } from "./wit/model.ts";

/** The JSON would be longer than the limit. */
export class OutputTooLarge extends Error {
  override readonly name = "OutputTooLarge";
}

/** A value that is not of its type: a fault of the component or of its transpiled code. */
export class ValueMismatch extends Error {
  override readonly name = "ValueMismatch";

  constructor(type: WitType) {
    super(`the result is not of the type ${typeName(type)}`);
  }
}

/**
 * JSON text of a value; `null` for no value.
 * @param limit Most UTF-8 bytes of the text.
 * @throws OutputTooLarge, ValueMismatch
 */
export function encodeResult(type: WitType | null, value: unknown, limit: number): string {
  const writer = new Writer(limit);
  if (type === null) writer.raw("null");
  else writer.value(type, value);
  return writer.text();
}

class Writer {
  readonly #parts: string[] = [];
  #room: number;

  constructor(limit: number) {
    this.#room = limit;
  }

  text(): string {
    return this.#parts.join("");
  }

  /** Adds text of which every character is one byte. */
  raw(text: string): void {
    this.#take(text.length);
    this.#parts.push(text);
  }

  value(type: WitType, value: unknown): void {
    switch (type.kind) {
      case "bool":
        return this.raw(value ? "true" : "false");
      case "u8":
      case "u16":
      case "u32":
      case "s8":
      case "s16":
      case "s32":
      case "u64":
      case "s64":
        return this.#integer(type, value);
      case "f32":
      case "f64":
        return this.raw(floatText(type, value));
      case "char":
      case "string":
      case "enum":
        if (typeof value !== "string") throw new ValueMismatch(type);
        return this.#string(value);
      case "list":
        return isBytes(type) ? this.#bytes(type, value) : this.#list(type, value);
      case "tuple":
        return this.#tuple(type, value);
      case "record":
        return this.#record(type, value);
      case "variant":
        return this.#variant(type, value);
      case "flags": {
        const set = member(type, value);
        const names = type.flags.map((flag) => flag.name).filter((name) => set(jsMemberName(name)));
        return this.raw(JSON.stringify(names));
      }
      case "option":
        return this.#option(type, value);
      case "result": {
        const read = member(type, value);
        const ok = read("tag") === "ok";
        return this.#entry(ok ? "ok" : "error", ok ? type.ok : type.error, read("val"));
      }
      case "map":
        return this.#map(type, value);
      default:
        throw new ValueMismatch(type);
    }
  }

  #integer(type: WitType, value: unknown): void {
    if (typeof value === "number") return this.raw(String(value));
    if (typeof value !== "bigint") throw new ValueMismatch(type);
    const safe = value >= BigInt(Number.MIN_SAFE_INTEGER) &&
      value <= BigInt(Number.MAX_SAFE_INTEGER);
    this.raw(safe ? String(value) : `"${value}"`);
  }

  #string(text: string): void {
    // Checked before it is escaped, which takes up to six times the room.
    if (text.length > this.#room) throw new OutputTooLarge();
    const quoted = JSON.stringify(text);
    this.#take(utf8Length(quoted));
    this.#parts.push(quoted);
  }

  #bytes(type: WitType, value: unknown): void {
    const bytes = value instanceof Uint8Array
      ? value
      : Array.isArray(value)
      ? Uint8Array.from(value)
      : null;
    if (bytes === null) throw new ValueMismatch(type);
    this.#take(Math.ceil(bytes.length / 3) * 4 + 2);
    this.#parts.push('"', encodeBase64(bytes), '"');
  }

  #list(type: WitType & { readonly kind: "list" }, value: unknown): void {
    const items = Array.isArray(value) || ArrayBuffer.isView(value)
      ? value as ArrayLike<unknown>
      : null;
    if (items === null || (type.length !== undefined && items.length !== type.length)) {
      throw new ValueMismatch(type);
    }
    this.raw("[");
    for (let index = 0; index < items.length; index++) {
      if (index > 0) this.raw(",");
      this.value(type.element, items[index]);
    }
    this.raw("]");
  }

  #tuple(type: WitType & { readonly kind: "tuple" }, value: unknown): void {
    if (!Array.isArray(value) || value.length !== type.items.length) throw new ValueMismatch(type);
    this.raw("[");
    for (const [index, item] of type.items.entries()) {
      if (index > 0) this.raw(",");
      this.value(item, value[index]);
    }
    this.raw("]");
  }

  #record(type: WitType & { readonly kind: "record" }, value: unknown): void {
    const read = member(type, value);
    for (const [index, field] of type.fields.entries()) {
      this.raw(`${index > 0 ? "," : "{"}"${jsonName(field.name)}":`);
      this.value(field.type, read(jsMemberName(field.name)));
    }
    this.raw("}");
  }

  #variant(type: WitType & { readonly kind: "variant" }, value: unknown): void {
    const read = member(type, value);
    const item = type.cases.find((each) => each.name === read("tag"));
    if (item === undefined) throw new ValueMismatch(type);
    this.#entry(item.name, item.type, read("val"));
  }

  #option(type: WitType & { readonly kind: "option" }, value: unknown): void {
    let payload = value;
    let none = value === undefined || value === null;
    if (!none && isTagged(type)) {
      const read = member(type, value);
      none = read("tag") === "none";
      payload = read("val");
    }
    if (none) this.raw("null");
    else if (isNestedOption(type)) this.#entry("some", type.some, payload);
    else this.value(type.some, payload);
  }

  #entry(name: string, type: WitType | null, value: unknown): void {
    this.raw(`{"${name}":`);
    if (type === null) this.raw("null");
    else this.value(type, value);
    this.raw("}");
  }

  #map(type: WitType & { readonly kind: "map" }, value: unknown): void {
    if (!(value instanceof Map)) throw new ValueMismatch(type);
    const asObject = type.key.kind === "string";
    let first = true;
    this.raw(asObject ? "{" : "[");
    for (const [key, item] of value) {
      if (!first) this.raw(",");
      first = false;
      if (!asObject) this.raw("[");
      this.value(type.key, key);
      this.raw(asObject ? ":" : ",");
      this.value(type.value, item);
      if (!asObject) this.raw("]");
    }
    this.raw(asObject ? "}" : "]");
  }

  #take(bytes: number): void {
    this.#room -= bytes;
    if (this.#room < 0) throw new OutputTooLarge();
  }
}

/** Reads members of an object that jco made. */
function member(type: WitType, value: unknown): (name: string) => unknown {
  if (typeof value !== "object" || value === null) throw new ValueMismatch(type);
  return (name) => Reflect.get(value, name);
}

/** The shortest text that reads back as the same float; `0.1` as f32 is longer as f64. */
function floatText(type: WitType, value: unknown): string {
  if (typeof value !== "number") throw new ValueMismatch(type);
  if (!Number.isFinite(value)) return `"${value}"`;
  if (Object.is(value, -0)) return "-0";
  if (type.kind === "f64") return String(value);
  for (let digits = 1; digits < 9; digits++) {
    const text = String(Number(value.toPrecision(digits)));
    if (Math.fround(Number(text)) === value) return text;
  }
  return String(Number(value.toPrecision(9)));
}

function utf8Length(text: string): number {
  let bytes = text.length;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code < 0x80) continue;
    if (code < 0x800) bytes += 1;
    else if (code >= 0xd800 && code < 0xdc00) {
      // A pair is two units and four bytes.
      bytes += 2;
      index += 1;
    } else bytes += 2;
  }
  return bytes;
}
