import assert from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { AtollError } from "../core/errors.ts";
import type { ExportedFunction } from "../sandbox/sandbox.ts";
import { deriveTools } from "./tools.ts";

const WIT = `package root:component;

world root {
  export demo:text/api@0.1.0;
  export demo:text/more@0.1.0;
  export wasi:http/incoming-handler@0.2.6;
  export wasi:http/handler@0.3.0;
  export later: async func();
  /// Says it.
  export simple-text: func(who: option<string>) -> result<string, string>;
  export nothing: func();
  export init: func(shim: string, script: string) -> result<_, string>;
}

package demo:text@0.1.0 {
  interface api {
    record stats { words: u32, unit-price: option<f64> }
    analyse: func(input: string) -> stats;
    only-here: func() -> u8;
    pour: func(into: stream<u8>);
    resource thing { name: func() -> string; }
  }
  interface more {
    analyse: func(input: list<u8>) -> bool;
  }
}

package wasi:http@0.2.6 {
  interface incoming-handler {
    handle: func();
  }
}

package wasi:http@0.3.0 {
  interface handler {
    handle: async func();
  }
}
`;

const FUNCTIONS: ExportedFunction[] = [
  { interface: null, name: "nothing" },
  { interface: null, name: "simple-text" },
  { interface: "demo:text/more@0.1.0", name: "analyse" },
  { interface: "demo:text/api@0.1.0", name: "analyse" },
  { interface: "demo:text/api@0.1.0", name: "only-here" },
  { interface: null, name: "init" },
];

test("tools: names, functions and what is left out", () => {
  const { tools, unmapped } = deriveTools(WIT, FUNCTIONS, "test");
  assert.deepEqual(tools.map((tool) => [tool.name, tool.functionIndex, tool.wrapsResult]), [
    ["test_api_analyse", 3, false],
    ["test_only_here", 4, true],
    ["test_more_analyse", 2, true],
    ["test_simple_text", 1, true],
    ["test_nothing", 0, false],
  ]);
  assert.deepEqual(unmapped.map((each) => [each.interface, each.name]), [
    ["demo:text/api@0.1.0", "pour"],
    ["demo:text/api@0.1.0", "thing.name"],
    ["wasi:http/incoming-handler@0.2.6", "handle"],
    ["wasi:http/handler@0.3.0", "handle"],
    [null, "later"],
    [null, "init"],
  ]);
  const reasons = new Map(unmapped.map((each) => [each.interface ?? each.name, each.reason]));
  assert.match(reasons.get("wasi:http/incoming-handler@0.2.6") ?? "", /mounted as a route/);
  assert.match(reasons.get("wasi:http/handler@0.3.0") ?? "", /mounted as a route/);
  assert.match(reasons.get("later") ?? "", /asynchronous, which takes the native engine/);
  assert.match(unmapped[0]?.reason ?? "", /into holds stream/);
});

test("tools: schemas and descriptions", () => {
  const { tools } = deriveTools(WIT, FUNCTIONS, null);
  const [analyse, , , simple, nothing] = tools;
  assert.equal(simple?.description, "Says it.");
  assert.deepEqual(simple?.inputSchema, {
    type: "object",
    properties: { who: { type: ["string", "null"] } },
    required: [],
    additionalProperties: false,
  });
  assert.deepEqual(simple?.outputSchema, { type: "string" });
  assert.equal(nothing?.outputSchema, undefined);
  assert.deepEqual(analyse?.outputSchema, {
    type: "object",
    properties: {
      words: { type: "integer", minimum: 0, maximum: 4294967295 },
      unit_price: {
        anyOf: [
          { type: "number" },
          { enum: ["NaN", "Infinity", "-Infinity"] },
          { type: "null" },
        ],
      },
    },
    required: ["words", "unit_price"],
    additionalProperties: false,
  });
});

function manifestError(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof AtollError && thrown.code === "manifest") return thrown.message;
    throw thrown;
  }
  return assert.fail("no error");
}

test("tools: A15: two equal names are refused, naming both", () => {
  const wit = `package root:component;
world root { export a:b/api; export c:d/api; }
package a:b { interface api { f: func(); } }
package c:d { interface api { f: func(); } }
`;
  const functions = [{ interface: "a:b/api", name: "f" }, { interface: "c:d/api", name: "f" }];
  const message = manifestError(() => deriveTools(wit, functions, "x"));
  assert.match(message, /"x_api_f": both function f of a:b\/api and function f of c:d\/api/);
});

