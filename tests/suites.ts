/**
 * Every suite of the test command as data: what to run and how its last lines tell the counts.
 * Must not run anything itself; `run.ts` does.
 */
import { runScript, runtimeCommand } from "./runtimes.ts";

export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

export interface Suite {
  readonly name: string;
  /** Program and arguments, started in the repository's root. */
  readonly command: () => readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Folder relative to the root, absent: the root. */
  readonly cwd?: string;
  /** Counts from the output; absent: the suite is one check, passed when it exits with 0. */
  readonly counts?: (output: string) => Counts | null;
  /** Programs that not every machine has, with their Debian packages; one missing: skipped. */
  readonly needs?: readonly { readonly program: string; readonly package: string }[];
  /** Whether a line that begins with "skipped" tells of a check that was not made. */
  readonly skips?: boolean;
  /** Minutes after which the watchdog ends a suite that hangs. */
  readonly watchdogMinutes: number;
}

/** What a suite says that it did not check, and why: lines that begin with "skipped". */
export function skipsOf(suite: Suite, output: string): readonly string[] {
  if (!suite.skips) return [];
  return [...output.matchAll(/^skipped (.+)$/gm)].map((line) => line[1] ?? "");
}

/**
 * A suite that exits with an error has failed, whatever it counted; one that counted nothing as well,
 * unless it says what it skipped.
 */
export function countsOf(suite: Suite, output: string, code: number | null): Counts {
  const ok = code === 0;
  const skipped = skipsOf(suite, output).length > 0;
  if (!suite.counts) return { passed: ok && !skipped ? 1 : 0, failed: ok ? 0 : 1 };
  const counts = suite.counts(output);
  if (!counts) return { passed: 0, failed: 1 };
  if (ok && !skipped && counts.passed + counts.failed === 0) return { passed: 0, failed: 1 };
  return { passed: counts.passed, failed: ok ? counts.failed : Math.max(1, counts.failed) };
}

const RUST_CRATES = ["native/sandbox", "native/tools/componentize"];

const deno = (...args: string[]) => () => [...runtimeCommand("deno"), ...args];

