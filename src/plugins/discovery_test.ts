/** What is a plugin, what is ignored, and what is refused. */
import { deepEqual, equal, match, throws } from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "../../tests/harness.ts";
import { discover, idOfFile } from "./discovery.ts";

/** A folder with these files; `plugin.json` texts are made from ids. */
function tree(files: Record<string, string>, read: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "atoll-discovery-"));
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    read(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const manifest = (id: string) => JSON.stringify({ id, version: "1.0.0", component: "x.wasm" });

test("a folder of plugins has components and plugin folders, and other children are ignored", () => {
  tree({
    "b/plugin.json": manifest("bee"),
    "a.wasm": "",
    "README.md": "",
    "sdk/src/index.ts": "",
    "c/nested/plugin.json": manifest("too-deep"),
  }, (folder) => {
    const { found, broken } = discover([folder]);
    deepEqual(found.map((plugin) => [plugin.id, plugin.path.slice(folder.length + 1)]), [
      ["a", "a.wasm"],
      ["bee", "b"],
    ]);
    deepEqual(broken, []);
  });
});

test("a path may be one component or one plugin folder; the order of the paths is kept", () => {
  tree({ "z.wasm": "", "p/plugin.json": manifest("p") }, (folder) => {
    const { found } = discover([join(folder, "z.wasm"), join(folder, "p"), folder]);
    deepEqual(found.map((plugin) => plugin.id), ["z", "p"]);
  });
});

test("a missing path and a file that is no component are errors", () => {
  throws(
    () => discover(["/nowhere/plugins"]),
    /^AtollError: Cannot find plugins at "\/nowhere\/plugins": there is no such file or folder/,
  );
  tree({ "a.txt": "" }, (folder) => {
    throws(() => discover([join(folder, "a.txt")]), /expected a \.wasm file or a folder$/);
  });
});

test("a broken manifest does not hide the other plugins", () => {
  tree({ "bad/plugin.json": "{", "good.wasm": "" }, (folder) => {
    const { found, broken } = discover([folder]);
    deepEqual(found.map((plugin) => plugin.id), ["good"]);
    equal(broken[0]?.id, "bad");
    match(
      broken[0]?.error.message ?? "",
      /bad\/plugin\.json": line 1, column 2: expected a quoted/,
    );
  });
});

test("A15: two plugins with one id are both refused, naming both", () => {
  tree({ "x/plugin.json": manifest("same"), "same.wasm": "", "ok.wasm": "" }, (folder) => {
    const { found, broken } = discover([folder]);
    deepEqual(found.map((plugin) => plugin.id), ["ok"]);
    equal(broken.length, 1);
    match(broken[0]?.error.message ?? "", /"same": ".*\/same\.wasm" and ".*\/x" have the same id/);
  });
});

test("a file's name becomes a valid id", () => {
  deepEqual(
    ["/a/My tools_2.wasm", "/9lives.wasm", "/é.x.wasm", `/${"a".repeat(80)}.wasm`].map(idOfFile),
    ["my-tools-2", "p-9lives", "x", "a".repeat(64)],
  );
  throws(() => idOfFile("/---.wasm"), /has no letter or digit/);
});

test("links that lead to themselves are ignored in a folder and refused by name", () => {
  tree({ "ok.wasm": "" }, (folder) => {
    const loop = join(folder, "loop.wasm");
    symlinkSync("loop.wasm", loop);
    deepEqual(discover([folder]).found.map((plugin) => plugin.id), ["ok"]);
    throws(() => discover([loop]), { code: "config", message: /there is no such file or folder/ });
  });
});

test("what is below a file, or neither file nor folder, is refused", () => {
  tree({ "ok.wasm": "" }, (folder) => {
    const below = join(folder, "ok.wasm", "x");
    throws(() => discover([below]), { code: "config", message: /there is no such file or folder/ });
    throws(() => discover(["/dev/null"]), {
      code: "config",
      message: /expected a .wasm file or a folder/,
    });
  });
});
