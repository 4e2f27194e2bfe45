/** A worker's module for `threads_test.ts`: says what it should, and fails where it is told to. */
import process from "node:process";
import { parentPort, workerData } from "node:worker_threads";
import type { FromWorker, Numbered } from "../../../src/server/workers/protocol.ts";

/** How a thread behaves; each start takes the next one. */
export type Manner =
  | "good"
  /** Ends in the way that it is told. */
  | "faulty"
  | "refuses"
  | "throws-at-once"
  /** Faulty, and never says that it has heard. */
  | "silent"
  | "deaf-to-stop";

const { manner, heard } = workerData as { manner: Manner; heard: SharedArrayBuffer };
const say = (message: FromWorker): void => parentPort?.postMessage(message);

if (manner === "throws-at-once") throw new Error("thrown at once");
if (manner === "refuses") {
  say({ op: "failed", error: { code: "no_memory", message: "no room here", data: {} } });
}

/** A fault of this thread at a moment that the test chooses. */
function end(how: string): void {
  if (how === "exit") process.exit(3);
  if (how === "reject") void Promise.reject(new Error("rejected"));
  if (how !== "throw") return;
  setTimeout(() => {
    throw new Error("thrown later");
  });
}

parentPort?.on("message", ({ number, message }: Numbered) => {
  switch (message.op) {
    case "serve":
      say({ op: "serving" });
      break;
    case "begin":
      Atomics.add(new Int32Array(heard), 0, 1);
      if (manner === "faulty" || manner === "silent") end(message.id);
      break;
    case "stop":
      if (manner !== "deaf-to-stop") say({ op: "stopped", ended: true });
      break;
  }
  if (manner !== "silent") say({ op: "heard", number });
});
say({ op: "hello" });
