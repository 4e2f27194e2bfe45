import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { currentRuntime, runScript } from "../../tests/runtimes.ts";
import { test } from "../../tests/harness.ts";
import { runCommand } from "./command.ts";

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "atoll-command-"));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

function isAlive(pid: number): boolean {
  try {
    // A zombie has ended; only its parent has not noticed yet.
    return !/^\S+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

/** A shell that starts a shell below it, notes both process ids and waits for ever. */
const DEEP = 'sh -c "echo \\$\\$ > inner; sleep 1000; :" & echo $$ > outer; wait';

function pids(folder: string): number[] {
  return ["outer", "inner"].map((name) => Number(readFileSync(join(folder, name), "utf8")));
}

function started(folder: string): boolean {
  return ["outer", "inner"].every((name) =>
    existsSync(join(folder, name)) && readFileSync(join(folder, name), "utf8") !== ""
  );
}

test("a command's lines, exit status and last 20 lines come back", async () => {
  await inFolder(async (folder) => {
    const lines: string[] = [];
    const script = "i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo line $i >&2; done; exit 7";
    const result = await runCommand(["sh", "-c", script], {
      cwd: folder,
      onLine: (line) => lines.push(line),
    });
    assert.equal(result.status, 7);
    assert.equal(lines.length, 30);
    assert.equal(result.tail.length, 20);
    assert.equal(result.tail[0], "line 11");
    assert.equal(result.tail.at(-1), "line 30");
  });
});

test("a last line without an end counts, and so does one ended by a carriage return", async () => {
  await inFolder(async (folder) => {
    const result = await runCommand(["printf", "a\\rb\\nc"], { cwd: folder });
    assert.deepEqual([...result.tail].sort(), ["a", "b", "c"]);
    assert.equal(result.status, 0);
  });
});

test("a command runs at a lower priority than this process", async () => {
  await inFolder(async (folder) => {
    const result = await runCommand(["nice"], { cwd: folder });
    assert.ok(Number(result.tail[0]) >= 10, result.tail[0]);
  });
});

test("a command that is not there is an error of its own status", async () => {
  await inFolder(async (folder) => {
    const result = await runCommand(["atoll-no-such-program"], { cwd: folder });
    assert.equal(result.status, 127);
    assert.match(result.tail.join("\n"), /atoll-no-such-program/);
  });
});

test("aborting ends the command and everything below it", async () => {
  await inFolder(async (folder) => {
    const stop = new AbortController();
    const running = runCommand(["sh", "-c", DEEP], { cwd: folder, signal: stop.signal });
    await until(() => started(folder));
    stop.abort();
    await assert.rejects(running, { code: "cancelled" });
    await until(() => !pids(folder).some(isAlive));
    await assert.rejects(runCommand(["true"], { cwd: folder, signal: stop.signal }), {
      code: "cancelled",
    });
  });
});

test("what a command leaves running in its group ends with it", async () => {
  await inFolder(async (folder) => {
    const script = "sleep 1000 & echo $! > left; echo hi; exit 3";
    const result = await runCommand(["sh", "-c", script], { cwd: folder });
    assert.deepEqual([result.status, result.tail], [3, ["hi"]]);
    const pid = Number(readFileSync(join(folder, "left"), "utf8"));
    await until(() => !isAlive(pid));
  });
});

test("what does not end on request, or has left the group, is not waited for", async () => {
  await inFolder(async (folder) => {
    const stay = ": > ready; exec sleep 1000";
    for (const start of [`(trap "" TERM; ${stay})`, `setsid sh -c "${stay}"`]) {
      rmSync(join(folder, "ready"), { force: true });
      const wait = "until [ -e ready ]; do sleep 0.01; done";
      const script = `${start} & echo $! > left; ${wait}; echo hi`;
      const result = await runCommand(["sh", "-c", script], { cwd: folder });
      const pid = Number(readFileSync(join(folder, "left"), "utf8"));
      process.kill(pid, "SIGKILL");
      assert.deepEqual([result.status, result.tail], [0, ["hi"]]);
    }
  });
});

for (const signal of ["SIGTERM", "SIGKILL"] as const) {
  test(`a build ends with the process that started it, also by ${signal}`, async () => {
    await inFolder(async (folder) => {
      const module = fileURLToPath(new URL("./command.ts", import.meta.url));
      const script = join(folder, "parent.ts");
      writeFileSync(
        script,
        `import { runCommand } from ${JSON.stringify(module)};\n` +
          `await runCommand(["sh", "-c", ${JSON.stringify(DEEP)}], { cwd: ${
            JSON.stringify(folder)
          } });\n`,
      );
      const [program, ...args] = runScript(currentRuntime, script);
      const parent = spawn(program!, args, { stdio: "ignore", env: process.env });
      const ended = new Promise((resolve) => parent.once("exit", resolve));
      await until(() => started(folder));
      const children = pids(folder);
      assert.ok(children.every(isAlive));
      parent.kill(signal);
      await ended;
      await until(() => !children.some(isAlive));
    });
  });
}
