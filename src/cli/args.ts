/**
 * The command line as values.
 *
 * Owns: which arguments are accepted, and what is said about others, with the nearest right name.
 * Must not know what commands do.
 */
import { parseArgs } from "node:util";
import { nearest } from "../core/nearest.ts";
import { COMMANDS, type CommandSpec, type FlagSpec } from "./commands.ts";

/** A mistake of the person at the keyboard; ends with status 2 and a hint at help. */
export class UsageError extends Error {
  override readonly name = "UsageError";

  constructor(message: string, readonly command: string | null = null) {
    super(message);
  }
}

export type ParsedArgs =
  | { readonly kind: "version" }
  | { readonly kind: "help"; readonly command: CommandSpec | null }
  | {
    readonly kind: "run";
    readonly command: CommandSpec;
    readonly operands: readonly string[];
    readonly flags: ParsedFlags;
  };

/** Flags by name: text, texts where many are allowed, true where there is no value. */
export class ParsedFlags {
  constructor(readonly values: ReadonlyMap<string, readonly string[] | true>) {}

  has(name: string): boolean {
    return this.values.has(name);
  }

  /** The last one wins, so that an alias can be overridden. */
  text(name: string): string | undefined {
    const value = this.values.get(name);
    return value === undefined || value === true ? undefined : value[value.length - 1];
  }

  texts(name: string): readonly string[] | undefined {
    const value = this.values.get(name);
    return value === undefined || value === true ? undefined : value;
  }
}

/** @throws UsageError */
export function parseCommandLine(args: readonly string[]): ParsedArgs {
  const [first, ...rest] = args;
  if (first === undefined || first === "--help" || first === "-h") {
    return { kind: "help", command: null };
  }
  if (first === "--version" || first === "-V") return { kind: "version" };
  if (first.startsWith("-")) {
    throw new UsageError(`Cannot understand "${first}": a command comes first${suggest(first)}`);
  }
  const command = commandNamed(first);
  const beforeOperands = rest.includes("--") ? rest.slice(0, rest.indexOf("--")) : rest;
  if (beforeOperands.some((word) => word === "--help" || word === "-h")) {
    return { kind: "help", command };
  }
  const { operands, flags } = parseRest(command, rest);
  if (command.name === "help") {
    const topic = operands[0];
    return { kind: "help", command: topic === undefined ? null : commandNamed(topic) };
  }
  return { kind: "run", command, operands, flags };
}

function commandNamed(name: string): CommandSpec {
  const command = COMMANDS.find((known) => known.name === name);
  if (command !== undefined) return command;
  const names = COMMANDS.map((known) => known.name);
  const near = nearest(name, names);
  throw new UsageError(
    `Cannot understand "${name}": unknown command; ` +
      (near === null ? `known are ${names.join(", ")}` : `did you mean ${near}?`),
  );
}

/** A flag in the place of a command: `atoll --port 1` wants `atoll serve --port 1`. */
function suggest(flag: string): string {
  const name = flag.replace(/^--?/, "").split("=")[0] ?? "";
  const owner = COMMANDS.find((command) => command.flags.some((known) => known.name === name));
  return owner === undefined ? "" : `, as in \`atoll ${owner.name} ${flag}\``;
}

function parseRest(
  command: CommandSpec,
  args: readonly string[],
): { operands: string[]; flags: ParsedFlags } {
  const options = Object.fromEntries(command.flags.map((flag) => [
    flag.name,
    { type: flag.value === undefined ? "boolean" as const : "string" as const, multiple: true },
  ]));
  const { tokens } = parseArgs({
    args: joinValues(command, args),
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const operands: string[] = [];
  const values = new Map<string, string[] | true>();
  for (const token of tokens) {
    if (token.kind === "positional") operands.push(token.value);
    if (token.kind !== "option") continue;
    const flag = flagNamed(command, token.rawName);
    if (flag.value === undefined) {
      if (token.value !== undefined) {
        throw new UsageError(`Cannot use --${flag.name}: it takes no value`, command.name);
      }
      values.set(flag.name, true);
      continue;
    }
    if (token.value === undefined || token.value === "") {
      throw new UsageError(`Cannot use --${flag.name}: ${flag.value} is missing`, command.name);
    }
    const before = values.get(flag.name);
    values.set(flag.name, [
      ...(before === undefined || before === true ? [] : before),
      token.value,
    ]);
  }
  checkOperands(command, operands);
  return { operands, flags: new ParsedFlags(values) };
}

/**
 * `--flag value` as `--flag=value`. `parseArgs` would do so too, but takes a following flag for the
 * value (`--host --port 1`), while a value that begins with a hyphen is to be written with `=`.
 */
function joinValues(command: CommandSpec, args: readonly string[]): string[] {
  const joined: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const word = args[index] ?? "";
    if (word === "--") return [...joined, ...args.slice(index)];
    const flag = command.flags.find((known) => `--${known.name}` === word);
    const next = args[index + 1];
    if (flag?.value === undefined) joined.push(word);
    else if (next === undefined || next.startsWith("--")) joined.push(`${word}=`);
    else {
      joined.push(`${word}=${next}`);
      index++;
    }
  }
  return joined;
}

function flagNamed(command: CommandSpec, raw: string): FlagSpec {
  const flag = command.flags.find((known) => `--${known.name}` === raw);
  if (flag !== undefined) return flag;
  const near = nearest(raw.replace(/^-+/, ""), command.flags.map((known) => known.name));
  throw new UsageError(
    `Cannot understand "${raw}": unknown flag of \`atoll ${command.name}\`` +
      (near === null ? "" : `; did you mean --${near}?`),
    command.name,
  );
}

function checkOperands(command: CommandSpec, operands: readonly string[]): void {
  const required = command.operands.filter((name) => !name.endsWith("?"));
  const missing = required[operands.length];
  if (missing !== undefined) {
    throw new UsageError(
      `Cannot run \`atoll ${command.name}\`: ${missing} is missing`,
      command.name,
    );
  }
  const extra = operands[command.operands.length];
  if (extra !== undefined) {
    throw new UsageError(`Cannot understand "${extra}": one argument too many`, command.name);
  }
}
