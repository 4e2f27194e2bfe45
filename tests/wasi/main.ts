/**
 * Command: programs of the public wasi-testsuite on the native engine.
 * Usage: `deno run -A tests/wasi/main.ts SUITE [PATTERN]`, SUITE a checkout of the branch
 * `prod/testsuite-base` of WebAssembly/wasi-testsuite, which has the programs built.
 *
 * Owns: how a program's specification becomes a component's grants, and what its end is compared
 * with. Programs for WASI's first preview become components of WASI 0.2, those for 0.3 are ones.
 * Nothing of the suite is kept. `docs/engines.md` has the results.
 */
import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { buildNative, findNative } from "../../native/build/build.ts";
import { cacheFolder } from "../../native/build/cache.ts";
import { componentizer } from "../../native/build/componentizer.ts";
import type { EngineGrants } from "../../src/core/grants.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { openNativeSandbox } from "../../src/sandbox/native.ts";
import type { Fields, LoadedComponent, Sandbox } from "../../src/sandbox/sandbox.ts";
import { run } from "../fixtures/toolchain.ts";

/** `doc/specification.md` of the suite; the older form has a run's keys at the top. */
interface Specification extends Operation {
  readonly world?: string;
  readonly proposals?: readonly string[];
  /** Peers of a program that sends requests. */
  readonly servers?: readonly unknown[];
  readonly operations?: readonly Operation[];
}

interface Operation {
  readonly type?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly root?: string | null;
  readonly exit_code?: number;
  readonly stdout?: string;
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly response?: {
    readonly status: number;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: string;
  };
}

interface Program {
  /** `c/lseek`. */
  readonly name: string;
  readonly wasm: string;
  readonly folder: string;
  readonly preview: "wasip1" | "wasip3";
  readonly specification: Specification;
}

async function programs(suite: string, pattern: RegExp): Promise<Program[]> {
  const found: Program[] = [];
  for (const language of ["assemblyscript", "c", "rust"]) {
    for (const preview of ["wasip1", "wasip3"] as const) {
      const folder = join(suite, "tests", language, "testsuite", `wasm32-${preview}`);
      const files = await readdir(folder).catch(() => []);
      for (const file of files.filter((each) => each.endsWith(".wasm")).sort()) {
        const base = file.slice(0, -".wasm".length);
        const name = `${preview} ${language}/${base}`;
        if (!pattern.test(name)) continue;
        const text = await readFile(join(folder, `${base}.json`), "utf8").catch(() => "{}");
        const specification = JSON.parse(text) as Specification;
        found.push({ name, wasm: join(folder, file), folder, preview, specification });
      }
    }
  }
  return found;
}

const DONE_HERE = new Set(["run", "wait", "request", "kill"]);

/** What a program needs that is not given to it here, or null. */
function lacks({ specification }: Program): string | null {
  if (specification.servers !== undefined) return "it needs servers beside it";
  const other = specification.operations?.find(({ type = "" }) => !DONE_HERE.has(type));
  return other === undefined ? null : `it needs a peer that does "${other.type}"`;
}

/** A command is no plugin, and its `run` no tool: another owner's interface is. */
function withOwner(component: Uint8Array): Uint8Array {
  const [from, to] = ["wasi:cli/run@", "suit:cli/run@"].map((name) => [...name].map(codeOf));
  for (let at = component.indexOf(from![0]!); at !== -1;) {
    if (from!.every((byte, i) => component[at + i] === byte)) component.set(to!, at);
    at = component.indexOf(from![0]!, at + 1);
  }
  return component;
}

function codeOf(letter: string): number {
  return letter.charCodeAt(0);
}

/** The component of a program, in a folder that is gone afterwards. */
async function componentOf({ wasm, preview }: Program, scratch: string): Promise<Uint8Array> {
  if (preview === "wasip3") return withOwner(new Uint8Array(await readFile(wasm)));
  const output = join(scratch, "component.wasm");
  await run([await componentizer(), "command", wasm, output], scratch);
  return withOwner(new Uint8Array(await readFile(output)));
}

const LOOPBACK = ["127.0.0.0/8", "::1/128"].flatMap((host) =>
  [false, true].map((listen) => ({ host, port: [0, 65_535], listen }))
);

async function grantsOf(program: Program, scratch: string): Promise<Partial<EngineGrants>> {
  const { specification, folder } = program;
  const started = specification.operations?.find(({ type }) => type === "run") ?? specification;
  const grants: { -readonly [Name in keyof EngineGrants]?: EngineGrants[Name] } = {
    env: started.env ?? {},
  };
  const root = started.root ?? specification.root;
  if (typeof root === "string") {
    const path = join(scratch, "root");
    await cp(join(folder, root), path, { recursive: true });
    grants.folders = [{ path, at: "/", write: true }];
  }
  // Without a grant there are no sockets at all, and two programs do not say that they make some.
  if (program.name.includes("/sockets-")) {
    Object.assign(grants, { tcp: LOOPBACK, udp: LOOPBACK });
  }
  return grants;
}

