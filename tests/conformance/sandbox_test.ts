/**
 * What every engine does: one file, run against the native and the portable sandbox.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { AtollError } from "../../src/core/errors.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { deriveTools } from "../../src/plugins/tools.ts";
import { fixtureBytes, type FixtureName } from "../fixtures/build.ts";
import { test, until } from "../harness.ts";
import { ECHOES, NEW_ECHOES } from "./echo_values.ts";
import { Bench, call, ENGINES, failure, indexOf, ok, PATIENT, timeTo } from "./support.ts";

/** For guests that end at a limit of time. */

/** For guests that end at another limit first, on a slow machine too. */

/** What `hostile` does, and the limit that ends it. */
const HOSTILE: readonly (readonly [name: string, args: unknown, limit: string])[] = [
  ["spin", {}, "cpu"],
  ["busy", { ms: 100_000 }, "cpu"],
  ["park", {}, "wall"],
  ["grow", {}, "memory"],
  ["grow-pages", {}, "memory"],
  ["allocate", { bytes: 1_000_000_000 }, "memory"],
  ["recurse", {}, "stack"],
  ["log-flood", { bytes: 1_000_000_000 }, "log"],
  ["error-flood", { bytes: 1_000_000_000 }, "log"],
  ["big-output", { bytes: 2_000_000 }, "output"],
  ["big-text", { bytes: 2_000_000 }, "output"],
  ["big-records", { count: 100_000 }, "output"],
  ["pollables", { count: 100_000 }, "resources"],
];