/** The suites in the order in which a mistake shows soonest. */
export function allSuites(cargoTarget: string): readonly Suite[] {
  const cargo = { CARGO_TARGET_DIR: cargoTarget, CARGO_TERM_COLOR: "never" };
  return [
    check("generated: abi", () => [...runScript("deno", "native/abi/generate.ts"), "--check"]),
    check("generated: config", () => [...runScript("deno", "src/config/generate.ts"), "--check"]),
    check("generated: records", () => [...runScript("deno", "bench/records.ts"), "--check"]),
    check("format: TypeScript", deno("fmt", "--check", "--quiet")),
    check("lint: TypeScript", deno("lint", "--quiet")),
    check("types: TypeScript", deno("check", "--quiet", "src", "ffi", "native", "tests", "bench")),
    check("native libraries", () => runScript("deno", "native/build/main.ts"), 40),
    {
      name: "C core",
      command: () => ["make", "-s", "-C", "native/core", "test"],
      counts: plainCounts,
      skips: true,
      watchdogMinutes: 10,
    },
    {
      name: "C core under address and undefined-behaviour sanitizers",
      command: () => ["make", "-s", "-C", "native/core", "test-asan"],
      counts: plainCounts,
      skips: true,
      watchdogMinutes: 10,
    },
    {
      name: "C core under the thread sanitizer",
      command: () => ["make", "-s", "-C", "native/core", "test-tsan"],
      counts: plainCounts,
      skips: true,
      watchdogMinutes: 10,
    },
    {
      name: "C core under valgrind",
      command: () => ["make", "-s", "-C", "native/core", "test-valgrind"],
      counts: plainCounts,
      skips: true,
      watchdogMinutes: 10,
      needs: [{ program: "valgrind", package: "valgrind" }],
    },
    {
      name: "C core for arm64",
      command: () => ["make", "-s", "-C", "native/core", "test-arm"],
      counts: plainCounts,
      skips: true,
      watchdogMinutes: 10,
      needs: [
        { program: "aarch64-linux-gnu-gcc", package: "gcc-aarch64-linux-gnu" },
        { program: "qemu-aarch64", package: "qemu-user" },
      ],
    },
    {
      name: "C core: structures without locks, model-checked",
      command: () => ["make", "-s", "-C", "native/core", "test-model"],
      counts: plainCounts,
      skips: true,
      watchdogMinutes: 10,
    },
    {
      name: "C core: protocols under spin",
      command: () => ["make", "-s", "-C", "native/core", "test-spin"],
      needs: [{ program: "spin", package: "spin" }],
      counts: plainCounts,
      skips: true,
      watchdogMinutes: 10,
    },
    {
      ...check(
        "C core: instruction counts",
        () => [...runScript("deno", "bench/main.ts"), "--baseline", "--check"],
      ),
      needs: [{ program: "valgrind", package: "valgrind" }],
      skips: true,
    },
    {
      name: "C core under libFuzzer",
      command: () => [...runScript("deno", "native/core/fuzz/main.ts"), "30"],
      needs: [{ program: "clang", package: "clang" }],
      counts: plainCounts,
      skips: true,
      watchdogMinutes: 10,
    },
    ...RUST_CRATES.map((cwd) => ({
      ...check(`format: Rust, ${cwd}`, () => ["cargo", "fmt", "--check"]),
      cwd,
    })),
    ...RUST_CRATES.map((cwd) => ({
      ...check(
        `lint: Rust, ${cwd}`,
        () => ["cargo", "clippy", "--release", "--locked", "--all-targets", "--", "-D", "warnings"],
        30,
      ),
      cwd,
      environment: cargo,
    })),
    {
      name: "Rust sandbox",
      command: () => ["cargo", "test", "--release", "--locked"],
      cwd: "native/sandbox",
      environment: cargo,
      counts: cargoCounts,
      watchdogMinutes: 30,
    },
    {
      name: "components from seeds, offered to the engine",
      command: () => [...runScript("deno", "tests/fuzz/main.ts"), "components", "500"],
      counts: plainCounts,
      watchdogMinutes: 20,
    },
    {
      name: "Deno suite",
      // Not quiet: what a test says that it skipped is seen.
      command: deno("test", "-A", "--no-check"),
      environment: { NO_COLOR: "1" },
      counts: denoCounts,
      skips: true,
      watchdogMinutes: 30,
    },
    {
      name: "Bun suite",
      command: () => [...runtimeCommand("bun"), "test"],
      environment: { NO_COLOR: "1" },
      counts: bunCounts,
      skips: true,
      watchdogMinutes: 30,
    },
  ];
}

function check(name: string, command: Suite["command"], watchdogMinutes = 10): Suite {
  return { name, command, watchdogMinutes };
}

/** The last `N passed, N failed` line. */
function plainCounts(output: string): Counts | null {
  return last(output, /^(\d+) passed, (\d+) failed$/gm);
}

/** Deno closes with `ok | 12 passed (3 steps) | 0 failed (2s)`. */
function denoCounts(output: string): Counts | null {
  return last(output, /^(?:ok|FAILED) \| (\d+) passed.*? \| (\d+) failed/gm);
}

/** Bun closes with ` 12 pass` and ` 0 fail`. */
function bunCounts(output: string): Counts | null {
  const passed = [...output.matchAll(/^\s*(\d+) pass$/gm)].at(-1);
  const failed = [...output.matchAll(/^\s*(\d+) fail$/gm)].at(-1);
  return passed && failed ? { passed: Number(passed[1]), failed: Number(failed[1]) } : null;
}

/** Cargo prints one line a test program; they are summed. */
function cargoCounts(output: string): Counts | null {
  const lines = [...output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed/gm)];
  if (lines.length === 0) return null;
  return lines.reduce<Counts>(
    (sum, line) => ({
      passed: sum.passed + Number(line[1]),
      failed: sum.failed + Number(line[2]),
    }),
    { passed: 0, failed: 0 },
  );
}

function last(output: string, pattern: RegExp): Counts | null {
  const match = [...output.matchAll(pattern)].at(-1);
  return match ? { passed: Number(match[1]), failed: Number(match[2]) } : null;
}
