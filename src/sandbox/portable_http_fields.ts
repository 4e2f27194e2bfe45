/**
 * The resource `fields` of `wasi:http/types` for the portable engine.
 * Source: wasi:http 0.2; the forbidden names are wasmtime's, so that both engines agree.
 */
import type { CallGuard } from "./portable_guard.ts";
import { HostResource } from "./portable_io.ts";

/** Names that a guest may neither see nor set: they belong to the connection. */
export const FORBIDDEN: ReadonlySet<string> = new Set([
  "connection",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);

// RFC 9110, section 5.1 and 5.5.
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

type HeaderError = { readonly tag: "invalid-syntax" | "forbidden" | "immutable" };

export class Fields extends HostResource {
  #entries: [name: string, value: Uint8Array][] = [];
  #bytes = 0;
  #immutable = false;

  /** A guest's `new fields()`; hosts use {@link Fields.of}. The guard comes from the subclass. */
  static of(guard: CallGuard, entries: readonly (readonly [string, Uint8Array])[]): Fields {
    const fields = new Fields(guard);
    for (const [name, value] of entries) fields.#add(name, value);
    return fields;
  }

  /** The same, as a view that the guest cannot change. */
  static immutable(guard: CallGuard, entries: readonly (readonly [string, Uint8Array])[]): Fields {
    const fields = Fields.of(guard, entries);
    fields.#immutable = true;
    return fields;
  }

  get(name: string): Uint8Array[] {
    this.guard.charge(this.#entries.length);
    const wanted = name.toLowerCase();
    return this.#entries.filter(([each]) => each.toLowerCase() === wanted).map(([, v]) => v);
  }

  has(name: string): boolean {
    return this.get(name).length > 0;
  }

  set(name: string, values: readonly Uint8Array[]): void {
    this.#check(name, values);
    this.#remove(name);
    for (const value of values) this.#add(name, value);
  }

  delete(name: string): void {
    this.#check(name, []);
    this.#remove(name);
  }

  append(name: string, value: Uint8Array): void {
    this.#check(name, [value]);
    this.#add(name, value);
  }

  entries(): [string, Uint8Array][] {
    this.guard.charge(this.#entries.length);
    return this.#entries.map(([name, value]) => [name, value]);
  }

  clone(): Fields {
    return Fields.of(this.guard, this.#entries);
  }

  #check(name: string, values: readonly Uint8Array[]): void {
    this.guard.charge(values.length);
    this.guard.chargeBytes(values.reduce((sum, value) => sum + value.length, name.length));
    if (this.#immutable) throw { tag: "immutable" } satisfies HeaderError;
    if (!NAME.test(name) || values.some((value) => value.some(isControl))) {
      throw { tag: "invalid-syntax" } satisfies HeaderError;
    }
    if (FORBIDDEN.has(name.toLowerCase())) throw { tag: "forbidden" } satisfies HeaderError;
  }

  #add(name: string, value: Uint8Array): void {
    this.guard.charge();
    this.#bytes += name.length + value.length;
    if (this.#bytes > this.guard.limits.fieldBytes) this.guard.fail("fields");
    this.hold(heldBytes(name, value));
    // A copy: what jco hands over may be a view of the guest's memory.
    this.#entries.push([name, value.slice()]);
  }

  #remove(name: string): void {
    this.guard.charge(this.#entries.length);
    const wanted = name.toLowerCase();
    this.#entries = this.#entries.filter(([each, value]) => {
      if (each.toLowerCase() !== wanted) return true;
      this.#bytes -= each.length + value.length;
      this.hold(-heldBytes(each, value));
      return false;
    });
  }
}

/** An entry is two arrays and a string, whatever their length. */
function heldBytes(name: string, value: Uint8Array): number {
  return 200 + 2 * name.length + value.length;
}

/** Control characters other than a tab. */
function isControl(byte: number): boolean {
  return (byte < 0x20 && byte !== 0x09) || byte === 0x7f;
}
