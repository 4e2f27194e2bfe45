/**
 * Peers that have to be built, at pinned versions, into the cache. Full benches only.
 *
 * Owns: versions and the place. Must not know how peers are run.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "../../native/build/cache.ts";

const WASMTIME = "48.0.8";
const SDK = {
  "@modelcontextprotocol/server": "2.4.0",
  "@modelcontextprotocol/hono": "2.0.2",
  hono: "4.13.19",
  zod: "4.6.7",
};

function folder(name: string): string {
  const path = join(cacheFolder(), "bench", name);
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return path;
}

/** The folder with the official TypeScript SDK, installed by npm when it is not there. */
export function typescriptSdkFolder(note: (text: string) => void): string {
  const versions = Object.values(SDK).join("-");
  const path = folder(`typescript-sdk-${versions}`);
  if (existsSync(join(path, "node_modules", "zod"))) return path;
  note("installing the TypeScript SDK with npm");
  const manifest = { private: true, type: "module", dependencies: SDK };
  writeFileSync(join(path, "package.json"), JSON.stringify(manifest));
  execFileSync("npm", ["install", "--no-audit", "--no-fund"], { cwd: path, stdio: "ignore" });
  return path;
}

/** The wasmtime program, built by cargo when it is not there: about ten minutes, once. */
export function wasmtimeProgram(note: (text: string) => void): string {
  const path = folder(`wasmtime-${WASMTIME}`);
  const program = join(path, "bin", "wasmtime");
  if (existsSync(program)) return program;
  note(`building wasmtime ${WASMTIME} with cargo: about ten minutes, once`);
  const args = ["install", `wasmtime-cli@${WASMTIME}`, "--locked", "--root", path];
  execFileSync("cargo", args, { stdio: ["ignore", "inherit", "inherit"] });
  return program;
}