test("tools: a name that is too long or has other characters is refused", () => {
  const prefix = "p".repeat(60);
  assert.match(manifestError(() => deriveTools(WIT, FUNCTIONS, prefix)), /characters, 64 are/);
  assert.match(manifestError(() => deriveTools(WIT, FUNCTIONS, "a b")), /only letters/);
  assert.equal(deriveTools(WIT, FUNCTIONS, "my-id").tools[0]?.name, "my_id_api_analyse");
});

test("tools: types that would be huge when written out become no tool", () => {
  const types = Array.from({ length: 30 }, (_, i) => `type t${i + 1} = tuple<t${i}, t${i}>;`);
  const wit = `package root:component;
world root { type t0 = u8; ${types.join(" ")} export f: func(x: t30); }`;
  const { tools, unmapped } = deriveTools(wit, [{ interface: null, name: "f" }], null);
  assert.equal(tools.length, 0);
  assert.match(unmapped[0]?.reason ?? "", /larger than 10000 nodes/);
});

/** A record of many fields of one type that has long documentation, and functions with it. */
function documentedRecord(fields: number, functions: readonly string[]): string {
  const list = Array.from({ length: fields }, (_, i) => `f${i}: t`).join(", ");
  return `package root:component;
world root {
  /// ${"d".repeat(60_000)}
  type t = u8;
  record r { ${list} }
  ${functions.map((name) => `export ${name}: func(x: r);`).join("\n  ")}
  export small: func() -> u8;
}`;
}

function atTop(...names: readonly string[]): ExportedFunction[] {
  return names.map((name) => ({ interface: null, name }));
}

test("tools: a tool whose schema would be huge is left out with its name, the others stay", () => {
  const functions = atTop("f", "small");
  const { tools, unmapped } = deriveTools(documentedRecord(9_900, ["f"]), functions, "x");
  assert.deepEqual(tools.map((tool) => tool.name), ["x_small"]);
  assert.equal(unmapped[0]?.oversized, true);
  assert.match(unmapped[0]?.reason ?? "", /"x_f" have [0-9]{7,} characters, 262144 are allowed/);
});

test("tools: the list of one component has an end, whatever the order of its functions", () => {
  // Each below the limit of a tool, all together above that of a component.
  const names = Array.from({ length: 40 }, (_, i) => `f${i + 10}`);
  const wit = documentedRecord(130, names);
  const { tools, unmapped } = deriveTools(wit, atTop(...names, "small"), null);
  const length = tools.reduce((sum, tool) => sum + JSON.stringify(tool).length, 0);
  assert.ok(length > 3_000_000 && length < 4_400_000, String(length));
  assert.match(unmapped.at(-1)?.reason ?? "", /with the tool "f49", .* more than 4194304/);
  const turned = deriveTools(documentedRecord(130, names.toReversed()), atTop(...names), null);
  const kept = (all: typeof tools) =>
    all.map((tool) => tool.name).filter((name) => name !== "small").sort();
  assert.deepEqual(kept(turned.tools), kept(tools));
});

test("tools: a long description is cut", () => {
  const wit = `package root:component;
world root {
  /// ${"d".repeat(60_000)}
  export f: func();
}`;
  const [tool] = deriveTools(wit, atTop("f"), null).tools;
  assert.equal(tool?.description?.length, 4096);
});

test("tools: words in capitals are written in small letters", () => {
  const wit = `package root:component;
world root { export get-URL: func(the-URL: string) -> string; }`;
  const [tool] = deriveTools(wit, atTop("get-URL"), "x").tools;
  assert.equal(tool?.name, "x_get_url");
  // Arguments keep the names that the engines know them by.
  assert.deepEqual(Object.keys(tool?.inputSchema["properties"] ?? {}), ["the_URL"]);
});

test("tools: the start of the Python runtime is no tool, other interfaces of that name are", () => {
  const wit = `package root:component;
world root {
  export exports: interface {
    init: func(app-name: string, symbols: string) -> result<_, string>;
    list: func() -> string;
  }
}`;
  const functions = ["init", "list"].map((name) => ({ interface: "exports", name }));
  const { tools, unmapped } = deriveTools(wit, functions, null);
  assert.deepEqual(tools.map((tool) => tool.name), ["list"]);
  assert.deepEqual(unmapped.map(({ name, reason }) => [name, reason]), [
    ["init", "it is the start of the Python runtime"],
  ]);
  const own = wit.replace("app-name: string, symbols", "what");
  assert.equal(deriveTools(own, functions, null).tools.length, 2);
});
