#!/usr/bin/env node
/**
 * `atoll` as npm installs it: Node.js runs this file, which starts Atoll under Deno or Bun, with the
 * same arguments, streams and signals. Plain JavaScript, since an old Node.js has to run it too.
 */
import { spawn } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { constants as system } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../main.ts", import.meta.url));
const ARGUMENTS = { deno: ["run", "-A", MAIN], bun: ["run", MAIN] };

/** The program's path, or null where it is not on the PATH. */
function find(name) {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    if (folder === "") continue;
    const path = join(folder, process.platform === "win32" ? `${name}.exe` : name);
    try {
      accessSync(path, constants.X_OK);
      if (statSync(path).isFile()) return path;
    } catch {
      // Not in this folder.
    }
  }
  return null;
}

function fail(message) {
  process.stderr.write(`atoll: ${message}\n`);
  process.exit(127);
}

/** ATOLL_RUNTIME chooses; else Deno goes first. */
function choose() {
  const wanted = process.env.ATOLL_RUNTIME ?? "";
  if (wanted !== "" && !(wanted in ARGUMENTS)) {
    fail(`Cannot start under "${wanted}": ATOLL_RUNTIME is deno or bun`);
  }
  for (const name of wanted === "" ? ["deno", "bun"] : [wanted]) {
    const path = find(name);
    if (path !== null) return { name, path };
  }
  return fail(
    wanted === ""
      ? "Cannot start: neither Deno nor Bun is on the PATH; " +
        "install one: https://deno.com (2.9.0 or newer) or https://bun.sh (1.4.1 or newer)"
      : `Cannot start under ${wanted}: it is not on the PATH`,
  );
}

if (process.versions.deno !== undefined || process.versions.bun !== undefined) {
  // Already there: `bun run src/cli/bin.mjs`.
  await import("../main.ts");
} else {
  const { name, path } = choose();
  const child = spawn(path, [...ARGUMENTS[name], ...process.argv.slice(2)], { stdio: "inherit" });
  // A terminal sends its signals to both processes; others reach only this one and are passed on.
  // Whatever ends the child ends this process, so that none of them is to end it before.
  const passed = process.stdin.isTTY ? ["SIGTERM"] : ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"];
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"]) {
    process.on(signal, () => passed.includes(signal) && child.kill(signal));
  }
  child.on("error", (error) => fail(`Cannot start ${path}: ${error.message}`));
  child.on("exit", (code, signal) => {
    process.exit(code ?? 128 + (system.signals[signal] ?? 0));
  });
}
