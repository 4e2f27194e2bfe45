/** The command line as a person or a script meets it: child processes, exit statuses, messages. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { nativeObstacle } from "../../native/build/build.ts";
import { runtime, test } from "../harness.ts";
import { fixture } from "../fixtures/build.ts";
import { atoll, BIN, Child, start } from "./child.ts";

async function inFolder(
  files: Record<string, string>,
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "atoll-cli-"));
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("--version names Atoll and the runtime", async () => {
  const { status, stdout, stderr } = await atoll(["--version"]);
  deepEqual([status, stderr], [0, ""]);
  match(stdout, new RegExp(`^atoll \\d+\\.\\d+\\.\\d+ \\(${runtime} \\d+\\.\\d+\\.\\d+\\)\n$`));
});

test("a mistake on the command line ends with 2, the nearest word and a hint", async () => {
  const { status, stdout, stderr } = await atoll(["serve", "--prot", "1"]);
  deepEqual([status, stdout], [2, ""]);
  equal(
    stderr,
    'atoll: Cannot understand "--prot": unknown flag of `atoll serve`; did you mean --port?\n' +
      "  hint: `atoll help serve` shows what can be given\n",
  );
});

test("a configuration with a wrong key ends with 2, naming file, line and the right key", async () => {
  await inFolder({ "atoll.json": '{\n  "prt": 1\n}' }, async (cwd) => {
    const { status, stderr } = await atoll(["serve"], { cwd });
    equal(status, 2);
    match(
      stderr,
      /^atoll: Cannot read configuration ".*\/atoll\.json": line 2: prt: unknown key; /,
    );
    match(stderr, /did you mean "port"\?\n$/);
  });
});

test("a plugin path that is missing ends with 2 and is named", async () => {
  await inFolder({}, async (cwd) => {
    const { status, stderr } = await atoll(["serve", "--port", "0", "--plugins", "nope"], { cwd });
    equal(status, 2);
    match(stderr, /atoll: Cannot find plugins at ".*\/nope": there is no such file or folder/);
  });
});

test("a port in use ends with 1 and a hint", async () => {
  const server = createServer();
  const port = await new Promise<number>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port))
  );
  try {
    const tiny = await fixture("tiny");
    const flags = ["--engine", "portable", "--plugins", tiny, "--port", String(port)];
    const { status, stderr } = await atoll(["serve", ...flags]);
    equal(status, 1);
    match(stderr, new RegExp(`^atoll: Cannot listen on .*${port}`, "m"));
    match(stderr, /hint: take another port with --port N/);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});

test("call prints the structured result, and ends with 1 for a tool's error, 2 for bad usage", async () => {
  const text = await fixture("text");
  const flags = ["--engine", "portable", "--plugins", text];
  const fine = await atoll(["call", "text_analyse", '{"input":"a b"}', ...flags]);
  deepEqual([fine.status, JSON.parse(fine.stdout)], [0, { words: 2, chars: 3 }]);

  const program = await atoll(["call", "text_analyse", "-", "--json", ...flags], {
    input: '{"input":"one"}',
  });
  const report = JSON.parse(program.stdout);
  deepEqual([report.tool, report.isError, report.result], [
    "text_analyse",
    false,
    { words: 1, chars: 3 },
  ]);

  const tool = await atoll(["call", "text_analyse", '{"input":""}', ...flags]);
  equal(tool.status, 1);
  match(tool.stderr, /^atoll: tool text_analyse answered with an error$/m);

  const usage = await atoll(["call", "text_analyse", '{"input":', ...flags]);
  equal(usage.status, 2);
  match(usage.stderr, /Cannot read arguments: line 1, column 10: expected a value/);

  const unknown = await atoll(["call", "text_analyze", "{}", "--json", ...flags]);
  equal(unknown.status, 1);
  deepEqual(JSON.parse(unknown.stdout).error.nearest, "text_analyse");
});

test("call names the argument that does not fit", async () => {
  const flags = ["--engine", "portable", "--plugins", await fixture("text")];
  const { status, stdout } = await atoll([
    "call",
    "text_analyse",
    '{"input":5}',
    "--json",
    ...flags,
  ]);
  const { error } = JSON.parse(stdout);
  deepEqual([status, error.code, error.path], [1, "invalid_argument", "arguments.input"]);
});

test("inspect shows tools, imports and WIT", async () => {
  const file = await fixture("text");
  const shown = await atoll(["inspect", file, "--engine", "portable"]);
  match(shown.stdout, /^isolation call: a fresh instance for each call$/m);
  equal(shown.status, 0, shown.stderr);
  match(shown.stdout, /^ {2}text_analyse/m);
  match(shown.stdout, /^WIT$/m);
  const report = JSON.parse(
    (await atoll(["inspect", file, "--engine", "portable", "--json"])).stdout,
  );
  deepEqual(report.tools.map((tool: { name: string }) => tool.name), [
    "text_analyse",
    "text_reverse",
  ]);
  match(report.wit, /package /);
  equal(report.http, false);
});

test("inspect names what is granted and what is wanted, and shows no value", async () => {
  const folder = mkdtempSync(join(tmpdir(), "atoll-grants-"));
  try {
    const manifest = { id: "tiny", version: "1.0.0", component: "tiny.wasm" };
    copyFileSync(await fixture("tiny"), join(folder, "tiny.wasm"));
    writeFileSync(
      join(folder, "plugin.json"),
      JSON.stringify({ ...manifest, wants: { env: ["LANG", "TOKEN"] } }),
    );
    const config = join(folder, "atoll.json");
    const granting = { tiny: { grants: { env: { TOKEN: "t0p-s3cret" } } } };
    writeFileSync(config, JSON.stringify({ pluginSettings: granting }));
    const command = ["inspect", folder, "--config", config, "--engine"];
    const refused = await atoll([...command, "portable"]);
    equal(refused.status, 1);
    match(refused.stderr, /the portable engine cannot grant env\.TOKEN/);
    if (await nativeObstacle() !== null) return;
    const shown = await atoll([...command, "native"]);
    equal(shown.status, 0, shown.stderr);
    match(shown.stdout, /^Granted\n {2}env\.TOKEN$/m);
    match(shown.stdout, /^Wanted by its manifest and not granted\n {2}env\.LANG$/m);
    const json = await atoll([...command, "native", "--json"]);
    const report = JSON.parse(json.stdout);
    deepEqual([report.granted, report.missingGrants], [["env.TOKEN"], ["env.LANG"]]);
    ok(!`${shown.stdout}${json.stdout}${shown.stderr}`.includes("t0p-s3cret"));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("explain gives the grant that allows what is denied, and it does allow it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "atoll-explain-"));
  try {
    const manifest = { id: "tiny", version: "1.0.0", component: "tiny.wasm" };
    writeFileSync(
      join(folder, "plugin.json"),
      JSON.stringify({ ...manifest, wants: { env: ["LANG"], keyvalue: ["notes"] } }),
    );
    const config = join(folder, "atoll.json");
    writeFileSync(config, "{}");
    const command = ["explain", "tiny", "--plugins", folder, "--config", config];
    const shown = await atoll(command);
    equal(shown.status, 0, shown.stderr);
    match(shown.stdout, /^Granted: nothing$/m);
    match(shown.stdout, /^Wanted and denied; allowed by\n {2}env\.LANG\n {4}\{"pluginSettings"/m);
    const denied = JSON.parse((await atoll([...command, "--json"])).stdout);
    deepEqual([denied.granted, denied.denied.length], [[], 2]);
    const { grant } = denied.denied[1];
    deepEqual(grant, { pluginSettings: { tiny: { grants: { keyvalue: ["notes"] } } } });
    writeFileSync(config, JSON.stringify(grant));
    const keeps = JSON.parse((await atoll([...command, "--json"])).stdout);
    deepEqual(keeps.granted, ["keyvalue.notes"]);
    writeFileSync(config, JSON.stringify(denied.denied[0].grant));
    const allowed = JSON.parse((await atoll([...command, "--json"])).stdout);
    deepEqual([allowed.granted, allowed.denied.length], [["env.LANG"], 1]);
    const wrong = await atoll(["explain", "tiy", "--plugins", folder, "--config", config]);
    equal(wrong.status, 2);
    match(wrong.stderr, /Cannot explain "tiy": there is no such plugin; did you mean "tiny"\?/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("explain gives rules and names of secrets, never a value", async () => {
  const folder = mkdtempSync(join(tmpdir(), "atoll-explain-"));
  try {
    const wants = {
      http: [{ host: "api.example.com", methods: ["GET"], path: "/v1/*" }, { host: "b.example" }],
      secrets: ["TOKEN"],
    };
    const manifest = { id: "tiny", version: "1.0.0", component: "tiny.wasm", wants };
    writeFileSync(join(folder, "plugin.json"), JSON.stringify(manifest));
    const config = join(folder, "atoll.json");
    writeFileSync(config, "{}");
    const command = ["explain", "tiny", "--plugins", folder, "--config", config];
    const shown = await atoll(command);
    match(shown.stdout, /^ {2}http\.GET https:\/\/api\.example\.com\/v1\/\*$/m);
    match(shown.stdout, /^ {2}secrets\.TOKEN$/m);
    const { denied } = JSON.parse((await atoll([...command, "--json"])).stdout);
    type Denied = { grant: { pluginSettings: { tiny: { grants: Record<string, unknown> } } } };
    const grants = (denied as Denied[]).map(({ grant }) => grant.pluginSettings.tiny.grants);
    deepEqual(grants.map((each) => each["http"]).filter(Boolean), wants.http.map((rule) => [rule]));
    const secrets = { TOKEN: { file: "token.txt", hosts: ["api.example.com"] } };
    writeFileSync(join(folder, "token.txt"), "value-of-the-operator");
    const all = { http: wants.http, secrets };
    writeFileSync(config, JSON.stringify({ pluginSettings: { tiny: { grants: all } } }));
    const allowed = await atoll([...command, "--json"]);
    const names = [
      "http.GET https://api.example.com/v1/*",
      "http.https://b.example",
      "secrets.TOKEN",
    ];
    deepEqual([JSON.parse(allowed.stdout).granted, JSON.parse(allowed.stdout).denied], [names, []]);
    equal(`${allowed.stdout}${allowed.stderr}`.includes("value-of"), false);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("A21: inspect of a file that is no component ends with 1 and says so", async () => {
  for (const name of ["truncated", "core-module", "unknown-import", "precompiled"] as const) {
    const { status, stderr } = await atoll([
      ...["inspect", await fixture(name), "--engine", "portable"],
    ]);
    equal(status, 1, name);
    match(stderr, /^atoll: Cannot /m);
  }
});

test("doctor reports each check, for people and for programs", async () => {
  const people = await atoll(["doctor"]);
  equal(people.status, 0, people.stderr);
  match(people.stdout, /^ {2}ok +runtime +/m);
  match(people.stdout, /^\d+ ok, \d+ degraded, 0 failed$/m);
  const report = JSON.parse((await atoll(["doctor", "--json"])).stdout);
  equal(report.ok, true);
  const checks = report.findings.map((finding: { check: string }) => finding.check);
  for (const check of ["runtime", "native", "cpu", "address-space", "kernel", "memory"]) {
    ok(checks.includes(check), check);
  }
});

test("serve listens, says so, and ends with 0 on SIGTERM", async () => {
  const flags = ["--engine", "portable", "--port", "0", "--plugins", await fixture("tiny")];
  const child = start(["serve", ...flags]);
  const [, url = ""] = await child.said(/^atoll: listening on (http:\/\/127\.0\.0\.1:\d+)$/m);
  equal((await fetch(`${url}/health/live`)).status, 200);
  child.signal("SIGTERM");
  const { status, stdout } = await child.ended;
  deepEqual([status, stdout], [0, ""]);
});

/** A PATH on which the present runtime is found under its name, and nothing else. */
async function onPath(names: string[], use: (path: string) => Promise<void>): Promise<void> {
  await inFolder({}, async (folder) => {
    for (const name of names) symlinkSync(process.execPath, join(folder, name));
    await use(folder);
  });
}

