/**
 * What the benches share: alternating rounds, medians, and the two forms of output.
 *
 * Owns: how a question is asked and answered. Must not know what is measured. A result is a ratio
 * of Atoll to a named peer measured in the same run, round by round in turn, so that whatever else
 * the machine does meets both.
 */
import { execFileSync } from "node:child_process";
import { cpus, loadavg, release, totalmem } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { currentRuntime, type RuntimeName } from "../tests/runtimes.ts";

/** Something that whoever runs a bench can put right; the message says what, no stack is needed. */
export class BenchError extends Error {
  override readonly name = "BenchError";
}

/** One value of one round, and how the events in it were distributed where that was seen. */
export interface Sample {
  readonly value: number;
  /** In the unit of the value, as in `{ p50: 9.5, p99: 175 }`. */
  readonly percentiles?: Readonly<Record<string, number>>;
}

/** One side of a comparison. */
export interface Contender {
  readonly name: string;
  /** Runs one round. */
  measure(): number | Sample | Promise<number | Sample>;
}

/** A comparison: Atoll's way and the ways of others. */
export interface Question {
  /** The case's name in the output. */
  readonly case: string;
  readonly unit: string;
  /** Which values are better. */
  readonly better: "lower" | "higher";
  readonly atoll: Contender;
  /** None in small mode where a peer would have to be built. */
  readonly peers: readonly Contender[];
  /** What was measured, for the human form. */
  readonly about?: string;
  /** Rounds; absent: 10, in small mode 2. */
  readonly rounds?: number;
}

/** A line of the output with `--json`. */
export interface ResultLine {
  readonly bench: string;
  readonly case: string;
  readonly runtime: RuntimeName;
  readonly value: number;
  readonly unit: string;
  readonly peer: string | null;
  readonly peer_value: number | null;
  /** Above 1 where Atoll is better. */
  readonly ratio: number | null;
}

export interface BenchOptions {
  /** Seconds instead of minutes, and no peer is built: for the tests. */
  readonly small: boolean;
  /** One object a line on standard output; the human form goes to standard error. */
  readonly json: boolean;
}

/** A bench as `main.ts` runs it. */
export type RunBench = (bench: Bench) => Promise<void>;

const ROUNDS = 10;
const ROUNDS_SMALL = 2;

/** Collects the answers of one bench. */
export class Bench {
  readonly small: boolean;
  readonly runtime: RuntimeName = currentRuntime;
  readonly results: ResultLine[] = [];
  readonly #json: boolean;

  constructor(
    readonly name: string,
    options: BenchOptions,
    private readonly write: { human(text: string): void; json(text: string): void } = {
      human: (text) => void (options.json ? process.stderr : process.stdout).write(text),
      json: (text) => void process.stdout.write(text),
    },
  ) {
    this.small = options.small;
    this.#json = options.json;
  }

  /** Prints a line for people. */
  note(text: string): void {
    this.write.human(`${text}\n`);
  }

  /** With `--json`: prints a line for programs. */
  object(value: object): void {
    if (this.#json) this.write.json(`${JSON.stringify(value)}\n`);
  }

  /** Prints where and on what the bench runs. */
  header(parameters: Readonly<Record<string, unknown>>): void {
    const { cpu, cores, memory_gib, kernel } = machine();
    const { commit: id, changes } = commit();
    const load = loadavg()[0]?.toFixed(2);
    this.note(`bench ${this.name}${this.small ? " (small: figures mean nothing)" : ""}`);
    this.note(`  machine: ${cores} x ${cpu}, ${memory_gib} GiB, Linux ${kernel}`);
    this.note(`  runtime: ${this.runtime} ${process.versions[this.runtime]}, load ${load}`);
    this.note(`  commit:  ${id}${changes ? " with changes" : ""}`);
    for (const [key, value] of Object.entries(parameters)) this.note(`  ${key}: ${value}`);
  }

