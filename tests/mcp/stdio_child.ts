/**
 * A process of its own for `stdio_test.ts`: MCP on its standard input and output, with a tool whose
 * answers are longer than a pipe holds.
 */
import process from "node:process";
import { openStdio } from "../../src/mcp/stdio.ts";
import { writeStdout } from "../../src/server/stdout.ts";
import { envelopeServer, type EnvelopeTool } from "./envelope_tools.ts";

const LONG: EnvelopeTool = {
  name: "unit_long",
  outputSchema: { type: "object" },
  body: async (json) => {
    const { letter, length } = JSON.parse(json) as { letter: string; length: number };
    // Answers come at different times, as those of real tools do.
    await new Promise((resolve) => setTimeout(resolve, length % 7));
    return { kind: "ok", json: JSON.stringify({ text: letter.repeat(length) }) };
  },
};

const { server } = envelopeServer([LONG]);
await openStdio({
  server,
  input: process.stdin,
  write: writeStdout,
  lineBytes: 100_000,
}).ended;
process.exit(0);
