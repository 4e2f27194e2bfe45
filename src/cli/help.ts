/** The text of `atoll help`. */
import { COMMANDS, type CommandSpec } from "./commands.ts";

/** Help on one command, or the overview. */
export function helpText(command: CommandSpec | null): string {
  return command === null ? overview() : explain(command);
}

/** The line after `Usage:`. */
export function usageLine(command: CommandSpec): string {
  const operands = command.operands.map((name) =>
    name.endsWith("?") ? `[${name.slice(0, -1)}]` : name
  );
  const flags = command.flags.length === 0 ? [] : ["[FLAGS]"];
  return ["atoll", command.name, ...operands, ...flags].join(" ");
}

function overview(): string {
  const rows = COMMANDS.map((command): [string, string] => [
    [command.name, ...command.operands.map((name) => name.replace(/^(.*)\?$/, "[$1]"))].join(" "),
    command.summary,
  ]);
  return [
    "Atoll runs WebAssembly components in a sandbox and serves them as MCP tools and over HTTP.",
    "",
    "Usage: atoll COMMAND [FLAGS]",
    "",
    ...table(rows),
    "",
    "`atoll help COMMAND` explains one; `atoll --version` prints the version.",
    "",
  ].join("\n");
}

function explain(command: CommandSpec): string {
  const flags = command.flags.map((flag): [string, string] => [
    `--${flag.name}${flag.value === undefined ? "" : ` ${flag.value}`}${flag.many ? " …" : ""}`,
    flag.help,
  ]);
  return [
    `${command.summary[0]?.toUpperCase()}${command.summary.slice(1)}.`,
    "",
    `Usage: ${usageLine(command)}`,
    ...(flags.length === 0 ? [] : ["", ...table(flags)]),
    ...(command.notes === undefined ? [] : ["", ...command.notes]),
    "",
  ].join("\n");
}

function table(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.min(34, Math.max(...rows.map(([left]) => left.length)));
  return rows.map(([left, right]) =>
    left.length > width
      ? `  ${left}\n  ${" ".repeat(width)}  ${right}`
      : `  ${left.padEnd(width)}  ${right}`
  );
}
