/** `atoll serve --learn`: the policy of an observed run, and a run under that policy. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startServer } from "../e2e/support.ts";
import { fixtureFolder } from "../fixtures/build.ts";
import { test } from "../harness.ts";
import { nativeBench, withFolder } from "./support.ts";

/** Runs a server under a configuration while one call of the guest is made; what it said. */
async function run(
  folder: string,
  config: unknown,
  steps: readonly string[],
): Promise<{ answers: readonly string[]; policy: unknown; log: string }> {
  const [file, learned] = [join(folder, "atoll.json"), join(folder, "policy.json")];
  writeFileSync(file, JSON.stringify(config));
  const server = await startServer({
    plugins: [fixtureFolder("granted")],
    args: ["--engine", "native", "--config", file, "--learn", learned],
    tools: ["granted_steps"],
  });
  try {
    assert.deepEqual(JSON.parse(readFileSync(learned, "utf8")), { pluginSettings: {} });
    const response = await fetch(`${server.url}/mcp`, {
      method: "POST",
      headers: { "content-type": "application/json", "mcp-protocol-version": "2025-11-25" },
      body: JSON.stringify({
        jsonrpc: "2.0",
        id: 1,
        method: "tools/call",
        params: {
          name: "granted_steps",
          arguments: { steps: steps.map((step) => step.split(" ")) },
        },
      }),
    });
    const { result } = await response.json() as {
      result: { structuredContent: { result: readonly string[] } };
    };
    assert.equal(await server.stop(), 0);
    const policy = JSON.parse(readFileSync(learned, "utf8"));
    return { answers: result.structuredContent.result, policy, log: server.stderr() };
  } finally {
    await server.stop("SIGKILL");
  }
}

if (nativeBench() !== null) {
  test("a policy that was learned allows what it was learned from, and no more", async () => {
    await withFolder(async (folder) => {
      const data = join(folder, "data");
      mkdirSync(data);
      const read = { path: "data", at: "/data" };
      const granted = { folders: [read], tcp: [{ host: "192.0.2.1", port: 1 }] };
      const before = { pluginSettings: { granted: { grants: granted } } };
      const steps = ["list /data", "set-size /data/a 5", "bind 127.0.0.1:0"];
      const first = await run(folder, before, steps);
      assert.deepEqual(first.answers, ["ok", "not-permitted", "access-denied"]);
      assert.equal(existsSync(join(data, "a")), false, "learning grants nothing");
      assert.match(first.log, /plugin "granted" was denied folders \(write below "\/data"\)/);
      assert.doesNotMatch(first.log, /denied folders \(read/);
      assert.deepEqual(first.policy, {
        pluginSettings: {
          granted: {
            grants: {
              folders: [{ path: data, at: "/data", write: true }],
              tcp: [{ host: "127.0.0.1", port: 0, listen: true }],
            },
          },
        },
      });
      const second = await run(folder, first.policy, steps);
      assert.deepEqual(second.answers, ["ok", "ok", "ok"]);
      assert.equal(existsSync(join(data, "a")), true);
    });
  });
}
