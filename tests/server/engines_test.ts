/** Which engine starts, and what it refuses to start with. */
import assert from "node:assert/strict";
import process from "node:process";
import { buildNative, cacheFolder, nativeObstacle } from "../../native/build/build.ts";
import { loadConfig } from "../../src/config/load.ts";
import { startEngine } from "../../src/server/engines.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { test } from "../harness.ts";

const log = createLogger({ level: "silent" });

function configOf(engine: string, instances: string | undefined) {
  const environment = {
    ATOLL_CACHE_DIR: cacheFolder(),
    ...(instances === undefined ? {} : { ATOLL_NATIVE__INSTANCES: instances }),
  };
  return loadConfig({ flags: { engine }, environment, cwd: process.cwd() }).config;
}

if (await nativeObstacle() === null) {
  test("more instances than the host can back are refused at start, by their key", async () => {
    await buildNative();
    for (const engine of ["native", "auto"]) {
      // 4 GiB of address space each: more than there is.
      const start = startEngine(configOf(engine, "100000"), log, () => {});
      await assert.rejects(start, (error: { code?: string; message: string }) => {
        assert.equal(error.code, "config");
        assert.match(
          error.message,
          /^Cannot start the native engine: native\.instances is 100000, and .* room for \d+: lower/,
        );
        return true;
      });
    }
    const { sandbox, instances } = await startEngine(configOf("auto", "7"), log, () => {});
    assert.deepEqual([sandbox.kind, instances], ["native", 7]);
    await sandbox.close();
  });
}
