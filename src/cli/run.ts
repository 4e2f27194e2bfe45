/**
 * Runs one command line. Each command is imported when it is asked for, so that `--version` loads
 * nothing and `serve` no bundler.
 */
import process from "node:process";
import { knownNames } from "../config/environment.ts";
import { configSchema } from "../config/schema.ts";
import { ATOLL_VERSION } from "../core/version.ts";
import { currentRuntime } from "../core/runtime.ts";
import { parseCommandLine, type ParsedArgs, type ParsedFlags } from "./args.ts";
import { helpText } from "./help.ts";
import { EXIT, type Output, reportError, terminal } from "./output.ts";

/** What a command is given. */
export interface CommandContext {
  readonly operands: readonly string[];
  readonly flags: ParsedFlags;
  readonly output: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
}

/** Runs to the end and gives the exit status; never throws. */
export async function runCommandLine(
  args: readonly string[],
  output: Output = terminal,
): Promise<number> {
  let json = false;
  try {
    const parsed = parseCommandLine(args);
    if (parsed.kind === "version") {
      const { name, version } = currentRuntime();
      output.out(`atoll ${ATOLL_VERSION} (${name} ${version})\n`);
      return EXIT.ok;
    }
    if (parsed.kind === "help") {
      output.out(helpText(parsed.command));
      return EXIT.ok;
    }
    json = parsed.flags.has("json");
    return await runCommand(parsed, output);
  } catch (thrown) {
    return reportError(thrown, output, json);
  }
}

async function runCommand(
  parsed: Extract<ParsedArgs, { kind: "run" }>,
  output: Output,
): Promise<number> {
  const context: CommandContext = {
    operands: parsed.operands,
    flags: parsed.flags,
    output,
    environment: readEnvironmentVariables(),
    cwd: process.cwd(),
  };
  switch (parsed.command.name) {
    case "serve":
      return (await import("./serve.ts")).serve(context);
    case "inspect":
      return (await import("./inspect.ts")).inspect(context);
    case "explain":
      return (await import("./explain.ts")).explain(context);
    case "call":
      return (await import("./call.ts")).call(context);
    case "doctor":
      return (await import("./doctor.ts")).doctor(context);
    default:
      throw new Error(`command ${parsed.command.name} has no implementation`);
  }
}

/** All variables; under Deno with a permission for single ones, those of Atoll that may be read. */
function readEnvironmentVariables(): Record<string, string | undefined> {
  try {
    return { ...process.env };
  } catch {
    const found: Record<string, string | undefined> = {};
    for (const name of ["HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", ...knownNames(configSchema)]) {
      try {
        found[name] = process.env[name];
      } catch {
        // Not granted: as if it were not set.
      }
    }
    return found;
  }
}
