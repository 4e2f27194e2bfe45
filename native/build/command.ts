/**
 * Runs a build command as a child that never outlives this process.
 *
 * Owns: low priority, the child's process group, line-wise output, the end of the group when this
 * process ends or the caller aborts. Must not know what is being built.
 */
import { spawn } from "node:child_process";
import { NativeBuildError } from "./cache.ts";

export interface CommandResult {
  readonly status: number;
  /** The last lines of standard output and standard error, in the order in which they came. */
  readonly tail: readonly string[];
}

export interface CommandOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Each line of standard error and standard output. */
  readonly onLine?: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

const TAIL_LINES = 20;

/** How long after the command's end its output may still come, from a process that left the group. */
const DRAIN_MS = 500;

/**
 * The command runs in the background of a shell that also reads its standard input, a pipe from
 * this process. When the pipe ends, because the caller aborts or because this process is gone for
 * whatever reason, SIGKILL included, the shell ends its whole process group: make or cargo and
 * each compiler below. When the command ends it does the same with what the command left behind.
 */
const GUARD = `
exec 3<&0
"$@" </dev/null 3<&- &
work=$!
( read -r _ <&3; kill -TERM -$$ ) &
watch=$!
wait $work
status=$?
kill $watch 2>/dev/null
trap '' TERM
kill -TERM -$$ 2>/dev/null
exit $status
`;

/**
 * Runs a command to its end.
 * @throws NativeBuildError build: the command could not be started; cancelled: aborted
 */
export function runCommand(
  command: readonly string[],
  options: CommandOptions,
): Promise<CommandResult> {
  const { signal } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(cancelled());
    // A group of its own (detached), so that ending the group does not end this process.
    const child = spawn("sh", ["-c", GUARD, "atoll-build", "nice", "-n", "10", ...command], {
      cwd: options.cwd,
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
      ...(options.env ? { env: options.env } : {}),
    });
    const tail: string[] = [];
    const take = (line: string): void => {
      if (line === "") return;
      tail.push(line);
      if (tail.length > TAIL_LINES) tail.shift();
      options.onLine?.(line);
    };
    const flushOut = splitLines(child.stdout, take);
    const flushErr = splitLines(child.stderr, take);
    const abort = (): void => void child.stdin.end();
    // A child that has ended already closes the pipe first; that is no error of ours.
    child.stdin.on("error", () => {});
    signal?.addEventListener("abort", abort, { once: true });
    child.on("error", (cause) => {
      signal?.removeEventListener("abort", abort);
      reject(
        new NativeBuildError("build", `Cannot run "${command[0]}": ${cause.message}`, { cause }),
      );
    });
    let drain: ReturnType<typeof setTimeout> | undefined;
    let settled = false;
    const settle = (code: number | null): void => {
      if (settled) return;
      settled = true;
      clearTimeout(drain);
      signal?.removeEventListener("abort", abort);
      flushOut();
      flushErr();
      for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe.destroy();
      if (signal?.aborted) reject(cancelled());
      else resolve({ status: code ?? 1, tail });
    };
    // Whoever has left the group may hold the pipes open for as long as it likes.
    child.on("exit", (code) => {
      drain = setTimeout(() => settle(code), DRAIN_MS);
    });
    child.on("close", settle);
  });
}

/** What an aborted build ends with. */
export function cancelled(): NativeBuildError {
  return new NativeBuildError("cancelled", "The build of the native libraries was cancelled");
}

interface TextSource {
  setEncoding(encoding: "utf8"): unknown;
  on(event: "data", listener: (text: string) => void): unknown;
}

/** Calls `take` for each line; the function returned passes on what has no line end. */
function splitLines(source: TextSource, take: (line: string) => void): () => void {
  let rest = "";
  source.setEncoding("utf8");
  source.on("data", (text) => {
    const lines = (rest + text).split(/[\r\n]/);
    rest = lines.pop() ?? "";
    for (const line of lines) take(line);
  });
  return () => {
    take(rest);
    rest = "";
  };
}
