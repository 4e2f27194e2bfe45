/**
 * The MCP conformance suite against the real server: the scenarios for lifecycle, stateless
 * requests, tools list and simple calls, header validation, caching and DNS rebinding.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { fixtureFolder } from "../fixtures/build.ts";
import { test } from "../harness.ts";
import { runScript } from "../runtimes.ts";
import { ROOT, startServer } from "./support.ts";

const SUITE = join(
  ROOT,
  "node_modules",
  "@modelcontextprotocol",
  "conformance",
  "dist",
  "index.js",
);

const SCENARIOS: Readonly<Record<string, readonly string[]>> = {
  "2025-11-25": [
    "server-initialize",
    "ping",
    "tools-list",
    "tools-call-simple-text",
    "tools-call-error",
    "tools-call-with-progress",
    "resources-list",
    "prompts-list",
    "dns-rebinding-protection",
  ],
  "2026-07-28": [
    "server-stateless",
    "tools-list",
    "tools-call-simple-text",
    "tools-call-error",
    "tools-call-with-progress",
    "server-sse-multiple-streams",
    "resources-list",
    "prompts-list",
    "sep-2164-resource-not-found",
    "caching",
    "http-header-validation",
    "dns-rebinding-protection",
  ],
};

interface Run {
  readonly status: number | null;
  readonly output: string;
}

function runScenario(url: string, scenario: string, revision: string): Promise<Run> {
  // The suite is a program for Node; of the two runtimes Deno is the one it was tried with.
  const [program = "", ...args] = runScript("deno", SUITE);
  const asked = ["server", "--url", url, "--scenario", scenario, "--spec-version", revision];
  const child = spawn(program, [...args, ...asked], { cwd: ROOT });
  let output = "";
  child.stdout.on("data", (chunk) => output += String(chunk));
  child.stderr.on("data", (chunk) => output += String(chunk));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, output }));
  });
}

for (const [revision, scenarios] of Object.entries(SCENARIOS)) {
  test(`MCP conformance in ${revision}`, async () => {
    const server = await startServer({
      plugins: [fixtureFolder("test")],
      tools: ["test_simple_text"],
    });
    try {
      const failed: string[] = [];
      for (const scenario of scenarios) {
        const { status, output } = await runScenario(`${server.url}/mcp`, scenario, revision);
        // A scenario that does not apply ends with 0 too: it must have counted something.
        const counted = /Passed: (\d+)\/(\d+), (\d+) failed/.exec(output);
        if (status !== 0 || counted === null || counted[1] === "0") {
          failed.push(`${scenario}: status ${status}\n${output}`);
        }
      }
      assert.deepEqual(failed, [], failed.join("\n"));
    } finally {
      await server.stop();
    }
  });
}
