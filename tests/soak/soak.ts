/**
 * Runs the engine at full load in a process of its own and says whether it stays flat.
 *
 * Owns: starting it and putting verdicts together. The loads are `load.ts` and `load_workers.ts`, the
 * bounds are `trend.ts`.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runScript, type RuntimeName } from "../runtimes.ts";
import type { Left, Line } from "./measure.ts";
import { judge, type Sample, type Verdict } from "./trend.ts";

export interface Soak {
  readonly samples: readonly Sample[];
  readonly verdicts: readonly Verdict[];
  /** What is left after everything was unloaded; null: the process did not get that far. */
  readonly left: Left | null;
  /** Why the process failed, or null. */
  readonly failure: string | null;
  readonly ok: boolean;
}

/** `engine`: as the server's own thread calls it; `workers`: over HTTP, by two workers. */
export type Load = "engine" | "workers";

const SCRIPTS: Readonly<Record<Load, string>> = {
  engine: "load.ts",
  workers: "load_workers.ts",
};

/** Runs for so many seconds; `onSample` is told of each one. */
export async function soak(
  seconds: number,
  runtime: RuntimeName,
  load: Load,
  onSample: (sample: Sample) => void = () => {},
): Promise<Soak> {
  const cache = mkdtempSync(join(tmpdir(), "atoll-soak-"));
  const script = fileURLToPath(new URL(SCRIPTS[load], import.meta.url));
  const [command = "", ...args] = runScript(runtime, script);
  const samples: Sample[] = [];
  let [left, errors, rest]: [Left | null, string, string] = [null, "", ""];
  const code = await new Promise<number | string | null>((resolve, reject) => {
    const child = spawn(command, [...args, String(seconds), cache], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines.map((text) => JSON.parse(text) as Line)) {
        if ("left" in line) left = line.left;
        else {
          samples.push(line.sample);
          onSample(line.sample);
        }
      }
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => errors += text);
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(signal ?? code));
  });
  rmSync(cache, { recursive: true, force: true });
  const failure = code === 0 ? null : `ended with ${code}: ${errors.slice(-2_000)}`;
  const verdicts = failure === null ? judge(samples) : [];
  const gone = left !== null && Object.values(left).every((value) => value === 0);
  const ok = failure === null && gone && verdicts.every(({ flat }) => flat);
  return { samples, verdicts, left, failure, ok };
}
