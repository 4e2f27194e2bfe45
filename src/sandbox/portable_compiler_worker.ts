/**
 * The worker that transpiles: keeps the event loop of the server free of it, and can be given up
 * when a component makes the transpiler run for ever.
 */
import { parentPort } from "node:worker_threads";
import { transpileBytes } from "@bytecodealliance/jco-transpile";
import { componentWit } from "@bytecodealliance/jco-transpile/wasm-tools";
import { mended } from "./portable_mend.ts";
import {
  renameExterns,
  renameInterfaces,
  restoreInterfaces,
  withoutDocs,
} from "./component_wit.ts";
import { transpiledName } from "./value_names.ts";

export interface CompileRequest {
  readonly bytes: Uint8Array;
}

export type CompileReply =
  | {
    readonly wit: string;
    readonly source: string;
    readonly modules: readonly (readonly [name: string, bytes: Uint8Array])[];
  }
  | { readonly problem: string };

parentPort?.on("message", async ({ bytes }: CompileRequest) => {
  parentPort?.postMessage(await compile(bytes));
});

async function compile(bytes: Uint8Array): Promise<CompileReply> {
  try {
    const wit = await wholeWit(bytes);
    const copy = renameExterns(
      withoutDocs(bytes),
      ({ name, exportedFunction }) => exportedFunction ? transpiledName(name) : name,
    );
    const { files } = await transpileBytes(copy, {
      name: "component",
      instantiation: "async",
      // Every core module as a file of its own, none inside the code.
      base64Cutoff: 0,
      emitTypescriptDeclarations: false,
    });
    const modules: [string, Uint8Array][] = [];
    let source = "";
    for (const [name, content] of Object.entries(files)) {
      if (name.endsWith(".wasm")) modules.push([name, content]);
      else if (name.endsWith(".js")) source = mended(new TextDecoder().decode(content));
    }
    return { wit, source, modules };
  } catch (thrown) {
    const text = thrown instanceof Error ? thrown.message : String(thrown);
    return { problem: text.split("\n").filter((line) => line.trim() !== "")[0] ?? text };
  }
}

async function wholeWit(bytes: Uint8Array): Promise<string> {
  // Letters nobody can know beforehand, so that no component can have names like these.
  const random = crypto.getRandomValues(new Uint8Array(16));
  const prefix = Array.from(random, (byte) => String.fromCharCode(0x61 + byte % 26)).join("");
  const { bytes: renamed, names } = renameInterfaces(bytes, prefix);
  return restoreInterfaces(await componentWit(renamed), names, prefix);
}