async function nodePath(): Promise<string> {
  const { stdout } = await new Child(["sh", "-c", "command -v node"]).ended;
  return stdout.trim();
}

test("the npm program starts itself again under the runtime that is there", async () => {
  const node = await nodePath();
  await onPath([runtime], async (path) => {
    const environment = { PATH: path };
    const version = await new Child([node, BIN, "--version"], { environment }).ended;
    equal(version.status, 0, version.stderr);
    match(version.stdout, new RegExp(`^atoll .* \\(${runtime} `));
    const wrong = await new Child([node, BIN, "srve"], { environment }).ended;
    equal(wrong.status, 2);
    match(wrong.stderr, /did you mean serve\?/);
  });
});

test("the npm program passes signals on", async () => {
  const node = await nodePath();
  const flags = ["--engine", "portable", "--port", "0", "--plugins", await fixture("tiny")];
  await onPath([runtime], async (path) => {
    const child = new Child([node, BIN, "serve", ...flags], { environment: { PATH: path } });
    await child.said(/listening on/);
    child.signal("SIGTERM");
    equal((await child.ended).status, 0);
  });
});

test("the npm program without Deno and Bun says what is missing and ends with 127", async () => {
  const node = await nodePath();
  await onPath([], async (path) => {
    const none = await new Child([node, BIN, "serve"], { environment: { PATH: path } }).ended;
    equal(none.status, 127);
    match(none.stderr, /^atoll: Cannot start: neither Deno nor Bun is on the PATH; install one/);
    const environment = { PATH: path, ATOLL_RUNTIME: "bun" };
    const wanted = await new Child([node, BIN, "serve"], { environment }).ended;
    equal(wanted.status, 127);
    match(wanted.stderr, /^atoll: Cannot start under bun: it is not on the PATH/);
  });
});

