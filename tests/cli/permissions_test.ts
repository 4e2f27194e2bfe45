/** What Deno has to grant: the README's flags as they stand there, and what is said without them. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { buildNative, cacheFolder, nativeObstacle } from "../../native/build/build.ts";
import { ROOT } from "../e2e/support.ts";
import { fixture } from "../fixtures/build.ts";
import { runtime, test } from "../harness.ts";
import { Child, MAIN } from "./child.ts";

/** The socket's folder is then the one that the README names. */
const environment = { XDG_RUNTIME_DIR: "", TMPDIR: "" };

/** Every `deno run --allow-… serve` of the README, without the program. */
function documented(): string[][] {
  const text = readFileSync(join(ROOT, "README.md"), "utf8");
  const lines = [...text.matchAll(/^ {4}deno (run --allow-.* serve)$/gm)];
  return lines.map(([, line = ""]) =>
    line.replaceAll("$HOME/.cache/atoll", cacheFolder()).split(" ")
  );
}

function serve(command: readonly string[], args: readonly string[]): Child {
  return new Child([process.execPath, ...command, "--port", "0", ...args], {
    cwd: ROOT,
    environment,
    input: "",
  });
}

if (runtime === "deno") {
  test("the README's permissions are enough for the native engine", async () => {
    if (await nativeObstacle() !== null) return;
    await buildNative();
    const commands = documented();
    equal(commands.length, 2);
    const text = await fixture("text");
    for (const command of commands) {
      const child = serve(command, ["--engine", "native", "--plugins", text]);
      await child.said(/^atoll: text .*engine: native/m);
      const [, url = ""] = await child.said(/^atoll: listening on (\S+)$/m);
      const response = await fetch(`${url}/mcp`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          jsonrpc: "2.0",
          id: 1,
          method: "tools/call",
          params: { name: "text_analyse", arguments: { input: "two words" } },
        }),
      });
      const { result } = await response.json() as { result: { structuredContent: unknown } };
      deepEqual(result.structuredContent, { words: 2, chars: 9 });
      child.signal("SIGTERM");
      const { status, stderr } = await child.ended;
      equal(status, 0, stderr);
    }
  });

  test("a grant for the address alone: --engine native names the permission, auto goes on", async () => {
    if (await nativeObstacle() !== null) return;
    await buildNative();
    const [command = []] = documented();
    const narrowed = command.map((word) => word === "--allow-net" ? `${word}=127.0.0.1` : word);
    const plugins = ["--plugins", await fixture("tiny")];
    const said =
      /Cannot open the native engine: Deno did not grant --allow-net for a socket of its/;
    const strict = await serve(narrowed, ["--engine", "native", ...plugins]).ended;
    equal(strict.status, 1);
    match(strict.stderr, said);
    ok(!strict.stderr.includes("fault of Atoll"), strict.stderr);
    const child = serve(narrowed, plugins);
    await child.said(/^atoll: tiny .*engine: portable/m);
    child.signal("SIGTERM");
    const { status, stderr } = await child.ended;
    equal(status, 0, stderr);
    match(stderr, said);
  });

  test("under Deno without permissions doctor says what is lost", async () => {
    const granted = ["run", "--no-prompt", "--allow-read", MAIN];
    const { status, stdout, stderr } = await new Child([process.execPath, ...granted, "doctor"])
      .ended;
    equal(status, 0, stderr);
    for (const name of ["write", "net", "env", "run", "ffi", "sys"]) {
      match(stdout, new RegExp(`degraded +permission-${name} +Deno did not grant`));
    }
  });

  test("under Deno a permission that is missing is named with its flag", async () => {
    const granted = ["run", "--no-prompt", "--allow-read", "--allow-env", MAIN];
    const flags = ["serve", "--port", "0", "--plugins", await fixture("tiny")];
    const { status, stderr } = await new Child([process.execPath, ...granted, ...flags]).ended;
    equal(status, 1);
    match(stderr, /^atoll: Cannot .*--allow-net/m);
  });
}
