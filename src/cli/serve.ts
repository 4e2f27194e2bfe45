/**
 * `atoll serve`: runs the server until a signal, or the end of standard input with `--stdio`.
 *
 * Owns: signals and the exit status. What is served is the work of `src/server`.
 */
import { resolve } from "node:path";
import process from "node:process";
import { Learning } from "../server/learning.ts";
import { startServer } from "../server/server.ts";
import { UsageError } from "./args.ts";
import { EXIT } from "./output.ts";
import type { CommandContext } from "./run.ts";
import { settingsOf } from "./settings.ts";

/** Status of a shell for a process that a signal ended: 128 and the signal's number. */
const ENDED_BY = { SIGINT: 130, SIGTERM: 143 } as const;
/** Task runners pass on what the terminal has already sent: the same signal twice at once is one. */
const REPEAT_MS = 1_000;

/** @throws UsageError; AtollError config, address_in_use */
export async function serve(context: CommandContext): Promise<number> {
  const { config, log } = settingsOf(context);
  const stdio = context.flags.has("stdio");
  if (stdio && context.flags.has("workers")) {
    throw new UsageError(
      "Cannot use --workers with --stdio: standard input has one reader",
      "serve",
    );
  }
  const learn = context.flags.text("learn");
  if (learn !== undefined && context.flags.has("workers")) {
    throw new UsageError(
      "Cannot use --workers with --learn: a run that is observed has one worker",
      "serve",
    );
  }
  let askedAt: number | null = null;
  const stopping = new AbortController();
  const onSignal = (signal: keyof typeof ENDED_BY) => {
    // The first signal lets running calls finish; a second one is impatience.
    const now = performance.now();
    if (askedAt !== null && now - askedAt > REPEAT_MS) process.exit(ENDED_BY[signal]);
    if (askedAt !== null) return;
    askedAt = now;
    log.info(`stopping on ${signal}`);
    stopping.abort();
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => onSignal(signal));

  const server = await startServer({
    config: learn === undefined ? config : { ...config, http: { ...config.http, workers: 1 } },
    log,
    stdio,
    learning: learn === undefined ? undefined : new Learning(resolve(context.cwd, learn), log),
    signal: stopping.signal,
  });
  await server.finished;
  return EXIT.ok;
}
