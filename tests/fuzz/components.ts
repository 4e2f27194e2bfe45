/**
 * Offers components made from seeds to the native engine: `deno task fuzz components [COUNT] [--seed
 * FIRST]`. Each batch is offered in a process of its own, so that one that ends its host is a finding
 * and no end.
 *
 * A finding is a crash, a batch that hangs, a panic, an error that says nothing, or something left
 * behind. Its component is written into the user's cache; once mended, its seed belongs into
 * tests/corpus/components/seeds.txt, which is offered first each time.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildNative, findNative } from "../../native/build/build.ts";
import { cacheFolder } from "../../native/build/cache.ts";
import { currentRuntime, runScript } from "../runtimes.ts";
import type { Report, Tally } from "./offer.ts";

const COUNT_DEFAULT = 1_000;
const BATCH = 250;
/** A process that says nothing for so long hangs: a component is refused or called within seconds. */
const SILENCE_MS = 120_000;

const here = dirname(fileURLToPath(import.meta.url));
const SEEDS = join(here, "../corpus/components/seeds.txt");
const FIXTURES = join(here, "../fixtures/wat");

interface Finding {
  readonly seed: number | null;
  readonly text: string;
}

interface Batch {
  readonly findings: readonly Finding[];
  readonly tally: Tally | null;
}

/** The program that makes components, built now if need be. */
function generator(): string {
  const target = join(cacheFolder(), "cargo-fuzz");
  const options = ["build", "--release", "--locked", "--quiet", "--target-dir", target];
  execFileSync("cargo", options, {
    cwd: join(here, "generator"),
    stdio: ["ignore", "ignore", "inherit"],
  });
  return join(target, "release/components");
}

function generate(program: string, first: number, count: number): Uint8Array {
  return execFileSync(program, [FIXTURES, String(first), String(count)], { maxBuffer: 2 ** 30 });
}

/** Offers so many components in a process of its own. */
function offer(pack: string, first: number, work: string): Promise<Batch> {
  const [command = "", ...args] = runScript(currentRuntime, join(here, "offer.ts"));
  const child: ChildProcess = spawn(command, [...args, pack, String(first), work], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const findings: Finding[] = [];
  let [tally, at, rest, errors]: [Tally | null, number | null, string, string] = [
    null,
    null,
    "",
    "",
  ];
  let hung = false;
  const watch = () =>
    setTimeout(() => {
      hung = true;
      child.kill("SIGKILL");
    }, SILENCE_MS);
  let watchdog = watch();
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    clearTimeout(watchdog);
    watchdog = watch();
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const report = JSON.parse(line) as Report;
      if ("at" in report) at = report.at;
      else if ("tally" in report) tally = report.tally;
      else findings.push({ seed: report.seed, text: report.finding });
    }
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => errors += text);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(watchdog);
      const how = hung ? "hangs" : `ended with ${signal ?? code}`;
      if (code !== 0) findings.push({ seed: at, text: `the host ${how}: ${errors.slice(-2_000)}` });
      resolve({ findings, tally });
    });
  });
}

/** Seeds of former findings, a number at the beginning of a line. */
function keptSeeds(): number[] {
  const lines = readFileSync(SEEDS, "utf8").matchAll(/^\d+/gm);
  return [...lines].map(([seed]) => Number(seed));
}

class Campaign {
  readonly findings: Finding[] = [];
  readonly total: Tally = { offered: 0, loaded: 0, calls: 0, answered: 0, codes: {} };
  readonly #program = generator();
  readonly #work = mkdtempSync(join(tmpdir(), "atoll-components-"));

  async batch(first: number, count: number): Promise<void> {
    const pack = join(this.#work, "pack");
    writeFileSync(pack, generate(this.#program, first, count));
    const { findings, tally } = await offer(pack, first, this.#work);
    for (const finding of findings) this.#found(finding, first);
    if (tally === null) return;
    this.total.offered += tally.offered;
    this.total.loaded += tally.loaded;
    this.total.calls += tally.calls;
    this.total.answered += tally.answered;
    for (const [code, count] of Object.entries(tally.codes)) {
      this.total.codes[code] = (this.total.codes[code] ?? 0) + count;
    }
  }

  #found({ seed, text }: Finding, first: number): void {
    this.findings.push({ seed, text });
    if (seed === null) return console.log(`FINDING in the batch from seed ${first}: ${text}`);
    const folder = join(cacheFolder(), "fuzz/findings");
    mkdirSync(folder, { recursive: true });
    const path = join(folder, `component-${seed}.wasm`);
    writeFileSync(path, generate(this.#program, seed, 1).subarray(5));
    console.log(`FINDING seed ${seed} (${path}): ${text}`);
  }

  summary(): string {
    const { offered, loaded, calls, answered, codes } = this.total;
    const endings = Object.entries(codes).map(([code, count]) => `${code} ${count}`).join(", ");
    return `${offered} components, ${loaded} loaded; ${calls} calls, ${answered} answered; ${endings}`;
  }

  close(): void {
    rmSync(this.#work, { recursive: true, force: true });
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    args: process.argv.slice(2).filter((arg, index) => index > 0 || arg !== "components"),
    options: { seed: { type: "string", default: "0" } },
    allowPositionals: true,
  });
  const [count, first] = [Number(positionals[0] ?? COUNT_DEFAULT), Number(values.seed)];
  if (!Number.isInteger(count) || count < 1 || !Number.isSafeInteger(first) || first < 0) {
    console.error("usage: deno task fuzz components [COUNT] [--seed FIRST]");
    process.exit(2);
  }
  if (await findNative() === null) await buildNative(() => {});
  const campaign = new Campaign();
  try {
    for (const seed of keptSeeds()) await campaign.batch(seed, 1);
    for (let done = 0; done < count; done += BATCH) {
      await campaign.batch(first + done, Math.min(BATCH, count - done));
      const { offered } = campaign.total;
      if ((done / BATCH) % 4 === 3) {
        console.log(`${offered} offered, ${campaign.findings.length} found`);
      }
    }
  } finally {
    campaign.close();
  }
  const { length: found } = campaign.findings;
  // An ending without an answer is the rule; without any the calls show nothing.
  const idle = count >= BATCH && campaign.total.answered === 0;
  console.log(campaign.summary() + (idle ? "; no call was answered" : ""));
  console.log(`${campaign.total.offered - found} passed, ${found + (idle ? 1 : 0)} failed`);
  process.exit(found === 0 && !idle ? 0 : 1);
}

await main();
