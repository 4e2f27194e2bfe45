/** MCP over the pipes of a real process: what a client reads when it reads slowly. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { test } from "../harness.ts";
import { currentRuntime, runScript } from "../runtimes.ts";

const CHILD = fileURLToPath(new URL("./stdio_child.ts", import.meta.url));

interface Answer {
  readonly id: number;
  readonly result: { readonly structuredContent: { readonly text: string } };
}

test("long answers reach a slow reader whole, each on its line", async () => {
  const [program = "", ...args] = runScript(currentRuntime, CHILD);
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(child, "close");
  const asked = Array.from({ length: 40 }, (_, id) => ({
    id,
    letter: String.fromCharCode(97 + id % 26),
    length: 100_000 + 1_009 * id,
  }));
  child.stdin.end(
    asked.map(({ id, letter, length }) => {
      const params = { name: "unit_long", arguments: { letter, length } };
      return `${JSON.stringify({ jsonrpc: "2.0", id, method: "tools/call", params })}\n`;
    }).join(""),
  );
  let text = "";
  for await (const chunk of child.stdout) {
    text += String(chunk);
    // The pipe stays full, so that what is written is taken in parts.
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await ended;
  const answers = text.trimEnd().split("\n").map((line) => JSON.parse(line) as Answer);
  assert.equal(answers.length, asked.length);
  for (const { id, letter, length } of asked) {
    const found = answers.find((answer) => answer.id === id);
    assert.equal(found?.result.structuredContent.text, letter.repeat(length), `answer ${id}`);
  }
});
