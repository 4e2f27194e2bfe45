/**
 * Load on HTTP servers for the benches: where servers and generator run, which generator, and the
 * processes of the peers.
 *
 * Owns: pinning, wrk or the built-in generator, starting and stopping. Must not know the questions.
 * The server has one core, the generator another, where the machine has two; a server that is to have
 * two shares them with the generator where there is no third one.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { currentRuntime, runScript } from "../tests/runtimes.ts";
import { sharedLibrary } from "./native/programs.ts";
import type { LoadOrder, LoadReport } from "./load_generator.ts";

const GENERATOR = fileURLToPath(new URL("./load_generator.ts", import.meta.url));

/** A request that is sent again and again. */
export interface LoadRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** How hard and how long. */
export interface LoadShape {
  readonly connections: number;
  readonly seconds: number;
}

/** What a process is started with to stay on one core; nothing where there is one core, or no tool. */
export function pinnedTo(core: 0 | 1): readonly string[] {
  return availableParallelism() > 1 && has("taskset") ? ["taskset", "-c", String(core)] : [];
}

/** The same for a server that is to have two cores. */
export function pinnedToTwo(): readonly string[] {
  return availableParallelism() > 1 && has("taskset") ? ["taskset", "-c", "0,1"] : [];
}

/** What a generator is started with whose server has that many cores; `[]`: where it likes. */
function besides(cores: 1 | 2): readonly string[] {
  if (cores === 1) return pinnedTo(1);
  return availableParallelism() > 2 && has("taskset") ? ["taskset", "-c", "2"] : [];
}

/** The generator's name, for the header. */
export function generatorName(small: boolean): string {
  if (!usesWrk(small)) return "the built-in one";
  return polling(1).length > 0 ? "wrk, one thread that polls" : "wrk, one thread";
}

/** What wrk is started with so that its thread never sleeps, where it has a core of its own. */
function polling(cores: 1 | 2): readonly string[] {
  return besides(cores).length > 0 && has("cc")
    ? ["env", `LD_PRELOAD=${sharedLibrary("polling")}`]
    : [];
}

function usesWrk(small: boolean): boolean {
  return !small && has("wrk");
}

const found = new Map<string, boolean>();

function has(program: string): boolean {
  let there = found.get(program);
  if (there === undefined) {
    try {
      execFileSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" });
      there = true;
    } catch {
      there = false;
    }
    found.set(program, there);
  }
  return there;
}

/**
 * Requests answered a second.
 * @param cores How many the server has.
 * Throws when an answer had another status than 200.
 */
export async function requestsPerSecond(
  url: string,
  request: LoadRequest,
  shape: LoadShape,
  small: boolean,
  cores: 1 | 2 = 1,
): Promise<number> {
  const generate = usesWrk(small) ? byWrk : byOwn;
  return await generate(url, request, shape, cores);
}

type Generate = (
  url: string,
  request: LoadRequest,
  shape: LoadShape,
  cores: 1 | 2,
) => Promise<number>;

const byOwn: Generate = async (url, request, shape, cores) => {
  const { hostname, port, host } = new URL(url);
  const order: LoadOrder = {
    host: hostname,
    port: Number(port),
    request: wireText(host, request),
    ...shape,
  };
  const command = [
    ...besides(cores),
    ...runScript(currentRuntime, GENERATOR),
    JSON.stringify(order),
  ];
  const report = JSON.parse(await outputOf(command)) as LoadReport;
  if (report.failed > 0) throw new Error(`${report.failed} of ${report.requests} answers failed`);
  return report.requests / report.seconds;
};

function wireText(host: string, request: LoadRequest): string {
  const body = request.body ?? "";
  const fields = { host, ...request.headers, "content-length": String(body.length) };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`);
  return [`${request.method} ${request.path} HTTP/1.1`, ...lines, "", body].join("\r\n");
}

const byWrk: Generate = async (url, request, shape, cores) => {
  const folder = mkdtempSync(join(tmpdir(), "atoll-wrk-"));
  try {
    const script = join(folder, "request.lua");
    writeFileSync(script, luaText(request));
    const text = await outputOf([
      ...polling(cores),
      ...besides(cores),
      ...["wrk", "-t1", `-c${shape.connections}`, `-d${shape.seconds}s`, "-s", script],
      url + request.path,
    ]);
    const failed = /Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1];
    if (failed !== undefined) throw new Error(`${failed} answers failed`);
    const value = /Requests\/sec:\s+([\d.]+)/.exec(text)?.[1];
    if (value === undefined) throw new Error(`wrk printed no result:\n${text}`);
    return Number(value);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

function luaText(request: LoadRequest): string {
  const fields = Object.entries(request.headers).map(([name, value]) =>
    `wrk.headers[${JSON.stringify(name)}] = ${JSON.stringify(value)}`
  );
  const body = request.body === undefined ? [] : [`wrk.body = [==[${request.body}]==]`];
  return [`wrk.method = "${request.method}"`, ...fields, ...body].join("\n");
}

async function outputOf(command: readonly string[]): Promise<string> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (chunk) => text += String(chunk));
  const [status] = await once(child, "close") as [number | null];
  if (status !== 0) throw new Error(`${program} ended with ${status}`);
  return text;
}

/** A peer's process. */
export interface PeerProcess {
  readonly url: string;
  stop(): Promise<void>;
}

/** Starts a peer on the servers' core and waits for the line that names its URL. */
export async function startPeer(
  command: readonly string[],
  ready: RegExp = /listening on (http:\/\/\S+)/,
): Promise<PeerProcess> {
  const [program = "", ...args] = [...pinnedTo(0), ...command];
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: serverEnvironment(),
  });
  let text = "";
  const url = await new Promise<string>((resolve, reject) => {
    const take = (chunk: Uint8Array) => {
      text += String(chunk);
      // A chunk may end in the middle of the address.
      const match = ready.exec(text.slice(0, text.lastIndexOf("\n") + 1));
      if (match !== null) resolve((match[1] ?? "").replace(/\/$/, ""));
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.on("error", reject);
    child.on("exit", (status) => reject(new Error(`${program} ended with ${status}:\n${text}`)));
  });
  return { url, stop: () => stop(child) };
}

/** With it wasmtime captures a backtrace for each dropped store: unset for everybody. */
export function serverEnvironment(): Record<string, string> {
  const entries = Object.entries(process.env).filter((entry): entry is [string, string] =>
    entry[1] !== undefined && entry[0] !== "RUST_BACKTRACE"
  );
  return Object.fromEntries(entries);
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}
