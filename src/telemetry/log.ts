/**
 * Structured log lines on standard error: text for people, or one JSON object a line.
 *
 * Owns: levels, fields, formatting, and that nothing in a line can forge another one or steer a
 * terminal. Must not know who logs. Writing never throws: a broken pipe costs the line only.
 */
import { writeSync } from "node:fs";
import process from "node:process";
import type { LogFormat, LogLevel } from "../config/schema.ts";
import { AtollError } from "../core/errors.ts";
import { redacted } from "./redaction.ts";

/** Facts beside the message. Errors are shown with their code and causes. */
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger whose lines all have these fields too. */
  child(fields: LogFields): Logger;
  /** Whether lines of this level are written: ask before making an expensive message. */
  enabled(level: WrittenLevel): boolean;
  /** Writes whole lines that a logger of another isolate has made. */
  relay(lines: string): void;
}

export type WrittenLevel = Exclude<LogLevel, "silent">;

export interface LogOptions {
  readonly level?: LogLevel;
  readonly format?: LogFormat;
  /** Where lines go; standard error when absent. */
  readonly write?: (text: string) => void;
  /** For tests; else whether standard error is a terminal and `NO_COLOR` is not set. */
  readonly colour?: boolean;
  /** Milliseconds since 1970; `Date.now` when absent. */
  readonly now?: () => number;
}

const RANK: Record<LogLevel, number> = { debug: 10, info: 20, warn: 30, error: 40, silent: 99 };

/** A logger as the configuration describes it. */
export function createLogger(options: LogOptions = {}): Logger {
  const format = options.format ?? "auto";
  const colour = options.colour ?? (format === "auto" && terminalColours());
  const sink: Sink = {
    rank: RANK[options.level ?? "info"],
    write: options.write ?? writeStderr,
    now: options.now ?? Date.now,
    line: format === "json" ? jsonLine : colour ? colouredLine : textLine,
  };
  return new LineLogger(sink, {});
}

interface Sink {
  readonly rank: number;
  readonly write: (text: string) => void;
  readonly now: () => number;
  readonly line: (level: WrittenLevel, message: string, fields: LogFields, at: number) => string;
}

class LineLogger implements Logger {
  constructor(readonly sink: Sink, readonly fields: LogFields) {}

  debug(message: string, fields?: LogFields): void {
    this.#log("debug", message, fields);
  }
  info(message: string, fields?: LogFields): void {
    this.#log("info", message, fields);
  }
  warn(message: string, fields?: LogFields): void {
    this.#log("warn", message, fields);
  }
  error(message: string, fields?: LogFields): void {
    this.#log("error", message, fields);
  }
  child(fields: LogFields): Logger {
    return new LineLogger(this.sink, { ...this.fields, ...fields });
  }
  enabled(level: WrittenLevel): boolean {
    return RANK[level] >= this.sink.rank;
  }

  relay(lines: string): void {
    try {
      // The other isolate may hear of a secret later than its guests do.
      this.sink.write(redacted(lines));
    } catch {
      // As with lines of this isolate: what cannot be written must not end anything.
    }
  }

  #log(level: WrittenLevel, message: string, fields: LogFields | undefined): void {
    if (RANK[level] < this.sink.rank) return;
    try {
      const all = fields === undefined ? this.fields : { ...this.fields, ...fields };
      this.sink.write(redacted(this.sink.line(level, message, all, this.sink.now())) + "\n");
    } catch {
      // A line that cannot be written, or a field whose getter throws, must not end a request.
    }
  }
}

function jsonLine(level: WrittenLevel, message: string, fields: LogFields, at: number): string {
  const shown: Record<string, unknown> = {
    time: new Date(at).toISOString(),
    level,
    message,
  };
  for (const [key, value] of Object.entries(fields)) {
    // The line's own keys are not to be overwritten by a field.
    shown[Object.hasOwn(shown, key) ? `${key}_` : key] = plain(value, 0);
  }
  return JSON.stringify(shown);
}

function textLine(level: WrittenLevel, message: string, fields: LogFields): string {
  const label = level === "info" ? "" : level === "warn" ? "warning: " : `${level}: `;
  return `atoll: ${label}${printable(message)}${fieldText(fields)}`;
}

const COLOURS: Record<WrittenLevel, string> = {
  debug: "\x1b[2m",
  info: "",
  warn: "\x1b[33m",
  error: "\x1b[31m",
};

function colouredLine(level: WrittenLevel, message: string, fields: LogFields): string {
  const label = level === "info" ? "" : level === "warn" ? "warning: " : `${level}: `;
  const start = COLOURS[level];
  const rest = fieldText(fields);
  return `\x1b[2matoll:\x1b[0m ${start}${label}\x1b[0m${printable(message)}` +
    (rest === "" ? "" : `\x1b[2m${rest}\x1b[0m`);
}

function fieldText(fields: LogFields): string {
  let text = "";
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const safe = plain(value, 0);
    const shown = typeof safe === "string" && /^[\w./:@+-]+$/.test(safe)
      ? safe
      : JSON.stringify(safe);
    text += ` ${printable(key)}=${printable(shown)}`;
  }
  return text;
}

/**
 * Control characters, line ends and bidirectional overrides as escapes: a guest's text must
 * neither start a line of its own nor steer the terminal.
 */
export function printable(text: string): string {
  // deno-lint-ignore no-control-regex -- these are what is looked for
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (char) => {
    const code = char.charCodeAt(0);
    if (char === "\n") return "\\n";
    if (char === "\t") return "\\t";
    return code < 256
      ? `\\x${code.toString(16).padStart(2, "0")}`
      : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

const DEEPEST = 5;

/** A value that `JSON.stringify` shows well: errors with their causes, big integers as text. */
function plain(value: unknown, depth: number): unknown {
  if (typeof value === "bigint") return String(value);
  if (typeof value === "function" || typeof value === "symbol") return String(value);
  if (typeof value !== "object" || value === null) return value;
  if (depth > DEEPEST) return "…";
  if (value instanceof Error) return plainError(value, depth);
  if (value instanceof Date) return value.toJSON();
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`;
  if (Array.isArray(value)) return value.map((item) => plain(item, depth + 1));
  const shown: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) shown[key] = plain(inner, depth + 1);
  return shown;
}

function plainError(error: Error, depth: number): Record<string, unknown> {
  const shown: Record<string, unknown> = error instanceof AtollError
    ? error.toJSON()
    : { name: error.name, message: error.message };
  // An internal error is a bug: its place is what one needs to know.
  if (!(error instanceof AtollError) || error.code === "internal") shown["stack"] = error.stack;
  if (error.cause !== undefined) shown["cause"] = plain(error.cause, depth + 1);
  return shown;
}

/** Whether lines on standard error are coloured unless the configuration says otherwise. */
export function terminalColours(): boolean {
  try {
    const environment = process.env;
    // https://no-color.org: present and not empty, whatever its value.
    if ((environment["NO_COLOR"] ?? "") !== "" || environment["TERM"] === "dumb") return false;
    return process.stderr.isTTY === true;
  } catch {
    // Deno, and these variables may not be read.
    return false;
  }
}

function writeStderr(text: string): void {
  const bytes = new TextEncoder().encode(text);
  let written = 0;
  // A pipe may take less than all; a full one that does not block answers EAGAIN, and the rest
  // of the line is handed to the runtime's own queue.
  while (written < bytes.length) {
    try {
      written += writeSync(2, bytes, written);
    } catch (thrown) {
      if ((thrown as { code?: string }).code !== "EAGAIN") return;
      process.stderr.write(bytes.subarray(written));
      return;
    }
  }
}
