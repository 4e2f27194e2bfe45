/**
 * A component called from JavaScript: `deno run -A ffi/example.ts COMPONENT.wasm FUNCTION [JSON]`,
 * the same with `bun run`. Without FUNCTION it prints what the component exports.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { Engine, GuestError } from "./mod.ts";

const [file, name, args = "{}"] = process.argv.slice(2);
if (file === undefined) {
  console.error("usage: example.ts COMPONENT.wasm [FUNCTION [JSON]]");
  process.exit(2);
}

const engine = await Engine.open({
  onBuildProgress: ({ phase, done, total }) => console.error(`building ${phase}: ${done}/${total}`),
});
const component = await engine.load(readFileSync(file), {
  limits: { memoryBytes: 16 * 1024 * 1024, cpuMs: 500 },
  onLog: (stream, text) => console.error(`${stream}: ${text}`),
});

if (name === undefined) {
  for (const f of component.functions) console.log([f.interface, f.name].filter(Boolean).join("#"));
} else {
  // Kept from call to call; component.call would have a fresh instance for each.
  const instance = await component.instantiate();
  try {
    console.log(await instance.call(name, JSON.parse(args)));
  } catch (error) {
    if (!(error instanceof GuestError)) throw error;
    console.log("the guest says:", error.payload);
  } finally {
    await instance.drop();
  }
}

await engine.close();
