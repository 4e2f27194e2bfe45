/**
 * A process of its own for `soak.ts`: two workers with one engine at full load over HTTP, while plugins
 * come and go and one worker dies every few seconds.
 *
 * `load_workers.ts SECONDS CACHE`. Owns: what that load is made of. Must not know what counts as a leak.
 */
import { writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import process from "node:process";
import { buildNative, findNative } from "../../native/build/build.ts";
import { loadConfig } from "../../src/config/load.ts";
import { discover } from "../../src/plugins/discovery.ts";
import { loadPlugin, type Plugin } from "../../src/plugins/plugin.ts";
import { openNativeSandbox } from "../../src/sandbox/native.ts";
import { Front } from "../../src/server/front.ts";
import { guestListeners } from "../../src/server/guest_listeners.ts";
import { Workers } from "../../src/server/workers/workers.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { fixture } from "../fixtures/build.ts";
import { leftIn, type Progress, sayEachSecond, sayLeft } from "./measure.ts";

const WORKERS = 2;
const CALLERS = 16;
const KILL_MS = 3_000;
const FAULTY = new URL("../server/threads/faulty_worker.ts", import.meta.url);

const seconds = Number(process.argv[2]);
const cacheDir = process.argv[3] ?? "";
const end = performance.now() + seconds * 1000;
const over = () => performance.now() >= end;
const count: Progress = { calls: 0, loads: 0 };

const { config } = loadConfig({
  flags: { plugins: [] },
  environment: {
    ATOLL_CACHE_DIR: cacheDir,
    ATOLL_LIMITS__MEMORY_BYTES: String(8 * 1024 * 1024),
    ATOLL_LIMITS__CPU_MS: "20",
    ATOLL_LIMITS__WALL_MS: "500",
  },
  cwd: process.cwd(),
});
// A guest's lines and the ends of workers are made and dropped.
const log = createLogger({ write: () => {} });
const libraries = await findNative() ?? await buildNative(() => {});
const engine = { instances: 100, workerThreads: 2, cacheBytes: 64 * 1024 * 1024 };
const sandbox = await openNativeSandbox({ libraries, engine, cacheDir });
const front: Front = new Front({
  config,
  log,
  state: () => "ready",
  workers: () => workers.health(),
});
const { registry } = front;
const listener = await front.listen(0, true);
const workers: Workers = new Workers({
  ...{ config, log, registry, sandbox, count: WORKERS, port: listener.port, module: FAULTY },
  state: () => "ready",
});
await workers.start();

async function add(name: "text" | "hostile" | "echo"): Promise<Plugin> {
  const [found] = discover([await fixture(name)]).found;
  if (found === undefined) throw new Error(`there is no ${name}`);
  const plugin = await loadPlugin(found, { sandbox, config, listeners: guestListeners(log) });
  registry.add(plugin);
  await workers.told();
  return plugin;
}

async function remove(plugin: Plugin): Promise<void> {
  registry.remove(plugin.id);
  await workers.told();
  await plugin.component.unload();
}

/** Connections are kept for a while and then left, so that each worker has some at any time. */
const agent = new Agent({ keepAlive: true, maxSockets: CALLERS, timeout: 2_000 });

/** The answer's text; null: its connection broke, as it may while a worker dies. */
function call(tool: string, args: object): Promise<string | null> {
  const message = {
    ...{ jsonrpc: "2.0", id: 1, method: "tools/call" },
    params: { name: tool, arguments: args },
  };
  return new Promise((resolve) => {
    const sent = request(`http://127.0.0.1:${listener.port}/mcp`, {
      method: "POST",
      agent: count.calls % 50 === 0 ? false : agent,
      headers: { "content-type": "application/json", "mcp-protocol-version": "2025-11-25" },
    }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => text += part);
      // Bun ends a response whose connection broke as if it were whole.
      response.on("end", () => resolve(response.complete && text !== "" ? text : null));
      response.on("error", () => resolve(null));
    });
    sent.on("error", () => resolve(null));
    sent.end(JSON.stringify(message));
  });
}

/** Says so where a worker answered something else than that tool could. */
async function checked(tool: string, args: object, possible: RegExp): Promise<void> {
  const text = await call(tool, args);
  if (text === null) return;
  if (!possible.test(text)) throw new Error(`${tool} answered ${text.slice(0, 500)}`);
  count.calls++;
}

/** A tool that comes and goes is unknown now and then. */
const BUSY = '"reason":"overloaded"|"reason":"closed"|deadline|limits\\.';
const GONE = "Unknown tool|not there yet";

async function caller(): Promise<void> {
  for (let turn = 0; !over(); turn++) {
    await checked("text_analyse", { input: "a b" }, new RegExp(`"words":2|${BUSY}`));
    await checked("hostile_log", { line: `line ${turn}` }, new RegExp(`"isError":false|${BUSY}`));
    await checked("hostile_trap", {}, new RegExp(`"isError":true|trap|${BUSY}`));
    const echo = new RegExp(`structuredContent|${GONE}|${BUSY}`);
    await checked("echo_of_string", { value: "x".repeat(turn % 3 === 0 ? 100_000 : 100) }, echo);
    if (turn % 8 === 0) await checked("hostile_spin", {}, new RegExp(BUSY));
  }
}

async function churner(): Promise<void> {
  while (!over()) {
    const plugin = await add("echo");
    await new Promise((resolve) => setTimeout(resolve, 50));
    await remove(plugin);
    count.loads++;
  }
}

async function killer(): Promise<void> {
  let restarts = 0;
  while (!over()) {
    await new Promise((resolve) => setTimeout(resolve, KILL_MS));
    writeFileSync(join(cacheDir, "throw-now"), "");
    restarts++;
    // The next is killed when the one before has a successor.
    while (workers.health().restarts < restarts || workers.health().serving < WORKERS) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

const resident = [await add("text"), await add("hostile")];
const done = sayEachSecond(count);
await Promise.all([churner(), killer(), ...Array.from({ length: CALLERS }, caller)]);
done();
for (const plugin of resident) await remove(plugin);
const cut = await workers.stop(5_000) ? 0 : 1;
await listener.stop(1_000);
agent.destroy();
const clients = sandbox.stats().clients - 1;
sayLeft({ ...await leftIn(sandbox), clients, cut });
await sandbox.close();
process.exit(0);
