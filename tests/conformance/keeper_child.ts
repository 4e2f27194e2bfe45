/**
 * A process of its own that counts in a namespace: `keeper_child.ts FOLDER`. Another process has the
 * same storage open.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { fixtureBytes } from "../fixtures/build.ts";
import { call, ENGINES, PATIENT } from "./support.ts";

/** How far it counts. */
export const CHILD_COUNT = 100;

if (import.meta.main) {
  const engine = ENGINES.find(({ kind }) => kind === "native");
  assert.ok(engine);
  const sandbox = await engine.open(process.argv[2]);
  const component = await sandbox.load({
    id: "counter",
    bytes: await fixtureBytes("keeper"),
    limits: { ...DEFAULT_LIMITS, ...PATIENT },
    grants: { keyvalue: [{ name: "count", bytes: 1024 * 1024, shared: false }] },
  });
  for (let left = CHILD_COUNT; left > 0; left -= 10) {
    const args = { bucket: "count", key: "n", times: 10 };
    const { kind, json } = await call(component, "count", args);
    assert.equal(kind, "ok", json);
  }
  await sandbox.close();
}