test("SIGTERM during a plugin's build ends the build, and the server with 0", async () => {
  const slow = {
    id: "slow",
    version: "0.1.0",
    build: { kind: "command", command: ["sleep", "600"], output: "x.wasm" },
  };
  await inFolder({ "slow/plugin.json": JSON.stringify(slow) }, async (cwd) => {
    const args = ["serve", "--port", "0", "--engine", "portable", "--plugins", "slow"];
    const child = start(args, { cwd, environment: { ATOLL_CACHE_DIR: join(cwd, "cache") } });
    await child.said(/listening on/);
    child.signal("SIGTERM");
    const { status, stderr } = await child.ended;
    equal(status, 0);
    ok(!stderr.includes("error"), stderr);
  });
});

test("a second signal ends a server that still waits, with the status of that signal", async () => {
  const hostile = await fixture("hostile");
  const args = ["serve", "--port", "0", "--engine", "portable", "--plugins", hostile];
  const environment = { ATOLL_HTTP__GRACE_MS: "600000", ATOLL_LIMITS__WALL_MS: "600000" };
  for (const [signal, expected] of [["SIGTERM", 143], ["SIGINT", 130]] as const) {
    const child = start(args, { environment });
    await child.said(/^atoll: hostile /m);
    const [, url = ""] = await child.said(/listening on (\S+)/);
    const call = (name: string, args: object) => {
      const params = { name, arguments: args };
      return fetch(`${url}/mcp`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params }),
      }).then((response) => response.text());
    };
    const running = call("hostile_sleep", { ms: 500_000 }).catch(() => "cut");
    // Calls that were sent after it are answered: it has been taken.
    for (let i = 0; i < 3; i++) await call("hostile_log", { line: "one more" });
    child.signal("SIGTERM");
    await child.said(/stopping on SIGTERM/);
    // Within a second it would count as the first one, passed on twice.
    let over = false;
    void child.ended.then(() => over = true);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    equal(over, false, child.stderr);
    child.signal(signal);
    equal((await child.ended).status, expected);
    equal(await running, "cut");
  }
});

test("a plugin that does not compile is reported by the compiler's lines, without a stack", async () => {
  const files = {
    "bad/plugin.json": JSON.stringify({
      id: "bad",
      version: "0.1.0",
      source: "bad.ts",
      build: { kind: "typescript" },
    }),
    "bad/wit/bad.wit": "package a:b; world bad { export f: func() -> u32; }",
    "bad/bad.ts": "export function f( { return 1",
  };
  await inFolder(files, async (cwd) => {
    const args = ["serve", "--port", "0", "--engine", "portable", "--plugins", "bad"];
    const child = start(args, { cwd, environment: { ATOLL_CACHE_DIR: join(cwd, "cache") } });
    await child.said(/Cannot build plugin "bad": rolldown failed plugin=bad\n(.*\n)*.*bad\.ts/);
    await child.said(/listening on/);
    child.signal("SIGTERM");
    const { status, stderr } = await child.ended;
    equal(status, 0);
    ok(!stderr.includes("node_modules"), stderr);
  });
});