  /** Measures all contenders in turn, round by round, and prints the answer. */
  async ask(question: Question): Promise<void> {
    const contenders = [question.atoll, ...question.peers];
    const samples: Sample[][] = contenders.map(() => []);
    const rounds = question.rounds ?? (this.small ? ROUNDS_SMALL : ROUNDS);
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < contenders.length; i++) {
        // The order turns, so that nobody always runs behind the same other.
        const at = (i + round) % contenders.length;
        const taken = await contenders[at]!.measure();
        samples[at]!.push(typeof taken === "number" ? { value: taken } : taken);
      }
    }
    this.#print(question, samples);
  }

  #print(question: Question, samples: readonly Sample[][]): void {
    const contenders = [question.atoll, ...question.peers];
    const values = samples.map((list) => list.map((s) => s.value));
    const own = median(values[0]!);
    this.note(`\n${this.name} ${question.case}${question.about ? `: ${question.about}` : ""}`);
    contenders.forEach((contender, i) => {
      const middle = median(values[i]!);
      const ratio = i === 0 ? null : ratioOf(question, own, middle);
      this.note(`  ${humanLine(contender.name, question.unit, samples[i]!, ratio)}`);
      if (i === 0 && question.peers.length > 0) return;
      this.#result({
        bench: this.name,
        case: question.case,
        runtime: this.runtime,
        value: round(own),
        unit: question.unit,
        peer: i === 0 ? null : contender.name,
        peer_value: i === 0 ? null : round(middle),
        ratio: ratio === null ? null : round(ratio),
      });
    });
  }

  #result(line: ResultLine): void {
    this.results.push(line);
    this.object(line);
  }
}

function ratioOf(question: Question, own: number, peer: number): number {
  return question.better === "lower" ? peer / own : own / peer;
}

function humanLine(
  name: string,
  unit: string,
  samples: readonly Sample[],
  ratio: number | null,
): string {
  const values = samples.map((s) => s.value).sort((a, b) => a - b);
  const at = (part: number): string => shown(percentile(values, part));
  const spread = `p10 ${at(0.1)}  p50 ${at(0.5)}  p90 ${at(0.9)}  ${values.length} rounds`;
  const compared = ratio === null ? "" : `  ratio ${ratio.toFixed(2)}`;
  const inner = Object.keys(samples[0]?.percentiles ?? {}).map((key) => {
    const middle = median(samples.map((s) => s.percentiles?.[key] ?? NaN));
    return `${key} ${shown(middle)}`;
  });
  const within = inner.length > 0 ? `  (within a round: ${inner.join(" ")})` : "";
  return `${name.padEnd(28)} ${at(0.5).padStart(9)} ${unit}   ${spread}${compared}${within}`;
}

/** The middle value; the mean of the two middle ones for an even number. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  if (sorted.length === 0) return NaN;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/**
 * A percentile by the nearest rank.
 * @param sorted ascending
 * @param part 0 to 1
 */
export function percentile(sorted: ArrayLike<number>, part: number): number {
  const rank = Math.ceil(part * sorted.length) - 1;
  return sorted[Math.min(Math.max(rank, 0), sorted.length - 1)] ?? NaN;
}

function shown(value: number): string {
  return Math.abs(value) >= 1000 ? value.toFixed(0) : value.toPrecision(4);
}

function round(value: number): number {
  return Number(value.toPrecision(6));
}

/** Where a bench runs. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memory_gib: number;
  readonly kernel: string;
}

export function machine(): Machine {
  return {
    cpu: cpus()[0]?.model ?? "unknown processor",
    cores: cpus().length,
    memory_gib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
  };
}

/** What is measured. Records of benches are no changes: one run must not spoil the next one's. */
export function commit(): { readonly commit: string; readonly changes: boolean } {
  const cwd = fileURLToPath(new URL("../", import.meta.url));
  const git = (...args: string[]): string =>
    execFileSync("git", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
      .trim();
  try {
    const changed = git("status", "--porcelain", "--", ".", ":(exclude)bench/history");
    return { commit: git("rev-parse", "--short", "HEAD"), changes: changed !== "" };
  } catch {
    return { commit: "none", changes: false };
  }
}

/**
 * Binds every thread of this process to one processor, or to all of them again (null), by
 * taskset of util-linux. Says whether it did.
 */
export function pin(processor: number | null): boolean {
  const list = processor === null ? `0-${cpus().length - 1}` : String(processor);
  try {
    execFileSync("taskset", ["-a", "-c", "-p", list, String(process.pid)], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** The same for a program to be started. */
export function pinned(processor: number, command: readonly string[]): readonly string[] {
  return ["taskset", "-c", String(processor), ...command];
}
