/** Which calls wait for a worker, how many bytes of them, and what becomes of workers that fail. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "../../tests/harness.ts";
import { type AtollError } from "../core/errors.ts";
import { DEFAULT_LIMITS } from "../core/limits.ts";
import { type Job, PortableQueue } from "./portable_queue.ts";

/** A queue whose workers run this code when they start. */
function queueOf(source: string): PortableQueue {
  const component = { source, modules: [] };
  return new PortableQueue("test", {
    component,
    limits: DEFAULT_LIMITS,
    config: {},
    httpInterface: null,
  });
}

/** A job that holds its worker until it is told to end. */
class Held implements Job {
  readonly key = null;
  readonly started: Promise<() => void>;
  readonly failed: Promise<AtollError>;
  run!: Job["run"];
  fail!: Job["fail"];

  constructor(readonly bytes: number) {
    this.started = new Promise((resolve) => {
      this.run = (_thread, _choice, done) => resolve(() => done(null, 0));
    });
    this.failed = new Promise((resolve) => {
      this.fail = resolve;
    });
  }
}

const MIB = 1024 * 1024;

test("portable queue: waiting calls are bounded in bytes too", async () => {
  const queue = queueOf("export const instantiate = 1;");
  const running = [new Held(0), new Held(0)];
  for (const job of running) queue.submit(job);
  const ends = await Promise.all(running.map((job) => job.started));
  const first = new Held(20 * MIB);
  queue.submit(first);
  const refused = new Held(20 * MIB);
  assert.throws(() => queue.submit(refused), (error: AtollError) => {
    assert.equal(error.code, "overloaded");
    assert.match(error.message, /calls of 20971520 bytes waiting/);
    return true;
  });
  // What is withdrawn or runs makes room; alone, a call may have any size.
  queue.withdraw(first);
  const large = new Held(100 * MIB);
  queue.submit(large);
  assert.throws(() => queue.submit(refused), { code: "overloaded" });
  ends[0]?.();
  const end = await large.started;
  queue.submit(refused);
  end();
  ends[1]?.();
  (await refused.started)();
  await queue.drain();
});

test("portable queue: a worker that ends while it starts fails its calls once", async () => {
  const folder = mkdtempSync(join(tmpdir(), "atoll-queue-"));
  const file = join(folder, "starts");
  const queue = queueOf(`
    import { appendFileSync } from "node:fs";
    import process from "node:process";
    appendFileSync(new URL(${JSON.stringify(pathToFileURL(file).href)}), "x");
    process.exit(1);`);
  for (const starts of ["x", "xx"]) {
    const jobs = [new Held(0), new Held(0), new Held(0)];
    for (const job of jobs) queue.submit(job);
    for (const job of jobs) {
      const { code, message } = await job.failed;
      assert.deepEqual([code, /Cannot start a worker/.test(message)], ["internal", true]);
    }
    // Calls that come before the next try wait for it; there is none in between.
    assert.ok(readFileSync(file, "utf8").length <= 2 * starts.length);
  }
  await queue.close();
  rmSync(folder, { recursive: true });
});
