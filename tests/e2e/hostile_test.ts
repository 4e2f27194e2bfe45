/**
 * Hostile guests behind the real server: each ends at its limit with an error that names it, other
 * plugins answer meanwhile, and the process keeps no memory of them.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildNative } from "../../native/build/build.ts";
import { fixture, fixtureFolder } from "../fixtures/build.ts";
import { test } from "../harness.ts";
import { type ServerProcess, withServer } from "./support.ts";

/** Small limits, so that a thousand hostile calls take seconds. */
const LIMITS = { memoryBytes: 16 * 1024 * 1024, cpuMs: 40, wallMs: 400, outputBytes: 65_536 };

interface ToolAnswer {
  readonly isError?: boolean;
  readonly content?: readonly { readonly text: string }[];
  readonly structuredContent?: unknown;
}

interface Answer {
  readonly result?: ToolAnswer;
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown };
}

async function withHostile(body: (server: ServerProcess) => Promise<void>): Promise<void> {
  await buildNative();
  const folder = mkdtempSync(join(tmpdir(), "atoll-hostile-"));
  const config = join(folder, "atoll.json");
  writeFileSync(config, JSON.stringify({ limits: LIMITS, log: { level: "error" } }));
  try {
    await withServer({
      plugins: [
        fixtureFolder("hostile"),
        fixtureFolder("hostile-http"),
        fixtureFolder("text"),
        await fixture("growing-table"),
        await fixture("recursing-realloc"),
      ],
      args: ["--engine", "native", "--config", config],
      tools: ["hostile_spin", "text_analyse", "growing_table_grow", "recursing_realloc_take"],
    }, body);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function call(server: ServerProcess, name: string, args: object = {}): Promise<Answer> {
  const response = await fetch(`${server.url}/mcp`, {
    method: "POST",
    headers: { "content-type": "application/json", "mcp-protocol-version": "2025-11-25" },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method: "tools/call",
      params: { name, arguments: args },
    }),
  });
  return await response.json() as Answer;
}

/** The text of an answer, wherever the protocol put it. */
const told = (answer: Answer) => JSON.stringify(answer.error ?? answer.result);

const ENDINGS: readonly (readonly [tool: string, args: object, limit: RegExp])[] = [
  ["hostile_spin", {}, /limits\.cpuMs/],
  ["hostile_grow", {}, /limits\.memoryBytes/],
  ["hostile_recurse", {}, /stack/],
  ["hostile_park", {}, /limits\.wallMs/],
  ["hostile_log_flood", { bytes: 1_000_000_000 }, /limits\.logBytes/],
  ["hostile_big_output", { bytes: 10_000_000 }, /limits\.outputBytes/],
  ["hostile_trap", {}, /trap/i],
  ["growing_table_grow", {}, /limits\.tableElements/],
  ["recursing_realloc_take", { text: "x" }, /stack/],
  // So many waits for the host at once.
  ["hostile_pollables", { count: 100_000 }, /limits\.resources/],
];

test("A18, A19: each hostile call ends at its limit, which is named, while others answer", () =>
  withHostile(async (server) => {
    for (const [tool, args, limit] of ENDINGS) {
      const [hostile, other] = await Promise.all([
        call(server, tool, args),
        call(server, "text_analyse", { input: "still here" }),
      ]);
      assert.match(told(hostile), limit, `${tool}: ${told(hostile)}`);
      assert.deepEqual(other.result?.structuredContent, { words: 2, chars: 10 });
    }
  }));

test("A17: 40,000 header fields are the guest's error, and the server goes on", () =>
  withHostile(async (server) => {
    const response = await fetch(`${server.url}/http/hostile-http/fields`);
    assert.ok(response.status >= 500, `status ${response.status}`);
    const problem = await response.json() as { code?: string };
    assert.ok(problem.code === "limit" || problem.code === "trap", JSON.stringify(problem));
    const ok = await fetch(`${server.url}/http/hostile-http/ok`);
    assert.equal(ok.status, 200);
    await ok.body?.cancel();
  }));

test("after 1,000 hostile calls the process holds no more memory than after 100", () =>
  withHostile(async (server) => {
    const rounds = async (calls: number) => {
      for (let done = 0; done < calls;) {
        const batch = ENDINGS.map(([tool, args]) => call(server, tool, args));
        await Promise.all(batch);
        done += batch.length;
      }
    };
    // What the process holds, not what its runtime has yet to collect.
    const atRest = async () => {
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      return residentBytes(server);
    };
    await rounds(100);
    const early = await atRest();
    await rounds(900);
    const late = await atRest();
    assert.ok(late <= early * 1.1, `${early} bytes after 100 calls, ${late} after 1,000`);
  }));

test("A29: while guests spin, other plugins and health answer", () =>
  withHostile(async (server) => {
    const spins = Array.from({ length: 100 }, () => call(server, "hostile_spin"));
    for (let i = 0; i < 20; i++) {
      const answer = await call(server, "text_analyse", { input: "a b c" });
      assert.deepEqual(answer.result?.structuredContent, { words: 3, chars: 5 });
      assert.equal((await fetch(`${server.url}/health/live`)).status, 200);
    }
    for (const answer of await Promise.all(spins)) {
      assert.match(told(answer), /limits\.cpuMs|limits\.wallMs|deadline|overloaded/);
    }
  }));

test("a client that goes away cancels its call", async () => {
  await buildNative();
  for (const engine of ["native", "portable"]) {
    await withServer({
      plugins: [fixtureFolder("hostile")],
      // One place and no queue: the next call is served only when the first has ended.
      args: ["--engine", engine],
      env: { ATOLL_LIMITS__CONCURRENCY: "1", ATOLL_LIMITS__QUEUE: "0" },
      tools: ["hostile_sleep"],
    }, async (server) => {
      const gone = new AbortController();
      const asked = fetch(`${server.url}/mcp`, {
        ...sleepRequest(20_000),
        signal: gone.signal,
      });
      const lost = assert.rejects(asked);
      // While the first call has the place, another one is refused.
      while (true) {
        const answer = await (await fetch(`${server.url}/mcp`, sleepRequest(1))).json() as Answer;
        if (answer.error !== undefined) break;
      }
      gone.abort();
      await lost;
      while (true) {
        const answer = await (await fetch(`${server.url}/mcp`, sleepRequest(1))).json() as Answer;
        if (answer.error === undefined) break;
        assert.match(told(answer), /overloaded/);
      }
    });
  }
});

function sleepRequest(ms: number): RequestInit {
  return {
    method: "POST",
    headers: { "content-type": "application/json", "mcp-protocol-version": "2025-11-25" },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method: "tools/call",
      params: { name: "hostile_sleep", arguments: { ms } },
    }),
  };
}

/** Resident memory of the server in bytes, by proc(5). */
function residentBytes(server: ServerProcess): number {
  const status = readFileSync(`/proc/${server.child.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}
