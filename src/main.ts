/**
 * The command line's entry. Everything but the check for a runtime that is too old is imported
 * after it: an old runtime is told so instead of failing at the first thing it does not know.
 */
import process from "node:process";
import { currentRuntime, runtimeObstacle } from "./core/runtime.ts";

const obstacle = runtimeObstacle(currentRuntime());
if (obstacle !== null) {
  process.stderr.write(`atoll: ${obstacle}\n`);
  process.exit(1);
}

const { runCommandLine } = await import("./cli/run.ts");
const { flush, tolerateClosedPipes } = await import("./cli/output.ts");
tolerateClosedPipes();
const status = await runCommandLine(process.argv.slice(2));
await flush();
// A native library's threads and sockets are no reason to stay.
process.exit(status);
