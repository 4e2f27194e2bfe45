/**
 * What a client is told of its call before the result: log lines and progress.
 *
 * Owns: who asked for what, the text of the notifications, the bound on what waits for a client that
 * does not read. Must not know transports or how a sandbox works.
 * Source: "Logging" and "Progress" of 2026-07-28; RFC 5424 for the levels.
 */
import type { CallFollower, GuestLog, ProgressReport } from "../sandbox/sandbox.ts";
import { redacted } from "../telemetry/redaction.ts";
import { type Fields, isObject } from "./envelope.ts";

/** Least severe first. */
const LEVELS = [
  "debug",
  "info",
  "notice",
  "warning",
  "error",
  "critical",
  "alert",
  "emergency",
] as const;

export type LogLevel = typeof LEVELS[number];

const LOG_LEVEL = "io.modelcontextprotocol/logLevel";

/** A guest's levels in the protocol's words. */
const LEVEL_OF: Readonly<Record<GuestLog["level"], LogLevel>> = {
  trace: "debug",
  debug: "debug",
  info: "info",
  warn: "warning",
  error: "error",
  critical: "critical",
};

/** The way of notifications to the client of one request. */
export interface Notifier {
  /** Sends a notification in front of the answer. */
  send(text: string): void;
  /** UTF-16 units of notifications that were sent and not taken by the client so far. */
  readonly waiting: number;
}

/** Whether a value is the name of a level. */
export function isLogLevel(value: unknown): value is LogLevel {
  return (LEVELS as readonly unknown[]).includes(value);
}

/** The level that a request of 2026-07-28 asks for; null: none. Anything else is a wrong one. */
export function requestedLogLevel(params: Fields): LogLevel | null | { readonly wrong: unknown } {
  const level = isObject(params._meta) ? params._meta[LOG_LEVEL] : undefined;
  if (level === undefined) return null;
  return isLogLevel(level) ? level : { wrong: level };
}

/** The token a client gives to be told of progress; null: it did not, or it is none. */
export function progressToken(params: Fields): string | number | null {
  const token = isObject(params._meta) ? params._meta.progressToken : undefined;
  return typeof token === "string" || Number.isSafeInteger(token) ? token as string | number : null;
}

/** What somebody asks to be told of a call. */
export interface Wishes {
  /** Lines of this level and above; null: none. */
  readonly level: LogLevel | null;
  readonly token: string | number | null;
}

/**
 * Follows a call for a client. A client that does not read gets no more than what it asked for in
 * time: beyond `unitsMax` that wait, lines are dropped and counted, and the result is not held up.
 */
export class CallNotifications implements CallFollower {
  readonly #notifier: Notifier;
  readonly #wishes: Wishes;
  readonly #logger: string;
  readonly #unitsMax: number;
  #lost = 0;
  #over = false;

  /** @param logger Whose lines they are: the plugin's id. */
  constructor(notifier: Notifier, wishes: Wishes, logger: string, unitsMax: number) {
    this.#notifier = notifier;
    this.#wishes = wishes;
    this.#logger = logger;
    this.#unitsMax = unitsMax;
  }

  log(line: GuestLog): void {
    this.#lost += line.lost;
    const { context, level, text } = line;
    const logger = context === undefined ? this.#logger : `${this.#logger}/${context}`;
    this.#message(LEVEL_OF[level], redacted(text), logger);
  }

  progress({ progress, total, message }: ProgressReport): void {
    const { token } = this.#wishes;
    if (token === null) return;
    const shown = message === undefined ? {} : { message: redacted(message) };
    const params = { progressToken: token, progress, total, ...shown };
    this.#send(`"method":"notifications/progress","params":${JSON.stringify(params)}`);
  }

  /** The call has ended: nothing may follow but its result. */
  end(): void {
    if (this.#lost > 0) this.#message("warning", "");
    this.#over = true;
  }

  #message(level: LogLevel, text: string, logger = this.#logger): void {
    const { level: wanted } = this.#wishes;
    if (wanted === null || LEVELS.indexOf(level) < LEVELS.indexOf(wanted)) return;
    const lost = this.#lost;
    this.#lost = 0;
    const data = lost === 0 ? text : { lost, text };
    const params = JSON.stringify({ level, logger, data });
    if (!this.#send(`"method":"notifications/message","params":${params}`)) this.#lost = lost + 1;
  }

  #send(members: string): boolean {
    if (this.#over) return true;
    const text = `{"jsonrpc":"2.0",${members}}`;
    if (this.#notifier.waiting + text.length > this.#unitsMax) return false;
    this.#notifier.send(text);
    return true;
  }
}
