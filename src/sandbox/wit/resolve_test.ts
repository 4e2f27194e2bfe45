import assert from "node:assert/strict";
import { test } from "../../../tests/harness.ts";
import { AtollError } from "../../core/errors.ts";
import { unserializable, type WitFunction, type WitType, type World } from "./model.ts";
import { readWorld } from "./resolve.ts";

const TEXT = `package root:component;

/// What this component does.
world root {
  import wasi:io/poll@0.3.0-rc-2026-03-15;
  import log: func(line: string);
  @since(version = 0.1.0)
  import helper: interface {
    help: func();
  }
  use demo:types/money@1.2.3.{amount, currency as coin};

  type price = amount;

  export demo:text/api@0.1.0;
  export plain: func(%list: list<u8>, at: price) -> result<_, coin>;
}

/// Types of money.
package demo:types@1.2.3 {
  interface money {
    /// Smallest units.
    type amount = u64;

    enum currency {
      /// Of Europe.
      eur,
      %flags,
    }
  }
}

package demo:text@0.1.0 {
  @unstable(feature = "a)b", other = x)
  interface api {
    use demo:types/money@1.2.3.{amount};

    /**
     * A resource
     */
    resource thing {
      constructor(name: string);
      rename: func(name: string) -> result;
      count: static func() -> u32;
      size: get() -> u32;
    }

    type things = list<thing>;

    flags may { read, write, }

    variant shape { empty, circle(f64), pair(tuple<s8, char>), }

    record everything {
      /// How much.
      unit-price: amount,
      a: list<bool, 4>,
      b: map<string, option<option<float32>>>,
      c: stream<u8>,
      d: future,
      e: borrow<thing>,
      f: own<thing>,
      g: result<u16>,
      h: error-context,
    }

    /// Reads it.
    /// All of it.
    read: async func(what: everything, how: may) -> shape;
    give: func() -> things;
  }
}

package wasi:io@0.3.0-rc-2026-03-15 {
  interface poll {
    resource pollable {
      block: func();
    }
    poll: func(in: list<borrow<pollable>>) -> list<u32>;
  }
}
`;

function exportedFunctions(world: World): Map<string, WitFunction> {
  const all = world.exports.flatMap((item) =>
    item.kind === "function" ? [item.function] : item.functions
  );
  return new Map(all.map((func) => [func.name, func]));
}

test("WIT: a world with everything in it is read", () => {
  const world = readWorld(TEXT);
  assert.equal(world.docs, "What this component does.");
  assert.deepEqual(
    world.imports.map((item) => item.kind === "function" ? item.function.name : item.name),
    ["wasi:io/poll@0.3.0-rc-2026-03-15", "log", "helper"],
  );
  const functions = exportedFunctions(world);
  assert.deepEqual(
    [...functions.values()].map(({ name, kind, resource }) => [name, kind, resource]),
    [
      ["read", "free", undefined],
      ["give", "free", undefined],
      ["constructor", "constructor", "thing"],
      ["rename", "method", "thing"],
      ["count", "static", "thing"],
      ["size", "accessor", "thing"],
      ["plain", "free", undefined],
    ],
  );
  const plain = functions.get("plain");
  assert.deepEqual(plain?.params, [
    { name: "list", type: { kind: "list", element: { kind: "u8" } } },
    { name: "at", type: { kind: "u64", docs: "Smallest units." } },
  ]);
  assert.deepEqual(plain?.result, {
    kind: "result",
    ok: null,
    error: {
      kind: "enum",
      name: "currency",
      cases: [{ name: "eur", docs: "Of Europe." }, { name: "flags" }],
    },
  });
  const read = functions.get("read");
  assert.equal(read?.docs, "Reads it.\nAll of it.");
  assert.equal(read?.async, true);
  assert.equal(read?.result?.kind, "variant");
});

test("WIT: types of a record are resolved, handles and streams are found", () => {
  const what = exportedFunctions(readWorld(TEXT)).get("read")?.params[0]?.type;
  assert.ok(what?.kind === "record");
  const types = Object.fromEntries(what.fields.map((field) => [field.name, field.type]));
  const float: WitType = { kind: "f32" };
  assert.deepEqual(types, {
    "unit-price": { kind: "u64", docs: "Smallest units." },
    a: { kind: "list", element: { kind: "bool" }, length: 4 },
    b: {
      kind: "map",
      key: { kind: "string" },
      value: { kind: "option", some: { kind: "option", some: float } },
    },
    c: { kind: "stream", element: { kind: "u8" } },
    d: { kind: "future", element: null },
    e: { kind: "handle", resource: "thing", borrowed: true },
    f: { kind: "handle", resource: "thing", borrowed: false },
    g: { kind: "result", ok: { kind: "u16" }, error: null },
    h: { kind: "error-context" },
  });
  assert.equal(what.fields[0]?.docs, "How much.");
  assert.equal(unserializable(what), "stream");
  const give = exportedFunctions(readWorld(TEXT)).get("give")?.result ?? null;
  assert.equal(unserializable(give), "own<thing>");
});

test("WIT: what cannot be read is refused with line and column", () => {
  const refused: [text: string, message: RegExp][] = [
    ["", /at 1:1: expected `package`, got the end/],
    ["package a:b;\nworld w {\n  export f: func(x: u8;\n}", /at 3:23: expected `\)`, got `;`/],
    ["package a:b;\nworld w { $ }", /at 2:11: .*got `\$`/],
    ["package a:b;\nworld w { export f: func() -> nope; }", /type `nope` is not defined/],
    ["package a:b;\nworld w { export c:d/e; }", /interface `c:d\/e` is not defined/],
    ["package a:b;\nworld w { type a = list<b>; type b = a; export f: func(x: a); }", /itself/],
    ["package a:b;\nworld w { /* /* */ ", /at 2:11: a comment is not closed/],
    ["package a:b@x;", /at 1:13: expected a version/],
    ["package a:b;", /it has no world/],
    [
      `package a:b;\nworld w { export f: func(x: ${"list<".repeat(200)}u8${">".repeat(200)}); }`,
      /nested deeper/,
    ],
  ];
  for (const [text, message] of refused) {
    assert.throws(() => readWorld(text), (thrown) => {
      assert.ok(thrown instanceof AtollError);
      assert.equal(thrown.code, "component");
      assert.match(thrown.message, message);
      return true;
    });
  }
});

test("WIT: get and set are names of packages and interfaces, accessors only before a bracket", () => {
  const world = readWorld(`package root:component;

world root {
  import acme:set/things;
  import label: get;
  export acme:get/api@1.0.0;
  export size: get() -> u32;
  export store: set(v: u32);
}

package root:component {
  interface get { f: func(); }
}

package acme:set {
  interface things { f: func(); }
}

package acme:get@1.0.0 {
  interface api { f: func(); }
}
`);
  const named = (items: World["exports"]) =>
    items.map((item) =>
      item.kind === "interface" ? item.name : `${item.function.name} ${item.function.kind}`
    );
  assert.deepEqual(named(world.imports), ["acme:set/things", "label"]);
  assert.deepEqual(named(world.exports), [
    "acme:get/api@1.0.0",
    "size accessor",
    "store accessor",
  ]);
});
