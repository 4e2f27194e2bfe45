/**
 * How long instances live: one file for both engines. `calls-before` of the fixture `hostile` counts
 * the calls that its instance has had.
 */
import assert from "node:assert/strict";
import type { EngineGrants } from "../../src/core/grants.ts";
import type { Isolation } from "../../src/core/isolation.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/core/limits.ts";
import type { GuestLog, LoadedComponent, Sandbox } from "../../src/sandbox/sandbox.ts";
import { fixtureBytes } from "../fixtures/build.ts";
import { test, until } from "../harness.ts";
import { call, ENGINES, failure } from "./support.ts";

const QUICK = { wallMs: 1_500, cpuMs: 300 };
/** Longer than a test takes. */
const LONG_MS = 600_000;

const ACTOR: Isolation = { mode: "actor", idleMs: null, shared: false };

function reuse(calls: number): Isolation {
  return { mode: "reuse", calls, idleMs: LONG_MS, shared: false };
}

interface Wishes {
  readonly limits?: Partial<Limits>;
  readonly onLog?: (line: GuestLog) => void;
  readonly grants?: Partial<EngineGrants>;
}

async function load(
  sandbox: Sandbox,
  isolation: Isolation,
  { limits = {}, onLog, grants }: Wishes = {},
): Promise<LoadedComponent> {
  return await sandbox.load({
    id: "hostile",
    bytes: await fixtureBytes("hostile"),
    limits: { ...DEFAULT_LIMITS, ...limits },
    isolation,
    ...(onLog ? { onLog } : {}),
    ...(grants ? { grants } : {}),
  });
}

/** How often the instance that answers was called before. */
async function before(component: LoadedComponent, isolationKey?: string): Promise<number> {
  const options = isolationKey === undefined ? {} : { isolationKey };
  const { kind, json } = await call(component, "calls-before", {}, options);
  assert.equal(kind, "ok");
  return JSON.parse(json) as number;
}

async function series(component: LoadedComponent, calls: number, key?: string): Promise<number[]> {
  const counts: number[] = [];
  for (let i = 0; i < calls; i++) counts.push(await before(component, key));
  return counts;
}

