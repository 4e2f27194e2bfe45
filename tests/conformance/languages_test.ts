/**
 * One world in each language that plugins are written in, built by its own toolchain: what it does
 * is the same on every engine, within the default limits.
 */
import assert from "node:assert/strict";
import { cacheFolder } from "../../native/build/cache.ts";
import type { GuestLog } from "../../src/sandbox/sandbox.ts";
import { lacking, LANGUAGES } from "../fixtures/build.ts";
import { skipped, test } from "../harness.ts";
import { Bench, call, ENGINES, failure, ok } from "./support.ts";

/** What each function gives for its arguments, and whether that is the error side. */
const CALLS: readonly (readonly [name: string, args: unknown, kind: string, value: unknown])[] = [
  ["greet", { name: "Ada" }, "ok", "Hello, Ada!"],
  ["greet", { name: "Žofie 🏔" }, "ok", "Hello, Žofie 🏔!"],
  ["greet", { name: "" }, "ok", "Hello, !"],
  ["birthday", { who: { name: "Grace", age: 36 } }, "ok", { name: "Grace", age: 37 }],
  ["echo", { data: "" }, "ok", ""],
  ["echo", { data: "AAEC/w==" }, "ok", "AAEC/w=="],
  ["divide", { dividend: 7, divisor: 2 }, "ok", 3],
  ["divide", { dividend: -7, divisor: 2 }, "ok", -3],
  ["divide", { dividend: 7, divisor: 0 }, "error", "division by zero"],
  ["double", { what: { circle: 1.5 } }, "ok", { circle: 3 }],
  ["double", { what: { square: -2 } }, "ok", { square: -4 }],
  ["double", { what: { nothing: null } }, "ok", { nothing: null }],
];

/** How far the guest's clock may be from the host's, which reads it before and after the call. */
const CLOCK_MS = 1_000;

const names: (typeof LANGUAGES)[number][] = [];
for (const name of LANGUAGES) {
  const why = await lacking(name);
  if (why === null) names.push(name);
  else skipped(name, why);
}

for (const engine of ENGINES) {
  // Python's component takes an engine many seconds to compile: the next process finds it there.
  const bench = new Bench(engine, cacheFolder());
  for (const name of names) {
    const check = (what: string, body: () => Promise<void>) =>
      test(`${engine.kind}: ${name}: ${what}`, body);

    check("values of each kind come back", async () => {
      const component = await bench.fixture(name);
      for (const [fn, args, kind, value] of CALLS) {
        const outcome = await call(component, fn, args);
        assert.deepEqual(
          [outcome.kind, JSON.parse(outcome.json)],
          [kind, value],
          `${fn} ${JSON.stringify(args)}`,
        );
      }
    });

    check("100 KB come back as they went", async () => {
      const component = await bench.fixture(name);
      const data = btoa(String.fromCharCode(...Array.from({ length: 100_000 }, (_, i) => i % 251)));
      assert.equal(await ok(component, "echo", { data }), data);
    });

    check("a wrong argument is refused before the guest sees it", async () => {
      const component = await bench.fixture(name);
      const wrong = { who: { name: "Grace", age: -1 } };
      const { data } = await failure("invalid_argument", () => call(component, "birthday", wrong));
      assert.deepEqual([data.path, data.expected], ["arguments.who.age", "u32"]);
    });

    check("it writes to standard error and reads the clock", async () => {
      const lines: GuestLog[] = [];
      const component = await bench.load(name, {}, { onLog: (line) => void lines.push(line) });
      try {
        const before = Date.now();
        const now = await ok(component, "note", { line: "seen by the host: ä" });
        assert.ok(
          Number(now) >= before - CLOCK_MS && Number(now) <= Date.now() + CLOCK_MS,
          `${now} at ${before}`,
        );
        // Lines may come after the call's answer; unloading waits for all of them.
        await component.unload();
        const texts = lines.map((each) => [each.stream, each.text]);
        assert.deepEqual(texts, [["stderr", "seen by the host: ä"]]);
      } finally {
        await component.unload();
      }
    });
  }

  test(`${engine.kind}: languages: the sandbox closes`, async () => {
    await bench.close();
  });
}
