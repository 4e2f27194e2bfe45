/** Threads of workers: started, told the same in the same order, started again, joined. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { AtollError } from "../../src/core/errors.ts";
import { type ThreadsOptions, WorkerThreads } from "../../src/server/workers/threads.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { test, until } from "../harness.ts";
import type { Manner } from "./threads/module.ts";

const MODULE = new URL("./threads/module.ts", import.meta.url);

interface Rig {
  readonly threads: WorkerThreads;
  /** Lines of the log. */
  readonly lines: string[];
  /** How many messages each thread that was started has taken. */
  heard(index: number): number;
  /** Threads that were started so far. */
  started(): number;
}

/** The n-th thread behaves as the n-th manner says, those after the last one as that. */
function rig(count: number, manners: readonly Manner[], o: Partial<ThreadsOptions> = {}): Rig {
  const lines: string[] = [];
  const counters: SharedArrayBuffer[] = [];
  const threads = new WorkerThreads({
    module: MODULE,
    count,
    data: () => {
      const heard = new SharedArrayBuffer(4);
      counters.push(heard);
      return { manner: manners[Math.min(counters.length, manners.length) - 1], heard };
    },
    greeting: () => [{ op: "serve", port: 1 }],
    log: createLogger({ format: "text", write: (line) => lines.push(line) }),
    onLog: () => {},
    onChange: () => {},
    backoff: { firstMs: 10, mostMs: 40, steadyMs: 60_000 },
    ...o,
  });
  return {
    threads,
    lines,
    heard: (index) => Atomics.load(new Int32Array(counters[index]!), 0),
    started: () => counters.length,
  };
}

/** Threads of this process; the runtime's own come and go. */
const threadsNow = () => readdirSync("/proc/self/task").length;

test("all threads take what they are told, in order, before it is said that they have", async () => {
  const { threads, heard } = rig(3, ["good"]);
  await threads.start();
  assert.equal(threads.serving, 3);
  for (let i = 0; i < 10; i++) threads.tell({ op: "begin", id: `p${i}` });
  await threads.told();
  assert.deepEqual([heard(0), heard(1), heard(2)], [10, 10, 10]);
  assert.equal(await threads.stop(1_000), true);
  assert.equal(threads.serving, 0);
});

const ENDS = { throw: "thrown later", reject: "rejected", exit: "by itself" };
for (const [how, text] of Object.entries(ENDS)) {
  test(`a thread that ends by ${how} is followed by another; the others go on`, async () => {
    const { threads, lines, heard, started } = rig(2, ["faulty", "good"]);
    await threads.start();
    threads.tell({ op: "begin", id: how });
    await until(() => threads.restarts === 1 && threads.serving === 2);
    assert.equal(started(), 3);
    threads.tell({ op: "begin", id: "afterwards" });
    await threads.told();
    assert.deepEqual([heard(1), heard(2)], [2, 1]);
    assert.equal(lines.length, 1, lines.join(""));
    assert.match(lines[0] ?? "", /^atoll: error: worker 2 ended and its connections broke: /);
    assert.match(lines[0] ?? "", new RegExp(`${text}; another one starts in 10 ms`));
    await threads.stop(1_000);
  });
}

test("one that fails again and again is started again later and later", async () => {
  const manners: Manner[] = ["faulty", "refuses", "throws-at-once", "refuses", "refuses", "good"];
  const { threads, lines, started } = rig(1, manners);
  await threads.start();
  threads.tell({ op: "begin", id: "exit" });
  await until(() => threads.restarts === 5 && threads.serving === 1);
  assert.equal(started(), 6);
  const waits = lines.map((line) => /starts in (\d+) ms/.exec(line)?.[1]);
  assert.deepEqual(waits, ["10", "20", "40", "40", "40"]);
  assert.match(lines[1] ?? "", /no room here/);
  assert.match(lines[2] ?? "", /thrown at once/);
  await threads.stop(1_000);
});

test("one that has served for long begins with the first wait again", async () => {
  const backoff = { firstMs: 10, mostMs: 1_000, steadyMs: 0 };
  const { threads, lines } = rig(1, ["faulty"], { backoff });
  await threads.start();
  for (let turn = 1; turn <= 3; turn++) {
    threads.tell({ op: "begin", id: "exit" });
    await until(() => threads.restarts === turn && threads.serving === 1);
  }
  const waits = lines.map((line) => /starts in (\d+) ms/.exec(line)?.[1]);
  assert.deepEqual(waits, ["10", "10", "10"]);
  await threads.stop(1_000);
});

test("a thread that cannot serve at first is an error of the start, with its code", async () => {
  const { threads } = rig(3, ["good", "refuses", "good"]);
  await assert.rejects(
    threads.start(),
    (error) =>
      error instanceof AtollError && error.code === "no_memory" && /no room/.test(error.message),
  );
  await threads.stop(0);
  assert.equal(threads.restarts, 0);
});

test("a thread that dies with something untaken keeps nobody waiting", async () => {
  const { threads } = rig(1, ["silent", "good"]);
  await threads.start();
  threads.tell({ op: "begin", id: "never heard of" });
  const told = threads.told();
  threads.tell({ op: "begin", id: "exit" });
  await told;
  await until(() => threads.serving === 1);
  await threads.stop(1_000);
});

test("stopping joins all threads, those that do not listen and those that wait to start too", async () => {
  const before = threadsNow();
  for (let round = 0; round < 2; round++) {
    const { threads, started } = rig(2, ["faulty", "deaf-to-stop"], {
      backoff: { firstMs: 60_000, mostMs: 60_000, steadyMs: 60_000 },
    });
    await threads.start();
    threads.tell({ op: "begin", id: "exit" });
    await until(() => threads.serving === 1);
    assert.equal(await threads.stop(0), false, "the deaf one did not end by itself");
    assert.equal(started(), 2);
  }
  // What a runtime keeps for the next thread is no thread of ours: it does not grow with the rounds.
  await until(() => threadsNow() <= before + 4);
});
