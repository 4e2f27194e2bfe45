/** Runs `atoll` as a child under the runtime that the test runs in. */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { currentRuntime, runScript } from "../runtimes.ts";

export const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
export const BIN = fileURLToPath(new URL("../../src/cli/bin.mjs", import.meta.url));

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ChildOptions {
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly input?: string;
}

/** This process's environment, without what would set a configuration or is meant for the tests. */
export function environmentWithoutAtoll(omit: readonly string[] = []): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] =>
      entry[1] !== undefined && !entry[0].startsWith("ATOLL_") && !omit.includes(entry[0])
    ),
  );
}

/** A child whose output is collected. */
export class Child {
  stdout = "";
  stderr = "";
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
  #changed: () => void = () => {};

  constructor(command: readonly string[], options: ChildOptions = {}) {
    const [program = "", ...args] = command;
    this.process = spawn(program, args, {
      cwd: options.cwd,
      env: { ...environmentWithoutAtoll(), ...options.environment },
      stdio: ["pipe", "pipe", "pipe"],
    });
    for (const name of ["stdout", "stderr"] as const) {
      this.process[name]?.setEncoding("utf8").on("data", (text: string) => {
        this[name] += text;
        this.#changed();
      });
    }
    this.ended = new Promise((resolve, reject) => {
      this.process.on("error", reject);
      this.process.on("close", (status) => {
        resolve({ status, stdout: this.stdout, stderr: this.stderr });
        this.#changed();
      });
    });
    if (options.input !== undefined) this.process.stdin?.end(options.input);
  }

  /**
   * Sends a signal. Not by `ChildProcess.kill`: Deno then reports the signal as the cause of the
   * end even where the child handled it and ended with a status.
   */
  signal(name: "SIGTERM" | "SIGINT"): void {
    if (this.process.pid !== undefined) process.kill(this.process.pid, name);
  }

  /** Waits for a text on standard error and returns its match. */
  async said(pattern: RegExp): Promise<RegExpMatchArray> {
    let over = false;
    void this.ended.then(() => over = true);
    while (true) {
      const found = this.stderr.match(pattern);
      if (found !== null) return found;
      if (over) throw new Error(`ended without saying ${pattern}: ${this.stderr}`);
      await new Promise<void>((resolve) => this.#changed = resolve);
    }
  }
}

/** Starts `atoll ARGS`. */
export function start(args: readonly string[], options: ChildOptions = {}): Child {
  return new Child([...runScript(currentRuntime, MAIN), ...args], options);
}

/** Runs `atoll ARGS` to its end. */
export function atoll(args: readonly string[], options: ChildOptions = {}): Promise<Ended> {
  return start(args, { input: "", ...options }).ended;
}
