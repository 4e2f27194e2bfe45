/**
 * The test command: every suite in turn, one line each, the output of those that fail, what was
 * skipped and why, and `N passed, N failed` as the last line. Where ATOLL_TEST_COMPLETE is set, all
 * that can be installed is, and a suite that lacks a program has failed. `--only TEXT` runs the
 * suites whose name contains it; `--verbose` passes all output through.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs, stripVTControlCharacters } from "node:util";
import { cacheFolder } from "../native/build/cache.ts";
import { isComplete } from "./runtimes.ts";
import { allSuites, type Counts, countsOf, skipsOf, type Suite } from "./suites.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

interface Result extends Counts {
  readonly suite: Suite;
  readonly seconds: number;
  readonly output: string;
  readonly skips: readonly string[];
  readonly note: string;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { only: { type: "string" }, verbose: { type: "boolean", default: false } },
  });
  const suites = allSuites(join(cacheFolder(), "cargo"))
    .filter((suite) =>
      !values.only || suite.name.toLowerCase().includes(values.only.toLowerCase())
    );
  if (suites.length === 0) {
    console.error(`No suite has "${values.only}" in its name.`);
    process.exit(2);
  }
  const total = { passed: 0, failed: 0 };
  const skipped: string[] = [];
  for (const suite of suites) {
    const missing = suite.needs?.find(({ program }) => !isOnPath(program));
    if (missing) {
      const reason = `${suite.name}: ${missing.program} is missing (Debian: ${missing.package})`;
      if (isComplete()) {
        total.failed++;
        console.log(`FAILED ${reason}`);
      } else {
        skipped.push(reason);
        console.log(`skipped ${reason}`);
      }
      continue;
    }
    process.stdout.write(`${suite.name} …\n`);
    const result = await run(suite, values.verbose);
    total.passed += result.passed;
    total.failed += result.failed;
    skipped.push(...result.skips.map((text) => `${suite.name}: ${text}`));
    report(result, values.verbose);
  }
  // Once more, where they are seen.
  for (const text of skipped) console.log(`skipped ${text}`);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  process.exit(total.failed === 0 ? 0 : 1);
}

function isOnPath(program: string): boolean {
  const folders = (process.env.PATH ?? "").split(delimiter);
  return folders.some((folder) => folder !== "" && existsSync(join(folder, program)));
}

function run(suite: Suite, verbose: boolean): Promise<Result> {
  const started = performance.now();
  const [program, ...args] = suite.command();
  return new Promise((resolve) => {
    // A group of its own, so that the watchdog reaches what the suite started.
    const child = spawn(program ?? "", args, {
      cwd: suite.cwd ? join(root, suite.cwd) : root,
      env: { ...process.env, ...suite.environment },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    let output = "";
    let note = "";
    const take = (chunk: Uint8Array) => {
      const text = new TextDecoder().decode(chunk);
      output += text;
      if (verbose) process.stdout.write(text);
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    const watchdog = setTimeout(() => {
      note = `ended by the watchdog after ${suite.watchdogMinutes} minutes`;
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    }, suite.watchdogMinutes * 60_000);
    const end = (code: number | null, problem: string) => {
      clearTimeout(watchdog);
      const plain = stripVTControlCharacters(output);
      const counts = countsOf(suite, plain, code);
      const skips = skipsOf(suite, plain);
      const seconds = (performance.now() - started) / 1000;
      resolve({ suite, output, skips, seconds, note: note || problem, ...counts });
    };
    child.on("error", (error) => end(null, error.message));
    child.on("close", (code) => end(code, code === 0 ? "" : `exit code ${code}`));
  });
}

/** Nothing of it ran and nothing failed: it is no success. */
function verdict({ passed, failed }: Counts): string {
  if (failed > 0) return "FAILED";
  return passed > 0 ? "ok" : "skipped";
}

function report(result: Result, verbose: boolean): void {
  const { suite, passed, failed, seconds, output, skips, note } = result;
  if (failed > 0 && !verbose) process.stdout.write(output);
  const notes = [note, skips.length > 0 ? `${skips.length} skipped` : ""].filter((text) => text);
  const extra = notes.length > 0 ? ` (${notes.join("; ")})` : "";
  console.log(
    `${verdict(result)} ${suite.name}: ` +
      `${passed} of ${passed + failed} in ${seconds.toFixed(1)} s${extra}`,
  );
}

await main();
