/**
 * Runs libFuzzer's targets over the C core: `deno task fuzz [SECONDS]`, half of the time each.
 *
 * Owns: where inputs come from, where new ones and findings go, what is printed. Must not know what
 * is checked. Seeds are the repository's; what is found on the way stays in the user's cache, so that
 * the next run goes on from there. A finding is a file there; once it is mended, its shortest form
 * belongs into tests/corpus.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join, relative } from "node:path";
import process from "node:process";
import { cacheFolder, CHECKOUT } from "../../build/cache.ts";

const SECONDS_DEFAULT = 600;
const CORE = join(CHECKOUT, "native/core");
const WIRE = join(CHECKOUT, "tests/corpus/wire");
const API = join(CHECKOUT, "tests/corpus/api");

interface Target {
  readonly name: "frame" | "api";
  /** Longest input in bytes. */
  readonly length: number;
  /** A folder of seeds as libFuzzer wants them: one input a file. */
  readonly seeds: (work: string) => string;
}

const TARGETS: readonly Target[] = [
  { name: "frame", length: 4096, seeds: wireSeeds },
  { name: "api", length: 600, seeds: () => API },
];

/** The vectors' bytes, out of their text files. */
function wireSeeds(work: string): string {
  const folder = join(work, "frame-seeds");
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(WIRE).filter((name) => name.endsWith(".frame"))) {
    const text = readFileSync(join(WIRE, name), "utf8");
    const hex = [...text.matchAll(/^hex ([0-9a-f ]*)$/gm)].map((line) => line[1]).join("");
    writeFileSync(
      join(folder, basename(name, ".frame")),
      Buffer.from(hex.replaceAll(" ", ""), "hex"),
    );
  }
  return folder;
}

/** Whatever the program writes, on to `see`; its exit code. */
function run(
  program: string,
  args: readonly string[],
  see: (text: string) => void,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(program, args, {
      cwd: CHECKOUT,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const pass = (chunk: Uint8Array) => see(new TextDecoder().decode(chunk));
    child.stdout?.on("data", pass);
    child.stderr?.on("data", pass);
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
}

/** Fuzzes one target; true: nothing was found. */
async function fuzz(
  target: Target,
  build: string,
  work: string,
  seconds: number,
): Promise<boolean> {
  const program = join(build, `clang/${target.name}_fuzz`);
  const corpus = join(work, target.name);
  const findings = join(work, "findings");
  mkdirSync(corpus, { recursive: true });
  mkdirSync(findings, { recursive: true });
  let output = "";
  const code = await run(program, [
    `-max_total_time=${seconds}`,
    `-max_len=${target.length}`,
    "-len_control=0",
    "-timeout=60",
    "-print_final_stats=1",
    "-verbosity=1",
    `-artifact_prefix=${findings}/${target.name}-`,
    corpus,
    target.seeds(work),
  ], (text) => output += text);
  const runs = output.match(/stat::number_of_executed_units: (\d+)/)?.[1] ?? "?";
  const kept = output.match(/stat::new_units_added: +(\d+)/)?.[1] ?? "?";
  console.log(
    `${code === 0 ? "ok" : "not ok"} fuzz ${target.name}: ${runs} inputs, ${kept} of them new ways`,
  );
  if (code === 0) return true;
  const finding = output.match(/Test unit written to (\S+)/)?.[1];
  // From what went wrong on; the line for each new input tells nothing.
  console.log(output.split("\n").filter((line) => !/^#\d+\t/.test(line)).slice(-80).join("\n"));
  console.log(
    finding
      ? `The input is ${finding}; once more with it:\n  ${
        relative(process.cwd(), program)
      } ${finding}`
      : "There is no input: the target did not run.",
  );
  return false;
}

async function main(): Promise<void> {
  const seconds = Number(process.argv[2] ?? SECONDS_DEFAULT);
  if (!Number.isInteger(seconds) || seconds < TARGETS.length) {
    console.error(
      `Cannot fuzz: "${process.argv[2]}" is no number of seconds from ${TARGETS.length} on.`,
    );
    process.exit(2);
  }
  const build = join(CORE, "build");
  const made = await run("make", ["-s", "-C", CORE, "fuzz"], (text) => process.stdout.write(text));
  if (made !== 0) {
    console.error("Cannot fuzz: the targets do not build; they need clang with libFuzzer.");
    process.exit(1);
  }
  const work = join(cacheFolder(), "fuzz");
  const each = Math.floor(seconds / TARGETS.length);
  let passed = 0;
  for (const target of TARGETS) if (await fuzz(target, build, work, each)) passed++;
  console.log(`${passed} passed, ${TARGETS.length - passed} failed`);
  process.exit(passed === TARGETS.length ? 0 : 1);
}

await main();
