/**
 * One instance of a transpiled component, made for one call.
 *
 * Owns instantiation with the guard in place. Must not know messages or HTTP.
 */
import { Buffer } from "node:buffer";
import { EXPORT_FUEL, EXPORT_START, EXPORT_TICK, type GuardedModule } from "./portable_core.ts";
import type { CallGuard } from "./portable_guard.ts";
import { HOST_IMPORT } from "./portable_mend.ts";
import type { CompiledComponent, FunctionPlace } from "./portable_protocol.ts";
import type { Imports } from "./portable_wasi.ts";
import { jsFunctionName } from "./value_names.ts";

type Instantiate = (
  getCoreModule: (name: string) => WebAssembly.Module,
  imports: Imports,
  instantiateCore: (module: WebAssembly.Module, imports?: WebAssembly.Imports) => unknown,
) => unknown;

/** A component's code, compiled in this worker. */
export interface LoadedCode {
  readonly instantiate: Instantiate;
  readonly modules: ReadonlyMap<string, WebAssembly.Module>;
  readonly facts: ReadonlyMap<WebAssembly.Module, GuardedModule>;
}

/** Compiles a component's modules and takes in its generated code. */
export async function loadCode(component: CompiledComponent): Promise<LoadedCode> {
  const modules = new Map<string, WebAssembly.Module>();
  const facts = new Map<WebAssembly.Module, GuardedModule>();
  for (const [name, guarded] of component.modules) {
    const module = new WebAssembly.Module(guarded.bytes);
    modules.set(name, module);
    facts.set(module, guarded);
  }
  // Bun reads data URLs with JavaScript in base64 only.
  const source = Buffer.from(component.source).toString("base64");
  const url = `data:text/javascript;base64,${source}`;
  const { instantiate } = await import(url) as { instantiate: Instantiate };
  return { instantiate, modules, facts };
}

/**
 * `(module (import "" "" (func $t (param i32 i32) (result i32))) (export "" (func $t)))`: turns a
 * JavaScript function into one that a table can hold.
 */
// deno-fmt-ignore
const TICK_MODULE = new Uint8Array([
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,
  0x01, 0x07, 0x01, 0x60, 0x02, 0x7f, 0x7f, 0x01, 0x7f,
  0x02, 0x05, 0x01, 0x00, 0x00, 0x00, 0x00,
  0x07, 0x04, 0x01, 0x00, 0x00, 0x00,
]);
let tickModule: WebAssembly.Module | undefined;

/** A fresh instance: its exports as jco gives them. */
export async function instantiate(
  code: LoadedCode,
  guard: CallGuard,
  imports: Imports,
): Promise<unknown> {
  tickModule ??= new WebAssembly.Module(TICK_MODULE);
  const helper = new WebAssembly.Instance(tickModule, { "": { "": guard.tick } });
  const tick = helper.exports[""] as CallableFunction;
  const instantiateCore = (module: WebAssembly.Module, core: WebAssembly.Imports = {}) => {
    const { memoryPages, tableElements } = code.facts.get(module) ??
      { memoryPages: 0, tableElements: 0 };
    guard.instance(memoryPages, tableElements);
    const instance = new WebAssembly.Instance(module, core);
    const table = instance.exports[EXPORT_TICK];
    const fuel = instance.exports[EXPORT_FUEL];
    const start = instance.exports[EXPORT_START];
    if (table instanceof WebAssembly.Table) table.set(0, tick);
    if (fuel instanceof WebAssembly.Global) guard.fuel(fuel);
    if (typeof start === "function") start();
    return instance;
  };
  const getCoreModule = (name: string) => {
    const module = code.modules.get(name);
    if (module === undefined) throw new Error(`core module ${name} is missing`);
    return module;
  };
  const host = { lift: guard.lift, crossed: guard.crossed };
  return await code.instantiate(
    getCoreModule,
    { ...imports, [HOST_IMPORT]: host },
    instantiateCore,
  );
}

/** An exported function of an instance. */
export function exportedFunction(
  instance: unknown,
  place: FunctionPlace,
): (...args: readonly unknown[]) => unknown {
  const owner = place.interface === null ? instance : member(instance, place.interface);
  const found = member(owner, jsFunctionName(place));
  if (typeof found !== "function") {
    throw new Error(`the transpiled code has no function ${place.function.name}`);
  }
  return found.bind(owner);
}

function member(of: unknown, name: string): unknown {
  return typeof of === "object" && of !== null ? Reflect.get(of, name) : undefined;
}
