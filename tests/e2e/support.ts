/**
 * The real server as a child process, under either runtime, over HTTP or standard input and output.
 *
 * Owns: starting, waiting for its ready line, stopping. Must not know what the tests ask it.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { environmentWithoutAtoll } from "../cli/child.ts";
import { currentRuntime, runScript, type RuntimeName } from "../runtimes.ts";

/** The repository's root. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const MAIN = join(ROOT, "src", "main.ts");

export interface ServeOptions {
  /** Absent: the runtime of the test. */
  readonly runtime?: RuntimeName;
  /** Plugin folders or components. */
  readonly plugins: readonly string[];
  /** Further arguments of `serve`. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Tools that must be there before the server counts as started. */
  readonly tools?: readonly string[];
  /** Routes of plugins that must be there before. */
  readonly routes?: readonly string[];
  /** What the command is started by, as `taskset -c 0`. */
  readonly prefix?: readonly string[];
  /** Variables that the server must not see. */
  readonly omit?: readonly string[];
}

/** The command line of `atoll serve`, program first. */
export function serveCommand(options: ServeOptions): readonly string[] {
  const plugins = options.plugins.flatMap((path) => ["--plugins", path]);
  return [
    ...(options.prefix ?? []),
    ...runScript(options.runtime ?? currentRuntime, MAIN),
    "serve",
    ...plugins,
    ...(options.args ?? []),
  ];
}

/** The environment of a server: this one, without what would set its configuration. */
export function serveEnvironment(
  options: Pick<ServeOptions, "env" | "omit">,
): Record<string, string> {
  return { ...environmentWithoutAtoll(options.omit), NO_COLOR: "1", ...options.env };
}

/** A server that listens. */
export interface ServerProcess {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly child: ChildProcessWithoutNullStreams;
  /** Everything it wrote to standard error so far. */
  stderr(): string;
  /** Everything it wrote to standard output so far. */
  stdout(): string;
  /** Ends it with a signal; resolves to its exit status, or null when the signal ended it. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** Starts a server on a free port and waits until it serves the tools that are asked for. */
export async function startServer(options: ServeOptions): Promise<ServerProcess> {
  const [program = "", ...args] = serveCommand({
    ...options,
    args: ["--host", "127.0.0.1", "--port", "0", ...(options.args ?? [])],
  });
  const child = spawn(program, args, { cwd: ROOT, env: serveEnvironment(options) });
  let stderr = "";
  let stdout = "";
  child.stdout.on("data", (chunk) => stdout += String(chunk));
  const url = await new Promise<string>((resolve, reject) => {
    child.stderr.on("data", (chunk) => {
      stderr += String(chunk);
      const found = /atoll: listening on (http:\/\/\S+)/.exec(stderr);
      if (found?.[1] !== undefined) resolve(found[1]);
    });
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`server ended with ${code}:\n${stderr}`)));
  });
  const server: ServerProcess = {
    url,
    child,
    stderr: () => stderr,
    stdout: () => stdout,
    stop: async (signal = "SIGTERM") => {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
      const exited = once(child, "exit");
      // Deno reports a child that `child.kill` was called on as ended by that signal, whatever its
      // exit status was.
      if (child.pid !== undefined) process.kill(child.pid, signal);
      const [code] = await exited as [number | null];
      return code;
    },
  };
  try {
    await waitForPlugins(server, options.tools ?? [], options.routes ?? []);
  } catch (error) {
    await server.stop("SIGKILL");
    throw error;
  }
  return server;
}

/** Runs a test against a server and ends the server, whatever the test does. */
export async function withServer(
  options: ServeOptions,
  body: (server: ServerProcess) => Promise<void>,
): Promise<void> {
  const server = await startServer(options);
  try {
    await body(server);
  } finally {
    await server.stop();
  }
}

/** A plugin that has to be built first appears after the ready line. */
async function waitForPlugins(
  server: ServerProcess,
  tools: readonly string[],
  routes: readonly string[],
): Promise<void> {
  while (true) {
    const { plugins, failed } = await readiness(server.url);
    const listed = tools.length === 0 ? [] : await listTools(server.url);
    const served = plugins.map((plugin) => plugin.http);
    const complete = tools.every((name) => listed.includes(name)) &&
      routes.every((route) => served.includes(route));
    if (complete) return;
    if (failed.length > 0) throw new Error(`${JSON.stringify(failed)}\n${server.stderr()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

interface Readiness {
  readonly plugins: readonly { readonly http: string | null }[];
  readonly failed: readonly unknown[];
}

async function readiness(url: string): Promise<Readiness> {
  const response = await fetch(`${url}/health/ready`);
  return await response.json() as Readiness;
}

async function listTools(url: string): Promise<readonly string[]> {
  const response = await fetch(`${url}/mcp`, {
    method: "POST",
    headers: { "content-type": "application/json", "mcp-protocol-version": "2025-11-25" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" }),
  });
  const { result } = await response.json() as { result: { tools: { name: string }[] } };
  return result.tools.map((tool) => tool.name);
}
