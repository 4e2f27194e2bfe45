/**
 * The whole WIT of a component from a printer that prints one package only.
 *
 * jco's `componentWit` leaves out interfaces of other packages than the component's own, which is
 * where nearly all exports are. So the interfaces are given names inside that package first, in a
 * copy of the binary, and their own names back in the text: the result is what `wasm-tools
 * component wit` prints.
 *
 * Owns the renaming both ways. Must not know the printer.
 * Source: component-model/design/mvp/Binary.md, sections 10 and 11.
 */
import { WasmError, WasmReader, WasmWriter } from "./portable_wasm.ts";

/** The package that printers put a component's world into. */
const MAIN = "root:component";

const SECTION_CUSTOM = 0;
/** Where wit-parser finds documentation. */
const DOCS = "package-docs";
const SECTION_IMPORT = 10;
const SECTION_EXPORT = 11;
const SORT_FUNCTION = 1;

/** An import or export of a component. */
export interface Extern {
  readonly name: string;
  /** It is an exported function. */
  readonly exportedFunction: boolean;
}

/** A component with interfaces renamed, and what they were called. */
export interface Renamed {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Own names; the index is the number in the new name. */
  readonly names: readonly string[];
}

/**
 * Renames the interfaces that a component imports and exports to `root:component/PREFIX0`,
 * `root:component/PREFIX1` and so on.
 * @param prefix Letters that occur nowhere in the component.
 * @throws WasmError
 */
export function renameInterfaces(component: Uint8Array, prefix: string): Renamed {
  const names: string[] = [];
  const bytes = renameExterns(component, ({ name }) => {
    if (!name.includes(":") || !name.includes("/")) return name;
    let index = names.indexOf(name);
    if (index < 0) index = names.push(name) - 1;
    return `${MAIN}/${prefix}${index}`;
  });
  return { bytes, names };
}

/**
 * A component without its documentation. A decoder refuses documentation of names that are not
 * there, so it has to go before functions are renamed.
 * @throws WasmError
 */
export function withoutDocs(component: Uint8Array): Uint8Array<ArrayBuffer> {
  const reader = new WasmReader(component);
  const writer = new WasmWriter().raw(component.subarray(0, 8));
  reader.skip(8);
  while (!reader.done) {
    const from = reader.offset;
    const id = reader.u8();
    const size = reader.u32();
    const start = reader.offset;
    reader.skip(size);
    if (id === SECTION_CUSTOM && customName(component.subarray(start, reader.offset)) === DOCS) {
      continue;
    }
    writer.raw(component.subarray(from, reader.offset));
  }
  return writer.take();
}

function customName(content: Uint8Array): string {
  const reader = new WasmReader(content);
  const length = reader.u32();
  const start = reader.offset;
  reader.skip(length);
  return new TextDecoder().decode(content.subarray(start, reader.offset));
}

/**
 * A component whose imports and exports have other names.
 * @throws WasmError
 */
export function renameExterns(
  component: Uint8Array,
  rename: (item: Extern) => string,
): Uint8Array<ArrayBuffer> {
  const reader = new WasmReader(component);
  const writer = new WasmWriter();
  reader.skip(8);
  writer.raw(component.subarray(0, 8));
  while (!reader.done) {
    const id = reader.u8();
    const size = reader.u32();
    const start = reader.offset;
    reader.skip(size);
    const content = component.subarray(start, reader.offset);
    if (id === SECTION_IMPORT) writer.u8(id).counted(section(content, rename, importRest, false));
    else if (id === SECTION_EXPORT) {
      writer.u8(id).counted(section(content, rename, exportRest, true));
    } else writer.u8(id).counted(content);
  }
  return writer.take();
}

function section(
  content: Uint8Array,
  rename: (item: Extern) => string,
  rest: (reader: WasmReader) => void,
  isExport: boolean,
): Uint8Array {
  const reader = new WasmReader(content);
  const count = reader.u32();
  const writer = new WasmWriter().u32(count);
  for (let index = 0; index < count; index++) {
    const form = reader.u8();
    if (form > 1) throw new WasmError(`an import or export has a name of the unknown form ${form}`);
    const length = reader.u32();
    const start = reader.offset;
    reader.skip(length);
    const name = new TextDecoder().decode(content.subarray(start, reader.offset));
    const from = reader.offset;
    const exportedFunction = isExport && content[from] === SORT_FUNCTION;
    writer.u8(form).name(rename({ name, exportedFunction }));
    rest(reader);
    writer.raw(content.subarray(from, reader.offset));
  }
  return writer.take();
}

function importRest(reader: WasmReader): void {
  const kind = reader.u8();
  // A core module has one more byte; a type is bound by equality or as a fresh resource.
  if (kind === 0x00) reader.u8();
  if ((kind === 0x02 || kind === 0x03) && reader.u8() === 0x01 && kind === 0x03) return;
  reader.leb();
}

function exportRest(reader: WasmReader): void {
  if (reader.u8() === 0x00) reader.u8();
  reader.leb();
  if (reader.u8() === 0x01) importRest(reader);
}

/** Gives interfaces in printed WIT their own names and packages back. */
export function restoreInterfaces(
  wit: string,
  names: readonly string[],
  prefix: string,
): string {
  const own = (_: string, index: string) => names[Number(index)] ?? "";
  const reference = new RegExp(`\\b${prefix}([0-9]+)\\b`, "g");
  const block = new RegExp(`^interface ${prefix}([0-9]+) \\{\\n([\\s\\S]*?)^\\}\\n*`, "gm");
  const packages = new Map<string, string[]>();
  const main = wit.replace(block, (_, index: string, body: string) => {
    const { packageName, interfaceName } = split(names[Number(index)] ?? "");
    const text = `interface ${interfaceName} {\n${body.replace(reference, own)}}\n`;
    packages.set(packageName, [...packages.get(packageName) ?? [], text.replace(/^(?=.)/gm, "  ")]);
    return "";
  });
  const nested = [...packages].map(([name, interfaces]) =>
    `package ${name} {\n${interfaces.join("\n")}}\n`
  );
  return [`${main.replace(reference, own).trimEnd()}\n`, ...nested].join("\n\n");
}

/** `demo:text/api@0.1.0` as `demo:text@0.1.0` and `api`. */
function split(name: string): { packageName: string; interfaceName: string } {
  const [path = "", version] = name.split("@");
  const slash = path.lastIndexOf("/");
  const packageName = path.slice(0, slash) + (version === undefined ? "" : `@${version}`);
  return { packageName, interfaceName: path.slice(slash + 1) };
}
