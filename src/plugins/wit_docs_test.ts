import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "../../tests/harness.ts";
import { fixtureBytes, fixtureFolder } from "../../tests/fixtures/build.ts";
import { withWitDocs } from "./wit_docs.ts";

const PREAMBLE = Uint8Array.of(0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0);

/** The section's JSON, taken apart by hand. */
function docsOf(source: string, world?: string): unknown {
  const bytes = withWitDocs(PREAMBLE, [source], world);
  const text = new TextDecoder().decode(bytes);
  const at = text.indexOf("package-docs\u0001");
  return at < 0 ? null : JSON.parse(text.slice(at + "package-docs\u0001".length)).worlds.root;
}

test("documentation of a world, its functions and the types they use", () => {
  const docs = docsOf(`
    package a:b@1.0.0;
    /// Not this one.
    interface other { /// nor this
      f: func(); }
    /// The world.
    world w {
      import wasi:clocks/monotonic-clock@0.2.6;
      /// An import is not a tool.
      import log: func(line: string);
      use other.{t};
      /// A record.
      /// Two lines.
      record r { /// first
        %from: list<tuple<u8, kind>>, plain: u8, /** last */ z: u8 }
      /// Used through r.
      enum kind { /// one
        a, b }
      /// Used by nothing, so it may be absent.
      record unused { x: u8 }
      // an ordinary comment
      /// Does it.
      @since(version = 1.0.0)
      export do-it: func(%from: r) -> result<r, string>;
      /// Maybe absent.
      @unstable(feature = x)
      export later: func();
      export silent: func();
      export wasi:http/incoming-handler@0.2.6;
      /// Inside.
      export api: interface { type t = u8; /// Of api.
        go: func(x: t); quiet: func(); }
    }`);
  assert.deepEqual(docs, {
    docs: "The world.",
    types: {
      r: { docs: "A record.\nTwo lines.", items: { from: "first", z: "last" } },
      kind: { docs: "Used through r.", items: { a: "one" } },
    },
    funcs: { "do-it": { docs: "Does it." } },
    interfaces: { api: { docs: "Inside.", funcs: { go: { docs: "Of api." } } } },
  });
});

test("without documentation, or with a choice of worlds, nothing is added", () => {
  assert.equal(docsOf("package a:b; world w { export f: func(); }"), null);
  const two = "/// A\nworld a { }\n/// B\nworld b { }";
  assert.equal(docsOf(two), null);
  assert.deepEqual(docsOf(two, "b"), { docs: "B" });
});

test("a decoder finds the documentation in real components", async () => {
  const { componentWit } = await import("@bytecodealliance/jco-transpile/wasm-tools");
  for (const name of ["text", "units", "hostile", "echo", "test"] as const) {
    const source = await readFile(join(fixtureFolder(name), "wit", `${name}.wit`), "utf8");
    const component = await fixtureBytes(name);
    const documented = withWitDocs(component, [source]);
    const wit = await componentWit(documented);
    const expected = source.split("\n").filter((line) => line.trim().startsWith("///"));
    for (const line of expected) assert.ok(wit.includes(line.trim()), `${name}: ${line.trim()}`);
    assert.equal(withWitDocs(documented, [source]), documented, "a second time changes nothing");
  }
});
