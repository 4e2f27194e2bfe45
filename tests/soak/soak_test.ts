/** The soak's short form, and that its verdicts see a leak. */
import { deepEqual, ok, throws } from "node:assert/strict";
import { nativeObstacle } from "../../native/build/build.ts";
import { runtime, test } from "../harness.ts";
import { soak } from "./soak.ts";
import { judge, type Sample } from "./trend.ts";

const SECONDS = 30;

const samples = (at: (second: number) => Partial<Sample>): Sample[] =>
  Array.from({ length: 60 }, (_, second) => ({
    ...{ second, rssMiB: 200, descriptors: 20, threads: 12, calls: 100, loads: 2 },
    ...at(second),
  }));
const grown = (at: (second: number) => Partial<Sample>) =>
  judge(samples(at)).filter(({ flat }) => !flat).map(({ what }) => what);

test("growth behind the warm-up is a leak, growth within it and noise are none", () => {
  deepEqual(grown(() => ({})), []);
  deepEqual(grown((second) => ({ rssMiB: 100 + 20 * Math.min(second, 15) })), []);
  deepEqual(grown((second) => ({ rssMiB: 200 + (second % 2) * 50 })), []);
  deepEqual(grown((second) => ({ rssMiB: 200 + 4 * second })), ["rssMiB"]);
  deepEqual(grown((second) => ({ descriptors: 20 + second })), ["descriptors"]);
  deepEqual(grown((second) => ({ threads: 12 + Math.floor(second / 4) })), ["threads"]);
  throws(() => judge(samples(() => ({})).slice(0, 8)), /too few/);
});

// Where no native library can be had there is nothing of it that could leak.
if (await nativeObstacle() === null) {
  test("the engine stays flat while plugins are loaded, called, killed and unloaded", async () => {
    const result = await soak(SECONDS, runtime, "engine");
    const said = JSON.stringify({ ...result, samples: result.samples.slice(-3) });
    ok(result.ok, said);
    ok(result.samples.reduce((sum, { calls }) => sum + calls, 0) > SECONDS, said);
    ok(result.samples.reduce((sum, { loads }) => sum + loads, 0) > 0, said);
  });

  test("two workers stay flat while plugins come and go and workers die", async () => {
    const result = await soak(SECONDS, runtime, "workers");
    const said = JSON.stringify({ ...result, samples: result.samples.slice(-3) });
    ok(result.ok, said);
    ok(result.samples.reduce((sum, { calls }) => sum + calls, 0) > SECONDS, said);
    ok(result.samples.reduce((sum, { loads }) => sum + loads, 0) > 0, said);
  });
}
