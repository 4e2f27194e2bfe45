/** `deno task soak [SECONDS] [--runtime deno|bun] [--workers] [--json]`: half an hour unless it is said. */
import process from "node:process";
import { parseArgs } from "node:util";
import { soak } from "./soak.ts";

const SECONDS_DEFAULT = 1_800;
/** Rows of the table. */
const ROWS = 30;

const { values, positionals } = parseArgs({
  args: process.argv.slice(2),
  options: {
    runtime: { type: "string", default: "deno" },
    workers: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
  allowPositionals: true,
});
const seconds = Number(positionals[0] ?? SECONDS_DEFAULT);
const { runtime } = values;
if (!Number.isInteger(seconds) || seconds < 20 || (runtime !== "deno" && runtime !== "bun")) {
  console.error(
    "usage: deno task soak [SECONDS, 20 or more] [--runtime deno|bun] [--workers] [--json]",
  );
  process.exit(2);
}
const every = Math.max(1, Math.floor(seconds / ROWS));
const row = (cells: readonly (string | number)[]) =>
  console.log(cells.map((cell) => String(cell).padStart(11)).join(" "));
if (!values.json) row(["second", "RSS MiB", "descriptors", "threads", "calls/s", "loads/s"]);
const result = await soak(seconds, runtime, values.workers ? "workers" : "engine", (sample) => {
  if (values.json || sample.second % every !== 0) return;
  const { second, rssMiB, descriptors, threads, calls, loads } = sample;
  row([second, rssMiB, descriptors, threads, calls, loads]);
});
if (values.json) console.log(JSON.stringify({ runtime, seconds, ...result }));
else {
  for (const { what, from, to, most, flat } of result.verdicts) {
    console.log(`${flat ? "ok" : "not ok"} ${what}: from ${from} to ${to}, at most ${most}`);
  }
  console.log(`left at the end: ${JSON.stringify(result.left)}`);
  if (result.failure !== null) console.log(result.failure);
  console.log(result.ok ? "1 passed, 0 failed" : "0 passed, 1 failed");
}
process.exit(result.ok ? 0 : 1);
