import { deepEqual } from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { loadConfig } from "./load.ts";
import { unreachableLimits } from "./reachable.ts";
import type { Config } from "./schema.ts";

const { config } = loadConfig({ cwd: "/" });

function found(limits: Partial<Config["limits"]>, instances: number | null = 1_000): string[] {
  return unreachableLimits({ ...config, limits: { ...config.limits, ...limits } }, instances);
}

test("the defaults can all be reached", () => {
  deepEqual(found({}), []);
});

test("a limit that another one comes before is told, with both", () => {
  deepEqual(found({ concurrency: 1_001 }), [
    "limits.concurrency is 1001, but the number of instances (native.instances) of 1000 comes first",
  ]);
  deepEqual(found({ concurrency: 1_001 }, null), []);
  deepEqual(found({ queue: 16_384, tableElements: 100_001 }), [
    "limits.queue is 16384, but the number of calls (native.callsMax) of 16383 comes first",
    "limits.tableElements is 100001, but the size of a table in the pool of 100000 comes first",
  ]);
  deepEqual(found({ memoryBytes: 2_000_000, pluginMemoryBytes: 1_000_000 }, null), [
    "limits.memoryBytes is 2000000, but pluginMemoryBytes of 1000000 comes first",
  ]);
});

test("a single plugin's limits are named by its place, and not again what holds for all", () => {
  const pluginSettings = {
    heavy: { enabled: true, limits: { concurrency: 2_000 } },
    plain: { enabled: true, limits: { cpuMs: 5 } },
    none: { enabled: true },
  };
  const limits = { ...config.limits, queue: 20_000 };
  deepEqual(unreachableLimits({ ...config, limits, pluginSettings }, 1_000), [
    "limits.queue is 20000, but the number of calls (native.callsMax) of 16383 comes first",
    "pluginSettings.heavy.limits.concurrency is 2000, " +
    "but the number of instances (native.instances) of 1000 comes first",
  ]);
});
