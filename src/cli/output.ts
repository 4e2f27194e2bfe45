/**
 * What commands print: results on standard output, everything else on standard error.
 *
 * Owns: exit statuses and the shape of messages at the terminal. Must not know commands.
 */
import process from "node:process";
import { type AtollError, toAtollError } from "../core/errors.ts";
import { deniedByDeno } from "../core/refusal.ts";
import { printable } from "../telemetry/log.ts";
import { UsageError } from "./args.ts";

/** Exit statuses of every command. */
export const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

/** Where a command prints; tests give their own. */
export interface Output {
  out(text: string): void;
  err(text: string): void;
}

export const terminal: Output = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
};

/** `atoll inspect FILE | head` closes the pipe early; that is no error of this process. */
export function tolerateClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
}

/** Waits until both streams have given all to the system, so that an exit cuts nothing off. */
export async function flush(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise<void>((resolve) => stream.write("", () => resolve()));
  }
}

/** What to do about an error, one line, or null where the message says it all. */
function hintOf(error: AtollError): string | null {
  switch (error.code) {
    case "address_in_use":
      return "take another port with --port N, or 0 for any that is free";
    case "unsupported":
      return "`atoll doctor` shows what this machine lacks";
    case "limit":
      return error.data.key === undefined
        ? null
        : `the limit is ${error.data.key} in atoll.json or the plugin's plugin.json`;
    case "denied":
      return "`atoll doctor` shows which permissions are missing; `deno run -A` grants all";
    case "internal":
      return "this is a fault of Atoll; please report it with the lines above";
    default:
      return null;
  }
}

/**
 * Prints an error for a person, and for a program too where `json` asks for it.
 * @returns the exit status
 */
export function reportError(thrown: unknown, output: Output, json: boolean): number {
  if (thrown instanceof UsageError) {
    if (json) {
      output.out(`${JSON.stringify({ error: { code: "usage", message: thrown.message } })}\n`);
    }
    output.err(`atoll: ${printable(thrown.message)}\n`);
    const topic = thrown.command === null ? "" : ` ${thrown.command}`;
    output.err(`  hint: \`atoll help${topic}\` shows what can be given\n`);
    return EXIT.usage;
  }
  const error = deniedByDeno(thrown) ?? toAtollError(thrown);
  if (json) output.out(`${JSON.stringify({ error })}\n`);
  // Lines of a failed build are kept as lines; all else in them is made harmless.
  const lines = error.message.split("\n").map(printable);
  const label = error.code === "internal" ? "internal error: " : "";
  output.err(`atoll: ${label}${lines.join("\n")}\n`);
  const origin = error.cause instanceof Error ? error.cause : error;
  if (error.code === "internal") output.err(`${origin.stack ?? String(origin)}\n`);
  const hint = hintOf(error);
  if (hint !== null) output.err(`  hint: ${printable(hint)}\n`);
  return error.code === "config" ? EXIT.usage : EXIT.failed;
}
