/**
 * Every limit there is, on both engines: what goes beyond it is told which one it was, its value and
 * the key that changes it. A limit that is added without a row here does not compile.
 */
import assert from "node:assert/strict";
import type { ErrorCode } from "../../src/core/errors.ts";
import type { Isolation } from "../../src/core/isolation.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/core/limits.ts";
import type { LoadedComponent, SandboxRequest } from "../../src/sandbox/sandbox.ts";
import { fixtureBytes, type FixtureName } from "../fixtures/build.ts";
import { test } from "../harness.ts";
import { Bench, call, ENGINES, failure } from "./support.ts";

const MIB = 1024 * 1024;

/** A limit, what goes beyond it, and what it is told. */
interface Row {
  readonly value: number;
  readonly limit: string;
  readonly code?: ErrorCode;
  readonly fixture?: FixtureName;
  readonly isolation?: Isolation;
  /** Other limits that it would reach first. */
  readonly others?: Partial<Limits>;
  run(component: LoadedComponent): Promise<unknown>;
}

/** For what is not to end by time, on a slow machine too. */
const PATIENT = { wallMs: 120_000, cpuMs: 60_000 };

const get = (path: string): SandboxRequest => ({
  method: "GET",
  url: `http://localhost${path}`,
  fields: [],
  body: null,
});

/** Calls that run until they are told to end. */
async function beside(
  component: LoadedComponent,
  calls: number,
  run: () => Promise<unknown>,
): Promise<unknown> {
  const controller = new AbortController();
  const { signal } = controller;
  const parked = Array.from(
    { length: calls },
    () => failure("cancelled", () => call(component, "park", {}, { signal })),
  );
  try {
    return await run();
  } finally {
    controller.abort();
    await Promise.all(parked);
  }
}

/** Until it fails, which it does after a few times unless the machine is very slow. */
async function again(run: () => Promise<unknown>): Promise<never> {
  for (;;) await run();
}

/** Those of requests need a server, and are in `egress_limits_test.ts`. */
type Elsewhere = "egressBytes" | "connections";

const ROWS: Readonly<Record<Exclude<keyof Limits, Elsewhere>, Row>> = {
  memoryBytes: {
    value: 4 * MIB,
    limit: "memory",
    run: (component) => call(component, "allocate", { bytes: 8 * MIB }),
  },
  cpuMs: { value: 150, limit: "cpu", run: (component) => call(component, "spin") },
  wallMs: { value: 300, limit: "wall", run: (component) => call(component, "park") },
  outputBytes: {
    value: 1_000,
    limit: "output",
    run: (component) => call(component, "big-output", { bytes: 2_000 }),
  },
  logBytes: {
    value: 1_000,
    limit: "log",
    run: (component) => call(component, "log-flood", { bytes: 100_000 }),
  },
  tableElements: {
    value: 500,
    limit: "tables",
    fixture: "growing-table",
    run: (component) => call(component, "grow"),
  },
  instances: { value: 1, limit: "instances", run: (component) => call(component, "calls-before") },
  resources: {
    value: 20,
    limit: "resources",
    run: (component) => call(component, "pollables", { count: 1_000 }),
  },
  fieldBytes: {
    value: 500,
    limit: "fields",
    fixture: "hostile-http",
    run: async (component) => await component.handle(get("/big-header?n=2000")),
  },
  concurrency: {
    value: 1,
    limit: "concurrency",
    code: "overloaded",
    isolation: { mode: "actor", idleMs: null, shared: false },
    run: async (component) => {
      await call(component, "calls-before", {}, { isolationKey: "one" });
      return await call(component, "calls-before", {}, { isolationKey: "another" });
    },
  },
  queue: {
    value: 1,
    limit: "queue",
    code: "overloaded",
    others: { concurrency: 1 },
    run: (component) => beside(component, 2, () => call(component, "calls-before")),
  },
  requestsPerSecond: {
    value: 3,
    limit: "rate",
    code: "rate_limited",
    run: (component) => again(() => call(component, "calls-before")),
  },
  pluginMemoryBytes: {
    value: 6 * MIB,
    limit: "pluginMemory",
    run: (component) =>
      // One alone fits, two do not.
      again(() => Promise.all([1, 2].map(() => call(component, "allocate", { bytes: 4 * MIB })))),
  },
};

for (const engine of ENGINES) {
  const bench = new Bench(engine);

  for (const [key, row] of Object.entries(ROWS)) {
    test(`${engine.kind}: A18: limits.${key} is named with its value and its key`, async () => {
      const fixture = row.fixture ?? "hostile";
      const sandbox = await bench.sandbox();
      const component = await sandbox.load({
        id: fixture,
        bytes: await fixtureBytes(fixture),
        limits: { ...DEFAULT_LIMITS, ...PATIENT, ...row.others, [key]: row.value },
        ...(row.isolation === undefined ? {} : { isolation: row.isolation }),
      });
      const error = await failure(row.code ?? "limit", () => row.run(component));
      const { limit, value, key: named, retryAfterSeconds } = error.data;
      assert.deepEqual([limit, value, named], [row.limit, row.value, `limits.${key}`]);
      assert.ok(error.message.includes(`${row.value}`), error.message);
      assert.ok(error.message.includes(`limits.${key}`), error.message);
      assert.equal(retryAfterSeconds, row.code === undefined ? undefined : 1);
      await component.unload();
    });
  }

  test(`${engine.kind}: a plugin that took its calls of a second takes more in the next`, async () => {
    const component = await bench.load("hostile", { requestsPerSecond: 2 });
    await failure("rate_limited", () => again(() => call(component, "calls-before")));
    while (await call(component, "calls-before").catch(() => null) === null) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await component.unload();
  });

  test(`${engine.kind}: instances that rest give way to a call that needs their memory`, async () => {
    const sandbox = await bench.sandbox();
    const component = await sandbox.load({
      id: "hostile",
      bytes: await fixtureBytes("hostile"),
      limits: { ...DEFAULT_LIMITS, ...PATIENT, pluginMemoryBytes: 12 * MIB },
      isolation: { mode: "reuse", calls: 1_000, idleMs: 600_000, shared: false },
    });
    // Each takes more than a third of what there is, and keeps it.
    for (let key = 0; key < 6; key++) {
      const outcome = await call(component, "allocate", { bytes: 4 * MIB }, {
        isolationKey: `key ${key}`,
      });
      assert.equal(outcome.kind, "ok");
    }
    await component.unload();
    await bench.close();
  });
}
