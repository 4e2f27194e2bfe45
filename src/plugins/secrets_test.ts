import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "../../tests/harness.ts";
import { AtollError } from "../core/errors.ts";
import { NO_GRANTS, type SecretGrant } from "../core/grants.ts";
import { createLogger } from "../telemetry/log.ts";
import { withSecrets } from "./secrets.ts";

const hosts = ["api.example.com"];

function read(secret: Omit<SecretGrant, "hosts">, environment = {}): string | undefined {
  const grants = { ...NO_GRANTS, secrets: { TOKEN: { ...secret, hosts } } };
  return withSecrets("p", grants, environment).secrets?.["TOKEN"]?.value;
}

function refusal(secret: Omit<SecretGrant, "hosts">, environment = {}): string {
  try {
    read(secret, environment);
  } catch (thrown) {
    assert.ok(thrown instanceof AtollError);
    assert.equal(thrown.code, "config");
    return thrown.message;
  }
  return assert.fail("a refusal was expected");
}

test("a secret's value comes from a variable or a file", () => {
  const folder = mkdtempSync(join(tmpdir(), "atoll-secret-"));
  try {
    const file = join(folder, "token");
    writeFileSync(file, "from a file\r\n");
    assert.equal(read({ file }), "from a file");
    assert.equal(read({ env: "T" }, { T: "from a variable" }), "from a variable");
    writeFileSync(file, "two\nlines\n");
    assert.match(refusal({ file }), /secret TOKEN has a character that a header field cannot hold/);
  } finally {
    rmSync(folder, { recursive: true });
  }
  assert.deepEqual(withSecrets("p", NO_GRANTS), NO_GRANTS);
});

test("a value that is not there or cannot be sent is refused by its name", () => {
  assert.equal(
    refusal({ env: "GONE" }),
    'Cannot load plugin "p": the secret TOKEN is in no variable GONE of the environment',
  );
  assert.match(refusal({ file: "/no/such/file" }), /from the file "\/no\/such\/file": ENOENT$/);
  assert.match(refusal({ env: "T" }, { T: "" }), /the secret TOKEN is empty$/);
  assert.equal(
    refusal({ env: "T" }, { T: "s3cr3t7" }),
    'Cannot load plugin "p": the secret TOKEN has fewer than 8 characters: too short to keep out of logs',
  );
  assert.equal(read({ env: "T" }, { T: "s3cr3t-8" }), "s3cr3t-8");
  const long = "hidden-".repeat(200);
  const message = refusal({ env: "T" }, { T: long });
  assert.match(message, /more than 1024 bytes$/);
  assert.ok(!message.includes("hidden"));
});

test("no log line shows a value that was read", () => {
  const value = 'quoted"s3cr3t';
  read({ env: "T" }, { T: value });
  for (const format of ["text", "json"] as const) {
    const lines: string[] = [];
    const log = createLogger({ format, write: (text) => lines.push(text) });
    log.info(`the server said ${value}`, { header: `Bearer ${value}` });
    assert.equal(lines.length, 1);
    assert.ok(!lines[0]?.includes("s3cr3t"), lines[0]);
    assert.equal(lines[0]?.split("[secret TOKEN]").length, 3, lines[0]);
  }
});
