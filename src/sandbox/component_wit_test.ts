import assert from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { fixtureBytes } from "../../tests/fixtures/build.ts";
import { renameExterns, renameInterfaces, restoreInterfaces } from "./component_wit.ts";

test("component WIT: renaming to the same names gives the same bytes", async () => {
  for (const name of ["two-faces", "resources", "hello-http", "units"] as const) {
    const bytes = await fixtureBytes(name);
    assert.deepEqual(renameExterns(bytes, (item) => item.name), bytes, name);
  }
});

test("component WIT: interfaces are renamed, functions are not", async () => {
  const { names } = renameInterfaces(await fixtureBytes("two-faces"), "abc");
  assert.deepEqual(names, ["acme:faces/left@1.0.0", "acme:faces/right@1.0.0"]);
  const functions: string[] = [];
  renameExterns(await fixtureBytes("text"), ({ name, exportedFunction }) => {
    if (exportedFunction) functions.push(name);
    return name;
  });
  assert.deepEqual(functions, ["analyse", "reverse"]);
});

test("component WIT: names come back in packages of their own", () => {
  const printed = `package root:component;

interface abc0 {
  use abc1.{t};

  f: func(x: t);
}

interface abc1 {
  type t = u8;
}

world root {
  import abc1;
  export abc0;
}
`;
  const names = ["demo:text/api@0.1.0", "demo:text/types@0.1.0"];
  assert.equal(
    restoreInterfaces(printed, names, "abc"),
    `package root:component;

world root {
  import demo:text/types@0.1.0;
  export demo:text/api@0.1.0;
}


package demo:text@0.1.0 {
  interface api {
    use demo:text/types@0.1.0.{t};

    f: func(x: t);
  }

  interface types {
    type t = u8;
  }
}
`,
  );
});
