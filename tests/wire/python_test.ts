/** The frames of `tests/corpus/wire`, read in Python by `vectors.py`. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { skipped, test } from "../harness.ts";
import { isComplete } from "../runtimes.ts";

const CORPUS = fileURLToPath(new URL("../corpus/wire/", import.meta.url));
const PROGRAM = fileURLToPath(new URL("./vectors.py", import.meta.url));

const { error } = spawnSync("python3", ["--version"]);
if (error === undefined || isComplete()) {
  test("A26: a reader in Python, and one that knows no extension, agree on every frame", () => {
    const { error, status, stdout, stderr } = spawnSync("python3", [PROGRAM, CORPUS], {
      encoding: "utf8",
    });
    assert.equal(error, undefined, "python3 is needed for this test: install it (Debian: python3)");
    assert.equal(status, 0, stdout + stderr);
    const files = readdirSync(CORPUS).filter((name) => name.endsWith(".frame"));
    assert.equal(stdout.trim(), `${files.length} passed, 0 failed`);
  });
} else {
  skipped("the reader of frames in Python", "python3 is missing (Debian: python3)");
}
