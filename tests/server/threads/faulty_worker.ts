/**
 * The worker of a server with a fault: it throws once a file is there. For `workers_test.ts`, which
 * has to end one while it serves.
 */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { workerData } from "node:worker_threads";
import type { WorkerStart } from "../../../src/server/workers/protocol.ts";

const { config } = workerData as WorkerStart;
const file = join(config.cacheDir, "throw-now");

setInterval(() => {
  if (!existsSync(file)) return;
  rmSync(file);
  throw new Error("a fault of its own");
}, 5);

await import("../../../src/server/workers/worker.ts");
