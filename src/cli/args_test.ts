/** The command line: what is understood, and what is said about the rest. */
import { deepEqual, equal, match, throws } from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { parseCommandLine, type ParsedArgs } from "./args.ts";
import { COMMANDS } from "./commands.ts";
import { helpText } from "./help.ts";

function run(...args: string[]): Extract<ParsedArgs, { kind: "run" }> {
  const parsed = parseCommandLine(args);
  if (parsed.kind !== "run") throw new Error(`${parsed.kind} instead of run`);
  return parsed;
}

test("serve takes its flags in both spellings; --plugins may be repeated", () => {
  const { command, flags } = run(
    ...["serve", "--port=1", "--plugins", "a", "--stdio", "--plugins=b", "--port", "2"],
  );
  equal(command.name, "serve");
  equal(flags.text("port"), "2");
  deepEqual(flags.texts("plugins"), ["a", "b"]);
  deepEqual([flags.has("stdio"), flags.has("host")], [true, false]);
});

test("operands are told from flags, also after --", () => {
  const { operands, flags } = run("call", "--json", "text_analyse", '{"input":"a"}');
  deepEqual([operands, flags.has("json")], [["text_analyse", '{"input":"a"}'], true]);
  deepEqual(run("call", "--", "--odd", "-").operands, ["--odd", "-"]);
  deepEqual(run("call", "t", "-").operands, ["t", "-"]);
});

const WRONG: [args: string[], message: string][] = [
  [["srve"], 'Cannot understand "srve": unknown command; did you mean serve?'],
  [["zzzzzzz"], 'Cannot understand "zzzzzzz": unknown command; known are serve, inspect'],
  [
    ["serve", "--prot", "1"],
    'Cannot understand "--prot": unknown flag of `atoll serve`; did you mean --port?',
  ],
  [["serve", "-p", "1"], 'Cannot understand "-p": unknown flag of `atoll serve`'],
  [["serve", "--port"], "Cannot use --port: PORT is missing"],
  [["serve", "--host", "--port", "1"], "Cannot use --host: HOST is missing"],
  [["serve", "--stdio=yes"], "Cannot use --stdio: it takes no value"],
  [["serve", "extra"], 'Cannot understand "extra": one argument too many'],
  [["inspect"], "Cannot run `atoll inspect`: FILE.wasm is missing"],
  [["call"], "Cannot run `atoll call`: TOOL is missing"],
  [["help", "sreve"], 'Cannot understand "sreve": unknown command; did you mean serve?'],
  [
    ["--port", "1"],
    'Cannot understand "--port": a command comes first, as in `atoll serve --port`',
  ],
];

test("each mistake is named with the nearest right word", () => {
  for (const [args, message] of WRONG) {
    throws(() => parseCommandLine(args), (error: Error) => {
      equal(error.message.startsWith(message), true, `${error.message} is not: ${message}`);
      return true;
    });
  }
});

test("help and version are there in the usual spellings", () => {
  equal(parseCommandLine([]).kind, "help");
  for (const args of [["--help"], ["-h"], ["help"]]) {
    deepEqual(parseCommandLine(args), { kind: "help", command: null });
  }
  for (const args of [["serve", "--help"], ["help", "serve"]]) {
    const parsed = parseCommandLine(args);
    equal(parsed.kind === "help" && parsed.command?.name, "serve");
  }
  for (const args of [["--version"], ["-V"]]) equal(parseCommandLine(args).kind, "version");
});

test("help names each command and each flag, in lines that fit a terminal", () => {
  for (const command of COMMANDS) {
    match(helpText(null), new RegExp(`^  ${command.name}\\b`, "m"));
    const text = helpText(command);
    for (const flag of command.flags) match(text, new RegExp(`^  --${flag.name}\\b`, "m"));
    for (const line of text.split("\n")) equal(line.length <= 110, true, line);
  }
});

test("-h after a command is its help, and a value or operand after -- is not", () => {
  const parsed = parseCommandLine(["serve", "-h"]);
  equal(parsed.kind === "help" ? parsed.command?.name : null, "serve");
  equal(run("call", "--", "tool", "-h").kind, "run");
});
