/** What Deno has to grant: the README's flags as they stand there, and what is said without them. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
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

  test("the README's permissions are enough for further workers, which have the same", async () => {
    if (await nativeObstacle() !== null) return;
    await buildNative();
    const text = await fixture("text");
    for (const command of documented()) {
      const args = ["--engine", "native", "--workers", "3", "--plugins", text];
      const child = serve(command, args);
      const [, url = ""] = await child.said(/^atoll: listening on (\S+)$/m);
      const response = await fetch(`${url}/health/ready`);
      const { workers } = await response.json() as { workers: unknown };
      deepEqual(workers, { wanted: 3, serving: 3, restarts: 0 });
      child.signal("SIGTERM");
      const { status, stderr } = await child.ended;
      equal(status, 0, stderr);
    }
  });

  test("a Deno without the leave of Atoll's deno.json to share a port is told so", async () => {
    const args = ["run", "-A", "--no-config", "--node-modules-dir=manual", MAIN, "serve"];
    const { status, stderr } = await new Child(
      [process.execPath, ...args, "--port", "0", "--workers", "2"],
      { cwd: ROOT, environment, input: "" },
    ).ended;
    equal(status, 1);
    match(stderr, /Cannot share a port among workers: .*add --unstable-net/);
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

  test("doctor finds the README's permissions enough, and says what narrower ones cost", async () => {
    if (await nativeObstacle() !== null) return;
    const { core } = await buildNative();
    const report = async (command: readonly string[]) => {
      const words = command.map((word) => word === "serve" ? "doctor" : word);
      const { status, stdout, stderr } = await new Child(
        [process.execPath, ...words, "--json"],
        { cwd: ROOT, environment, input: "" },
      ).ended;
      equal(status, 0, stderr);
      const { engine, findings } = JSON.parse(stdout) as {
        engine: string;
        findings: { check: string; verdict: string; detail: string }[];
      };
      const told = findings
        .filter(({ check, verdict }) => verdict !== "ok" && /^(native|permission)/.test(check))
        .map(({ check, detail }) => `${check}: ${detail}`);
      return { engine, told };
    };
    const [all = [], cached = []] = documented();
    deepEqual(await report(all), { engine: "native", told: [] });
    const narrow = await report(cached);
    equal(narrow.engine, "native");
    deepEqual(narrow.told, ["permission-run: Deno did not grant --allow-run=cc,make,cargo,rustc"]);

    const copying = all.map((word) => word === "--allow-ffi" ? `${word}=${core}` : word);
    const copied = await report(copying);
    equal(copied.engine, "native");
    equal(copied.told.length, 1);
    match(copied.told[0] ?? "", /^native: .*memory is not shared/);

    const address = all.map((word) => word === "--allow-net" ? `${word}=127.0.0.1:7420` : word);
    const portable = await report(address);
    equal(portable.engine, "portable");
    match(portable.told.join("\n"), /^native: .*cannot be opened: .*--allow-net/);
    match(portable.told.join("\n"), /^permission-net: Deno did not grant --allow-net$/m);
    equal(portable.told.length, 2);
  });

  test("without --allow-run no compiler is called missing", async () => {
    const others = documented()[0]?.filter((word) => word !== "--allow-run") ?? [];
    const plugins = ["--plugins", await fixture("tiny")];
    const cache = mkdtempSync(join(tmpdir(), "atoll-permissions-"));
    try {
      const ask = async (...granted: string[]) => {
        const command = ["run", ...granted, ...others.slice(1)];
        const child = new Child(
          [process.execPath, ...command, "--engine", "native", "--port", "0", ...plugins],
          { cwd: ROOT, environment: { ATOLL_CACHE_DIR: cache }, input: "" },
        );
        const { status, stderr } = await child.ended;
        equal(status, 1);
        return stderr;
      };
      const none = await ask();
      match(none, /^atoll: Cannot build the native libraries: Deno did not grant --allow-run, /m);
      ok(!none.includes("install"), none);
      match(await ask("--allow-run=cargo,rustc"), /Deno did not grant --allow-run=\w+,make, /);
    } finally {
      rmSync(cache, { recursive: true, force: true });
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