for (const engine of ENGINES) {
  const check = (name: string, body: (sandbox: Sandbox) => Promise<void>) =>
    test(`${engine.kind}: ${name}`, async () => {
      const sandbox = await engine.open();
      try {
        await body(sandbox);
      } finally {
        await sandbox.close();
      }
    });

  check("call: no state outlives a call, whatever the key", async (sandbox) => {
    const component = await load(sandbox, { mode: "call" });
    assert.deepEqual(await series(component, 3), [0, 0, 0]);
    assert.deepEqual(await series(component, 3, "a"), [0, 0, 0]);
  });

  check("reuse: an instance serves so many calls and then a fresh one does", async (sandbox) => {
    const component = await load(sandbox, reuse(3));
    assert.deepEqual(await series(component, 7), [0, 1, 2, 0, 1, 2, 0]);
  });

  check(
    "A28: two keys never share an instance, and no key is a key of its own",
    async (sandbox) => {
      for (const isolation of [reuse(1_000), ACTOR]) {
        const component = await load(sandbox, isolation);
        for (let round = 0; round < 3; round++) {
          assert.equal(await before(component), round);
          for (const key of ["a", "b", "a ", "ä"]) {
            assert.equal(await before(component, key), round, `${isolation.mode} ${key}`);
          }
        }
        // Many at once are no other case.
        const keys = Array.from({ length: 20 }, (_, i) => `key ${i}`);
        const all = await Promise.all(keys.map((key) => before(component, key)));
        assert.deepEqual(all, keys.map(() => 0));
        await component.unload();
      }
    },
  );

  check("a key that is none is refused, where keys matter", async (sandbox) => {
    const component = await load(sandbox, reuse(9));
    for (const key of ["", "k".repeat(1_025)]) {
      await failure("invalid_argument", () => before(component, key));
    }
    assert.equal(await before(component), 0);
    assert.equal(await before(component, "k".repeat(1_024)), 0);
  });

  check("A28: shared: all keys use the same instance", async (sandbox) => {
    for (const isolation of [reuse(1_000), ACTOR]) {
      const component = await load(sandbox, { ...isolation, shared: true } as Isolation);
      assert.deepEqual(
        [await before(component), await before(component, "a"), await before(component, "b")],
        [0, 1, 2],
      );
    }
  });

  // The portable engine refuses a plugin with grants, whatever its isolation.
  if (engine.kind === "native") {
    check(
      "a fresh, a reused and an actor's instance see what is granted, under any key",
      async (sandbox) => {
        const grants = { env: { LANG: "de_DE", TOKEN: "t" } };
        for (const isolation of [{ mode: "call" } as const, reuse(1_000), ACTOR]) {
          const granted = await load(sandbox, isolation, { grants });
          const other = await load(sandbox, isolation);
          for (const options of [{}, { isolationKey: "a" }, { isolationKey: "b" }]) {
            for (let turn = 0; turn < 3; turn++) {
              const sees = async (component: LoadedComponent) =>
                JSON.parse((await call(component, "environment", {}, options)).json);
              assert.deepEqual(await sees(granted), ["LANG=de_DE", "TOKEN=t"], isolation.mode);
              assert.deepEqual(await sees(other), [], isolation.mode);
            }
          }
          await Promise.all([granted.unload(), other.unload()]);
        }
      },
    );
  }

  check("an instance that trapped or went over a limit is never used again", async (sandbox) => {
    for (const isolation of [reuse(1_000), ACTOR]) {
      const component = await load(sandbox, isolation, { limits: QUICK });
      const ends = [
        ["trap", "trap"],
        ["panic", "trap"],
        ["spin", "limit"],
        ["grow", "limit"],
        ["recurse", "limit"],
        ["park", "limit"],
      ] as const;
      for (const [name, code] of ends) {
        assert.deepEqual(await series(component, 2, "a"), [0, 1], `before ${name}`);
        await failure(code, () => call(component, name, {}, { isolationKey: "a" }));
      }
      assert.deepEqual(await series(component, 2, "a"), [0, 1]);
      await failure("deadline", () => {
        return call(component, "park", {}, { isolationKey: "a", budgetMs: 100 });
      });
      assert.equal(await before(component, "a"), 0);
      await component.unload();
    }
  });

  check("reuse: an instance whose call was cancelled is never used again", async (sandbox) => {
    const component = await load(sandbox, reuse(1_000));
    assert.deepEqual(await series(component, 2), [0, 1]);
    const controller = new AbortController();
    const { signal } = controller;
    const parked = failure("cancelled", () => call(component, "park", {}, { signal }));
    setTimeout(() => controller.abort(), 50);
    await parked;
    assert.equal(await before(component), 0);
  });

  check("actor: calls run one at a time, in order, and keep the state", async (sandbox) => {
    const component = await load(sandbox, ACTOR);
    const slow = call(component, "sleep", { ms: 50 });
    const counts = await Promise.all(Array.from({ length: 10 }, () => before(component)));
    assert.deepEqual(counts, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert.equal((await slow).kind, "ok");
  });

  check("actor: more calls than its mailbox holds are overloaded", async (sandbox) => {
    const component = await load(sandbox, ACTOR, { limits: { queue: 2 } });
    const runs = Array.from({ length: 10 }, () => call(component, "sleep", { ms: 50 }));
    const ends = await Promise.allSettled(runs);
    const refused = ends.filter((end) => end.status === "rejected");
    assert.equal(refused.length, 7);
    for (const { reason } of refused) await failure("overloaded", () => Promise.reject(reason));
    assert.equal(await before(component), 0);
  });

  check("actor: cancelling drops the reply only, if the guest ends soon", async (sandbox) => {
    const lines: string[] = [];
    const onLog = ({ text }: GuestLog) => void lines.push(text);
    const component = await load(sandbox, ACTOR, { onLog });
    assert.equal(await before(component), 0);
    const cancelled = async (name: string, args: unknown) => {
      const controller = new AbortController();
      const { signal } = controller;
      const run = failure("cancelled", () => call(component, name, args, { signal }));
      setTimeout(() => controller.abort(), 20);
      await run;
    };
    await cancelled("sleep", { ms: 200 });
    assert.equal(await before(component), 1);
    assert.deepEqual(lines, []);
    await cancelled("park", {});
    assert.equal(await before(component), 0);
    await until(() => lines.length > 0);
    assert.match(lines.join(), /^atoll: the actor begins anew, its state is lost: .*cancelled$/);
  });

  check("actor: there are no more than calls may run at once", async (sandbox) => {
    const component = await load(sandbox, ACTOR, { limits: { concurrency: 2 } });
    assert.deepEqual([await before(component, "a"), await before(component, "b")], [0, 0]);
    const { message } = await failure("overloaded", () => before(component, "c"));
    assert.match(message, /limits\.concurrency/);
    await failure("trap", () => call(component, "trap", {}, { isolationKey: "a" }));
    assert.deepEqual([await before(component, "c"), await before(component, "b")], [0, 1]);
  });

  check("what rests too long ends by itself", async (sandbox) => {
    const idleMs = 40;
    const isolations: Isolation[] = [
      { mode: "reuse", calls: 1_000, idleMs, shared: false },
      { mode: "actor", idleMs, shared: false },
    ];
    for (const isolation of isolations) {
      const component = await load(sandbox, isolation);
      assert.equal(await before(component), 0);
      await new Promise((resolve) => setTimeout(resolve, 2 * idleMs));
      assert.equal(await before(component), 0);
      await component.unload();
    }
  });

  check("memory is counted over all calls of an instance, output for each", async (sandbox) => {
    const limits = { memoryBytes: 8 * 1024 * 1024, outputBytes: 100_000 };
    const component = await load(sandbox, reuse(1_000), { limits });
    for (let i = 0; i < 5; i++) await call(component, "big-text", { bytes: 60_000 });
    assert.equal(await before(component), 0);
    const { data } = await failure("limit", () => call(component, "grow"));
    assert.equal(data.limit, "memory");
    assert.equal(await before(component), 0);
  });

  check("more keys than are remembered find their way again", async (sandbox) => {
    const component = await load(sandbox, reuse(2));
    // More than the native engine has targets for; the portable one has nothing to forget.
    const keys = engine.kind === "native" ? 1_100 : 100;
    for (let i = 0; i < keys; i++) assert.equal(await before(component, `key ${i}`), 0);
    // Their instances gave way to later ones; of the first two, both forgotten by the engine, the
    // second one is still known here.
    for (const i of [0, keys >> 2, keys - 70]) assert.equal(await before(component, `key ${i}`), 0);
    await component.unload();
  });
}
