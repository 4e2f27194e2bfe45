/**
 * Command: builds the native libraries into the cache, showing how far it is.
 *
 * Owns: the progress line and the exit code. Must not know the steps of the build.
 * Usage: `deno run -A native/build/main.ts [--json]`. With `--json` standard output has one object
 * a line: progress records, then the paths of the libraries or the error.
 */
import process from "node:process";
import { buildNative, type BuildProgress, NativeBuildError } from "./build.ts";

/** Without a terminal a line is written this often at most. */
const LINE_EVERY_MS = 5_000;

/** Shows progress on a stream: one line rewritten on a terminal, else a line every few seconds. */
export class ProgressLine {
  #lastMs = -Infinity;
  #lastPhase = "";
  #width = 0;

  constructor(
    private readonly out: { write(text: string): unknown; readonly isTTY?: boolean },
    private readonly now: () => number = () => performance.now(),
  ) {}

  show(progress: BuildProgress): void {
    const line = progressText(progress);
    if (this.out.isTTY) {
      this.out.write(`\r${line.padEnd(this.#width)}`);
      this.#width = line.length;
      return;
    }
    const now = this.now();
    if (progress.phase === this.#lastPhase && now - this.#lastMs < LINE_EVERY_MS) return;
    this.#lastPhase = progress.phase;
    this.#lastMs = now;
    this.out.write(`${line}\n`);
  }

  /** Leaves the line that is being rewritten. */
  end(): void {
    if (this.out.isTTY && this.#width > 0) this.out.write("\n");
    this.#width = 0;
  }
}

/** One line about how far a build is. */
export function progressText(progress: BuildProgress): string {
  const { phase, done, total, crate } = progress;
  const what = phase === "core" ? "core (C)" : "wasmtime engine (Rust)";
  return `building ${what}: ${done}/${total}${crate ? ` ${crate}` : ""}`;
}

async function main(args: readonly string[]): Promise<number> {
  const json = args.includes("--json");
  const unknown = args.find((arg) => arg !== "--json");
  if (unknown !== undefined) {
    process.stderr.write(`Unknown argument "${unknown}"; there is only --json\n`);
    return 2;
  }
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  const line = new ProgressLine(process.stderr);
  try {
    const paths = await buildNative((progress) => {
      if (json) process.stdout.write(`${JSON.stringify(progress)}\n`);
      else line.show(progress);
    }, stop.signal);
    line.end();
    const text = `${paths.core}\n${paths.sandbox}`;
    process.stdout.write(`${json ? JSON.stringify({ phase: "done", ...paths }) : text}\n`);
    return 0;
  } catch (error) {
    line.end();
    if (!(error instanceof NativeBuildError)) throw error;
    const { code, message } = error;
    if (json) process.stdout.write(`${JSON.stringify({ phase: "failed", code, message })}\n`);
    else process.stderr.write(`${message}\n`);
    return 1;
  }
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