for (const engine of ENGINES) {
  const bench = new Bench(engine);
  const check = (name: string, body: () => Promise<void>) => test(`${engine.kind}: ${name}`, body);

  check("a component says what it is", async () => {
    const bytes = await fixtureBytes("text");
    const component = await bench.fixture("text");
    assert.equal(component.engine, engine.kind);
    assert.equal(component.digest, createHash("sha256").update(bytes).digest("hex"));
    assert.equal(component.http, false);
    assert.deepEqual(component.functions, [
      { interface: null, name: "analyse" },
      { interface: null, name: "reverse" },
    ]);
    assert.ok(component.origin.ms >= 0);
    assert.equal((await bench.fixture("empty")).functions.length, 0);
    assert.equal((await bench.fixture("hello-http")).http, true);
  });

  check("tools come out the same from every engine's WIT", async () => {
    const named = async (name: FixtureName, prefix: string | null) => {
      const { wit, functions } = await bench.fixture(name);
      const { tools, unmapped } = deriveTools(wit, functions, prefix);
      return { tools: tools.map((tool) => tool.name).sort(), unmapped };
    };
    assert.deepEqual(await named("two-faces", "faces"), {
      tools: ["faces_double", "faces_half_of", "faces_left_which", "faces_right_which"],
      unmapped: [],
    });
    const { tools, unmapped } = await named("resources", null);
    assert.deepEqual(tools, ["plain"]);
    assert.deepEqual(unmapped.map((each) => each.name), ["make"]);
    assert.deepEqual((await named("units", "units")).tools, ["units_convert"]);
    assert.deepEqual((await named("test", "test")).tools, [
      "test_error_handling",
      "test_log_lines",
      "test_logging_tool",
      "test_missing_capability",
      "test_report_and_park",
      "test_report_flood",
      "test_simple_text",
      "test_streaming_elicitation",
      "test_tool_with_logging",
      "test_tool_with_progress",
    ]);
  });

  check("shipped plugins answer", async () => {
    const text = await bench.fixture("text");
    assert.deepEqual(await ok(text, "analyse", { input: "ein zwei drei" }), {
      words: 3,
      chars: 13,
    });
    assert.equal((await call(text, "analyse", { input: "" })).kind, "error");
    assert.equal(await ok(text, "reverse", { data: "AAEC" }), "AgEA");
    const units = await bench.fixture("units");
    assert.deepEqual(await ok(units, "convert", { value: 1, from: "km", to: "m" }), {
      value: 1000,
      unit: "m",
    });
  });

  check("functions of interfaces are called by their own names", async () => {
    const faces = await bench.fixture("two-faces");
    assert.equal(await ok(faces, "acme:faces/left@1.0.0#which"), 1);
    assert.equal(await ok(faces, "acme:faces/right@1.0.0#which"), 2);
    assert.equal(await ok(faces, "half-of", { value: 9 }), 4);
  });

  check("values of every WIT type come back as they went", async () => {
    const echo = await bench.fixture("echo");
    for (const [name, values] of Object.entries(ECHOES)) {
      for (const value of values) {
        assert.deepEqual(
          await ok(echo, name, { value }),
          value,
          `${name} ${JSON.stringify(value)}`,
        );
      }
    }
    assert.equal(await ok(echo, "nothing"), null);
    assert.equal(await ok(echo, "all-optional", {}), "nobody no age nowhere");
  });

  check("maps and lists of fixed length come back as they went", async () => {
    const echo = await bench.fixture("echo-new");
    for (const [name, values] of Object.entries(NEW_ECHOES)) {
      for (const value of values) {
        assert.deepEqual(
          await ok(echo, name, { value }),
          value,
          `${name} ${JSON.stringify(value)}`,
        );
      }
    }
  });

  check("the error side of a result is an error with its value", async () => {
    const echo = await bench.fixture("echo");
    const side = async (name: string, args: unknown) => {
      const { kind, json } = await call(echo, name, args);
      return [kind, JSON.parse(json)];
    };
    assert.deepEqual(await side("to-result-text", { fail: false, text: "a" }), ["ok", "a"]);
    assert.deepEqual(await side("to-result-text", { fail: true, text: "ä" }), ["error", "ä"]);
    assert.deepEqual(await side("to-result-bytes", { fail: true, data: "AAE=" }), [
      "error",
      "AAE=",
    ]);
    assert.deepEqual(await side("to-result-empty", { fail: false }), ["ok", null]);
    assert.deepEqual(await side("to-result-empty", { fail: true }), ["error", null]);
    assert.deepEqual(await side("to-result-error", { fail: false }), ["ok", null]);
    assert.equal((await side("to-result-error", { fail: true }))[0], "error");
    const shape = { polygon: [{ x: 1, y: -0.5 }] };
    assert.deepEqual(await side("to-result", { value: { error: shape } }), ["error", shape]);
  });

  check("arguments of the wrong type are refused with their path", async () => {
    const echo = await bench.fixture("echo");
    const wrong: [name: string, args: unknown, path: string, expected: string | undefined][] = [
      ["of-u8", { value: 256 }, "arguments.value", "u8"],
      ["of-u8", {}, "arguments.value", "u8"],
      ["of-u8", { value: 1, more: 2 }, "arguments.more", undefined],
      [
        "of-lines",
        {
          value: [{ from: { x: 1, y: 2 }, to: { x: 1, y: "2" } }],
        },
        "arguments.value[0].to.y",
        "f64",
      ],
      ["of-variant", { value: { circle: null } }, "arguments.value.circle", "f64"],
      ["of-flags", { value: ["read", "fly"] }, "arguments.value[1]", "flags"],
      ["of-bytes", { value: "A" }, "arguments.value", "list<u8>"],
      ["of-deep-lists", { value: [[[1], ["x"]]] }, "arguments.value[0][1][0]", "s64"],
    ];
    for (const [name, args, path, expected] of wrong) {
      const { data } = await failure("invalid_argument", () => call(echo, name, args));
      assert.deepEqual([data.path, data.expected], [path, expected]);
    }
    for (const text of ["", "[]", "{", "null", '{"value":1,"value":1}']) {
      await failure("invalid_argument", () => echo.call(indexOf(echo, "of-u8"), text));
    }
  });

  check("each call has a fresh instance", async () => {
    const hostile = await bench.fixture("hostile", PATIENT);
    for (let count = 0; count < 3; count++) assert.equal(await ok(hostile, "calls-before"), 0);
    const both = await Promise.all([ok(hostile, "calls-before"), ok(hostile, "calls-before")]);
    assert.deepEqual(both, [0, 0]);
  });

  for (const [name, args, limit] of HOSTILE) {
    check(`A18 A19: ${name} ends at its limit of ${limit}, others are unharmed`, async () => {
      const hostile = await bench.fixture("hostile", timeTo(limit));
      const text = await bench.fixture("text");
      const other = ok(text, "analyse", { input: "still here" });
      const { data, message } = await failure("limit", () => call(hostile, name, args));
      assert.equal(data.limit, limit, message);
      if (limit !== "stack") assert.match(message, /limits\.\w+/);
      assert.deepEqual(await other, { words: 2, chars: 10 });
      assert.equal(await ok(hostile, "calls-before"), 0);
    });
  }

  for (const name of ["trap", "trap-oob", "panic"]) {
    check(`${name} is a trap with a message, the next call works`, async () => {
      const hostile = await bench.fixture("hostile", PATIENT);
      const { message } = await failure("trap", () => call(hostile, name));
      assert.match(message, name === "trap-oob" ? /memory/ : /unreachable/);
      assert.equal(await ok(hostile, "calls-before"), 0);
    });
  }

  check("a guest that exits is told by its status", async () => {
    const hostile = await bench.fixture("hostile", PATIENT);
    const { message } = await failure("trap", () => call(hostile, "exit-with", { status: 3 }));
    assert.match(message, /exit with status \d/);
  });

  check("A18: what is too much before the first function runs is refused too", async () => {
    for (
      const [name, limit] of [
        ["big-memory", "memory"],
        ["big-table", "tables"],
        ["many-instances", "instances"],
        ["start-spin", "cpu"],
      ] as const
    ) {
      const { code, data, message } = await refusal(async () => {
        return await call(await bench.load(name, timeTo(limit)), "run");
      });
      // An engine may see at load what no call of it could ever have.
      if (code === "component") assert.match(message, new RegExp(limit.replace(/s$/, "")), name);
      else assert.deepEqual([code, data.limit], ["limit", limit], `${name}: ${message}`);
    }
    await failure("trap", async () => call(await bench.load("start-trap", PATIENT), "run"));
  });

  check("A18: memories and tables are summed over an instance", async () => {
    const memories = await bench.load("growing-memories", { memoryBytes: 4 * 1024 * 1024 });
    assert.equal(await ok(memories, "grow", { pages: 10 }), 4);
    const sum = await failure("limit", () => call(memories, "grow", { pages: 30 }));
    assert.equal(sum.data.limit, "memory");
    const table = await failure("limit", async () => {
      return await call(await bench.load("growing-table", PATIENT), "grow");
    });
    assert.equal(table.data.limit, "tables");
  });

  check("growth that fails takes nothing", async () => {
    const failing = await bench.load("failing-growth", PATIENT);
    assert.equal(await ok(failing, "grow", { times: 10 }), 20);
    await failing.unload();
  });

  check("what breaks the canonical ABI is a trap", async () => {
    const bad = await bench.fixture("bad-results");
    for (const name of ["not-utf8", "beyond", "endless", "bad-char", "bad-enum"]) {
      await failure("trap", () => call(bad, name));
    }
    await failure(
      "trap",
      async () => call(await bench.fixture("bad-realloc"), "take", { text: "x" }),
    );
  });

  check("A21: what is no component is refused with the cause", async () => {
    const sandbox = await bench.sandbox();
    const load = (id: string, bytes: Uint8Array) =>
      sandbox.load({ id, bytes, limits: DEFAULT_LIMITS });
    const refused = async (id: string, bytes: Uint8Array) => {
      const { message, data } = await failure("component", () => load(id, bytes));
      assert.equal(data.plugin, id);
      assert.ok(message.startsWith(`Cannot load plugin "${id}": `), message);
      return message;
    };
    assert.match(await refused("core", await fixtureBytes("core-module")), /core .*module/);
    await refused("truncated", await fixtureBytes("truncated"));
    await refused("flipped", await fixtureBytes("bit-flipped"));
    await refused("random", crypto.getRandomValues(new Uint8Array(1000)));
    await refused("empty", new Uint8Array(0));
    await refused("text", new TextEncoder().encode("(component)"));
    assert.match(
      await refused("precompiled", await fixtureBytes("precompiled")),
      /a precompiled file, not a component: give Atoll the \.wasm it was made from$/,
    );
    assert.deepEqual(await ok(await bench.fixture("tiny"), "add", { a: 1, b: 2 }), 3);
  });

  check("A21: unknown imports are refused, each of them named", async () => {
    const thing = await failure("component", () => bench.load("unknown-import"));
    assert.deepEqual(thing.data.imports, ["acme:host/thing@1.2.0"]);
    assert.match(thing.message, /acme:host\/thing@1\.2\.0/);
    const beam = await failure("component", () => bench.load("unknown-wasi"));
    assert.deepEqual(beam.data.imports, ["wasi:teleport/beam@0.2.0"]);
  });

  check("nothing of the host is in reach", async () => {
    const hostile = await bench.fixture("hostile", PATIENT);
    for (const name of ["environment", "preopens"]) assert.deepEqual(await ok(hostile, name), []);
    assert.deepEqual(await ok(hostile, "command-line"), []);
    assert.equal(await ok(hostile, "read-input"), "");
    for (
      const [name, args] of [
        ["read-file", { path: "/etc/passwd" }],
        ["write-file", { path: "/tmp/atoll-guest" }],
        ["connect-to", { address: "127.0.0.1:80" }],
        ["listen-on", { address: "127.0.0.1:0" }],
        ["resolve-name", { name: "localhost" }],
      ] as const
    ) {
      assert.equal((await call(hostile, name, args)).kind, "error", name);
    }
    assert.notEqual(await ok(hostile, "random"), await ok(hostile, "random"));
  });

  if (engine.kind === "native") {
    check(
      "a guest sees the granted environment, another one of the same code nothing",
      async () => {
        const env = { LANG: "de_DE", TOKEN: "a=b ü" };
        const granted = await bench.load("hostile", PATIENT, { grants: { env } });
        for (let turn = 0; turn < 2; turn++) {
          assert.deepEqual(await ok(granted, "environment"), ["LANG=de_DE", "TOKEN=a=b ü"]);
        }
        assert.deepEqual(await ok(granted, "preopens"), []);
        assert.deepEqual(await ok(await bench.fixture("hostile", PATIENT), "environment"), []);
        await granted.unload();
      },
    );
  } else {
    check("what it cannot grant is refused at load, by name", async () => {
      const refused = await failure(
        "unsupported",
        () => bench.load("hostile", {}, { grants: { env: { LANG: "C", TOKEN: "secret" } } }),
      );
      assert.equal(
        refused.message,
        'Cannot load plugin "hostile": the portable engine cannot grant env.LANG, env.TOKEN; ' +
          "it needs the native engine",
      );
      const nothing = await bench.load("tiny", {}, { grants: { env: {} } });
      assert.equal(await ok(nothing, "add", { a: 1, b: 2 }), 3);
      await nothing.unload();
    });
  }

  check("time and chance are there, coarse and fresh", async () => {
    const hostile = await bench.fixture("hostile", PATIENT);
    const now = Number(await ok(hostile, "now")) / 1e6;
    assert.ok(Math.abs(now - Date.now()) < 60_000, String(now));
    assert.equal(Number(await ok(hostile, "monotonic")) % 1_000_000, 0);
    assert.ok(Number(await ok(hostile, "sleep", { ms: 30 })) >= 30);
    assert.equal(await ok(hostile, "random-bytes", { bytes: 100_000 }), 100_000);
  });

  check("lines that a guest writes arrive with their stream", async () => {
    const lines: string[] = [];
    const hostile = await bench.load("hostile", {}, {
      onLog: ({ stream, text }) => void lines.push(`${stream}: ${text}`),
    });
    await ok(hostile, "log", { line: "grüß dich" });
    await until(() => lines.length >= 2);
    assert.deepEqual(lines.sort(), ["stderr: grüß dich", "stdout: grüß dich"]);
    await hostile.unload();
  });

  check("lines carry the trace-id of their request, nonsense is ignored", async () => {
    const lines: (string | undefined)[] = [];
    const hostile = await bench.load("hostile", {}, {
      onLog: ({ text, traceId }) => void lines.push(`${text} ${traceId}`),
    });
    const id = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (const [line, traceparent] of [["a", `00-${id}-00f067aa0ba902b7-01`], ["b", "00-x"]]) {
      await call(hostile, "log", { line }, { traceparent: traceparent! });
    }
    await call(hostile, "log", { line: "c" }, { traceparent: null });
    await until(() => lines.length >= 6);
    const untraced = ["b undefined", "b undefined", "c undefined", "c undefined"];
    assert.deepEqual(lines.sort(), [`a ${id}`, `a ${id}`, ...untraced]);
    await hostile.unload();
  });

  check("a caller's budget ends a call with deadline, its signal with cancelled", async () => {
    const hostile = await bench.fixture("hostile", PATIENT);
    for (const name of ["park", "spin"]) {
      await failure("deadline", () => call(hostile, name, {}, { budgetMs: 100 }));
      const controller = new AbortController();
      const running = failure("cancelled", () => {
        return call(hostile, name, {}, { signal: controller.signal });
      });
      setTimeout(() => controller.abort(), 50);
      await running;
    }
    const aborted = AbortSignal.abort();
    await failure("cancelled", () => call(hostile, "park", {}, { signal: aborted }));
  });

  check("A20: calls beyond the queue are overloaded, none is lost", async () => {
    const component = await bench.load("hostile", { concurrency: 1, queue: 2, wallMs: 20_000 });
    const runs = Array.from({ length: 10 }, () => call(component, "sleep", { ms: 50 }));
    const ends = await Promise.allSettled(runs);
    const refused = ends.filter((end) => end.status === "rejected");
    assert.ok(refused.length >= 6, `${refused.length} refused`);
    assert.ok(refused.length < 10);
    for (const { reason } of refused) {
      const { data } = await failure("overloaded", () => Promise.reject(reason));
      assert.ok((data.retryAfterSeconds ?? 0) > 0);
    }
    await component.unload();
  });

  check(
    "A18: the wall clock runs while a call waits for its place, and gives its name",
    async () => {
      const component = await bench.load("hostile", { concurrency: 1, queue: 2, wallMs: 900 });
      const first = call(component, "sleep", { ms: 300 });
      const error = await failure("limit", () => call(component, "park", {}));
      assert.deepEqual([error.data.limit, error.data.key], ["wall", "limits.wallMs"]);
      await first;
      await component.unload();
    },
  );

  check("unloading waits for what runs and refuses what comes", async () => {
    const component = await bench.load("hostile");
    const running = call(component, "sleep", { ms: 100 });
    const unloading = component.unload();
    await failure("closed", () => call(component, "calls-before"));
    assert.equal((await running).kind, "ok");
    await unloading;
    await component.unload();
    await failure("closed", () => call(component, "calls-before"));
  });

  check("one component can be there twice, with limits of its own each", async () => {
    const small = await bench.load("hostile", { memoryBytes: 4 * 1024 * 1024 });
    const large = await bench.load("hostile");
    const bytes = 8 * 1024 * 1024;
    const { data } = await failure("limit", () => call(small, "allocate", { bytes }));
    assert.deepEqual([data.limit, data.value], ["memory", 4 * 1024 * 1024]);
    assert.equal(await ok(large, "allocate", { bytes }), bytes);
    await Promise.all([small.unload(), large.unload()]);
  });

  check("a closed sandbox refuses to load", async () => {
    const sandbox = await engine.open();
    const tiny = await sandbox.load({
      id: "tiny",
      bytes: await fixtureBytes("tiny"),
      limits: DEFAULT_LIMITS,
    });
    assert.equal(await ok(tiny, "add", { a: 2, b: 2 }), 4);
    await sandbox.close();
    await failure("closed", () => call(tiny, "add", { a: 2, b: 2 }));
    await bench.close();
  });
}

/** The AtollError that something ends with. */
async function refusal(run: () => Promise<unknown>): Promise<AtollError> {
  const error = await run().then(() => null, (thrown: unknown) => thrown);
  if (error instanceof AtollError) return error;
  return assert.fail(`not refused: ${error}`);
}
