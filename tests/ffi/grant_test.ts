import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "../harness.ts";
import { runtimeCommand } from "../runtimes.ts";
import { libraries, runChild, testEngine } from "./support.ts";

/** What else a program needs: the wake socket counts as the network. */
const OTHERS = ["read", "write", "env", "sys", "run", "net"].map((name) => `--allow-${name}`);

test("D2: with a grant for the library's path alone everything works by copying", async () => {
  const { core } = await libraries();
  const engine = await testEngine();
  const args = [core, engine];
  for (const [grant, mapped] of [[`--allow-ffi=${core}`, false], ["--allow-ffi", true]] as const) {
    const { code, stdout, stderr } = await runChild("./granted.ts", args, [...OTHERS, grant]);
    assert.equal(code, 0, stderr);
    assert.deepEqual(JSON.parse(stdout), {
      mapped,
      inline: '{"a":"é€😀"}',
      waited: "later",
      large: 3_000_000,
      streamed: 200_000,
      log: "line 0",
    });
  }
});

test("D2: without a grant the error names the library and what is missing", async () => {
  const { core } = await libraries();
  const args = [core, await testEngine()];
  const { code, stderr } = await runChild("./granted.ts", args, OTHERS);
  assert.notEqual(code, 0);
  assert.match(stderr, /NativeError: Cannot open native library ".*libatoll\.so": .*--allow-ffi/);
});

test("D3: no unstable flag is needed", () => {
  const [program, ...rest] = runtimeCommand("deno");
  const script = "console.log(typeof Deno.dlopen, typeof Deno.UnsafePointerView)";
  const { stdout } = spawnSync(program!, [...rest, "eval", script], { encoding: "utf8" });
  assert.equal(stdout.trim(), "function function");
});