/** What is wrong with how a program ended, or null. */
async function fault(program: Program, sandbox: Sandbox): Promise<string | null> {
  const scratch = await mkdtemp(join(tmpdir(), "atoll-wasi-"));
  const lines = { stdout: "", stderr: "", logging: "" };
  try {
    const component = await sandbox.load({
      id: program.name.split("/").pop()!.replaceAll("_", "-"),
      bytes: await componentOf(program, scratch),
      limits: DEFAULT_LIMITS,
      grants: await grantsOf(program, scratch),
      onLog: ({ stream, text }) => void (lines[stream] += `${text}\n`),
    });
    const check = program.specification.world === undefined ? wrongEnd : wrongAnswer;
    // Lines may come after the end of a call; unloading waits for all of them.
    const wrong = await check(program, component).finally(() => component.unload());
    if (wrong !== null) return `${wrong} ${JSON.stringify(lines.stderr)}`;
    const { stdout } = program.specification;
    if (stdout === undefined || lines.stdout.trimEnd() === stdout.trimEnd()) return null;
    return `it wrote ${JSON.stringify(lines.stdout)}`;
  } catch (error) {
    return (error as Error).message;
  } finally {
    await rm(scratch, { recursive: true });
  }
}

/** Runs a command. */
async function wrongEnd(program: Program, component: LoadedComponent): Promise<string | null> {
  // Those for 0.3 have a start for 0.2 as well, which does nothing but fail.
  const version = program.preview === "wasip3" ? "@0.3." : "@0.2.";
  const index = component.functions.findIndex((each) =>
    each.name === "run" && each.interface?.includes(version)
  );
  let end: string;
  try {
    const { kind } = await component.call(index, "{}");
    end = kind === "ok" ? "status 0" : "status 1";
  } catch (error) {
    const { message } = error as Error;
    end = /exit with (status \d+)/.exec(message)?.[1] ?? message;
  }
  const { specification } = program;
  const wait = specification.operations?.find(({ type }) => type === "wait") ?? specification;
  const wanted = `status ${wait.exit_code ?? 0}`;
  return end === wanted ? null : `${end} instead of ${wanted}`;
}

/** Sends a service the requests that its specification has. */
async function wrongAnswer(
  { specification }: Program,
  component: LoadedComponent,
): Promise<string | null> {
  for (const { type, method = "GET", path = "/", ...rest } of specification.operations ?? []) {
    if (type !== "request") continue;
    const body = rest.body === undefined ? null : new TextEncoder().encode(rest.body);
    const fields = [["host", "localhost"], ...Object.entries(rest.headers ?? {})] as const;
    const url = `http://localhost${path}`;
    const answer = await component.handle({ method, url, fields: fields as Fields, body });
    const { status, headers = {}, body: text } = rest.response ?? { status: 200 };
    const got = await new Response(answer.body as BodyInit | null).text();
    const sent = new Headers(answer.fields.map(([name, value]): [string, string] => [name, value]));
    const unlike = Object.entries(headers).filter(([name, value]) => sent.get(name) !== value);
    if (answer.status === status && unlike.length === 0 && (text ?? got) === got) continue;
    return `${method} ${path}: ${answer.status} ${JSON.stringify([...sent])} ${got}`;
  }
  return null;
}

async function main(suite: string, pattern = "."): Promise<boolean> {
  const all = await programs(suite, new RegExp(pattern));
  const libraries = await findNative() ?? await buildNative();
  const engine = { instances: 100, workerThreads: 2 };
  const cacheDir = cacheFolder();
  const sandbox = await openNativeSandbox({ libraries, engine, cacheDir });
  const count = { passed: 0, failed: 0, skipped: 0 };
  for (const program of all) {
    const lacking = lacks(program);
    const wrong = lacking ?? await fault(program, sandbox);
    const how = wrong === null ? "passed" : lacking === null ? "failed" : "skipped";
    count[how] += 1;
    console.log(`${how} ${program.name}${wrong === null ? "" : `: ${wrong}`}`);
  }
  await sandbox.close();
  console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
  return count.failed === 0 && count.passed > 0;
}

const [suite, pattern] = process.argv.slice(2);
if (suite === undefined) {
  console.error("usage: deno run -A tests/wasi/main.ts SUITE [PATTERN]");
  process.exitCode = 2;
} else {
  process.exitCode = await main(suite, pattern) ? 0 : 1;
}
