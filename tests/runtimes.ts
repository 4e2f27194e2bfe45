/**
 * How to start Deno and Bun as child processes: the one that runs now by its own path, the other
 * from the PATH when it is new enough, else by npx at the pinned version.
 */
import { execFileSync } from "node:child_process";
import process from "node:process";

export type RuntimeName = "deno" | "bun";

/** Versions that the tests are pinned to. */
export const PINNED: Record<RuntimeName, string> = { deno: "2.9.6", bun: "1.4.5" };

const OLDEST: Record<RuntimeName, readonly number[]> = { deno: [2, 9, 0], bun: [1, 4, 1] };

/** Whether all that can be installed is, so that a check that is skipped for want of it has failed. */
export function isComplete(): boolean {
  return Boolean(process.env["ATOLL_TEST_COMPLETE"]);
}

/** The runtime this process runs under. */
export const currentRuntime: RuntimeName = "Deno" in globalThis ? "deno" : "bun";

const found = new Map<RuntimeName, readonly string[]>();

/** Command and leading arguments that start the given runtime. */
export function runtimeCommand(name: RuntimeName): readonly string[] {
  let command = found.get(name);
  if (!command) {
    command = locate(name);
    found.set(name, command);
  }
  return command;
}

/** Arguments that run a script with every permission: `deno run -A FILE`, `bun run FILE`. */
export function runScript(name: RuntimeName, script: string): readonly string[] {
  return name === "deno"
    ? [...runtimeCommand(name), "run", "-A", script]
    : [...runtimeCommand(name), "run", script];
}

function locate(name: RuntimeName): readonly string[] {
  if (name === currentRuntime) return [process.execPath];
  try {
    const version = execFileSync(name, ["--version"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    if (atLeast(version.match(/\d+\.\d+\.\d+/)?.[0] ?? "0.0.0", OLDEST[name])) return [name];
  } catch {
    // Not on the PATH: npx has it.
  }
  // npx once, for the path of the program itself: starting through npx costs a second each time.
  const script = "process.stdout.write(process.execPath)";
  const evaluate = name === "deno" ? ["eval", script] : ["-e", script];
  const path = execFileSync("npx", ["-y", `${name}@${PINNED[name]}`, ...evaluate], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  return [path.trim()];
}

function atLeast(version: string, oldest: readonly number[]): boolean {
  const parts = version.split(".").map(Number);
  for (let i = 0; i < 3; i++) {
    const difference = (parts[i] ?? 0) - (oldest[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}
