/** Precedence, names of variables, and each kind of mistake with its place. */
import { deepEqual, equal, match, throws } from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "../../tests/harness.ts";
import { AtollError } from "../core/errors.ts";
import { DEFAULT_LIMITS } from "../core/limits.ts";
import { isFresh, schemaFiles } from "./generate.ts";
import { type ConfigFlags, loadConfig } from "./load.ts";

type Environment = Record<string, string>;

/** Loads a file's text, in a folder of its own, and returns what `read` makes of it. */
function inFolder<T>(text: string | null, read: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "atoll-config-"));
  try {
    if (text !== null) writeFileSync(join(folder, "atoll.json"), text);
    return read(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function load(text: string | null, environment: Environment = {}, flags: ConfigFlags = {}) {
  return inFolder(text, (cwd) => loadConfig({ cwd, environment, flags }));
}

/** The error that a load ends with, folder names taken out. */
function failure(text: string | null, environment: Environment = {}, flags: ConfigFlags = {}) {
  return inFolder(text, (cwd) => {
    try {
      loadConfig({ cwd, environment, flags });
    } catch (thrown) {
      if (!(thrown instanceof AtollError)) throw thrown;
      return {
        code: thrown.code,
        message: thrown.message.replaceAll(`${cwd}/`, ""),
        data: thrown.data,
      };
    }
    throw new Error("the configuration was accepted");
  });
}

test("without a file everything has its default", () => {
  const { config, file, warnings } = load(null, { HOME: "/home/ann" });
  deepEqual([config.host, config.port, config.engine], ["127.0.0.1", 7420, "auto"]);
  deepEqual(config.limits, DEFAULT_LIMITS);
  deepEqual(config.log, { level: "info", format: "auto" });
  const arena = {
    bytes: 256 * 1024 * 1024,
    huge: false,
    prefault: false,
    lock: false,
    numa: "none",
  };
  deepEqual(config.pluginSettings, {});
  deepEqual(config.native, {
    workerThreads: 0,
    callsMax: 16_384,
    cacheBytes: 2 ** 31,
    arena,
  });
  equal(config.cacheDir, "/home/ann/.cache/atoll");
  equal(config.storage.dir, "/home/ann/.local/state/atoll");
  deepEqual([file, warnings], [null, []]);
});

test("the native library's calls and memory are held to what it can have", () => {
  const { config } = load('{"native": {"callsMax": 64, "arena": {"bytes": 8388608}}}');
  deepEqual([config.native.callsMax, config.native.arena.bytes], [64, 8_388_608]);
  match(failure('{"native": {"callsMax": 8}}').message, /native\.callsMax.*16/s);
  match(
    failure('{"native": {"arena": {"bytes": 4096}}}').message,
    /native\.arena\.bytes.*4194304/s,
  );
});

test("what promises more than a message can hold is refused, naming both settings", () => {
  const small = '"native": {"arena": {"bytes": 8388608}}';
  const found = failure(`{${small},\n"limits": {"outputBytes": 4194304}}`);
  equal(
    found.message,
    'Cannot read configuration "atoll.json": line 2: limits.outputBytes: expected at most 2097152, ' +
      "got the number 4194304: a message holds a quarter of native.arena.bytes, 8388608, and 32 MiB " +
      "at most; lower it, or set native.arena.bytes to 16777216 or more",
  );
  deepEqual(found.data, { path: "limits.outputBytes", expected: "at most 2097152" });
  const others: [text: string, path: string][] = [
    [`{${small}, "http": {"bodyBytes": 2097153}}`, "http.bodyBytes"],
    [
      `{${small}, "pluginSettings": {"a": {"limits": {"outputBytes": 2097153}}}}`,
      "pluginSettings.a.limits.outputBytes",
    ],
  ];
  for (const [text, path] of others) {
    const { message } = failure(text);
    equal(message.includes(`line 1: ${path}: expected at most 2097152`), true, message);
    // What it proposes is enough; a unit less is not.
    const proposed = Number(/native\.arena\.bytes to (\d+) or more/.exec(message)?.[1]);
    load(text.replace("8388608", String(proposed)));
    equal(failure(text.replace("8388608", String(proposed - 65_536))).data.path, path);
  }
  match(
    failure(null, { ATOLL_LIMITS__OUTPUT_BYTES: "33554433" }).message,
    /^Cannot use ATOLL_LIMITS__OUTPUT_BYTES: .*at most 33554432.*; lower it, or set engine to portable$/,
  );
  // As much as there is, and what does not cross.
  load(`{${small}, "limits": {"outputBytes": 2097152}, "http": {"bodyBytes": 2097152}}`);
  load(`{${small}, "limits": {"outputBytes": 4194304}}`, {}, { engine: "portable" });
  load('{"limits": {"outputBytes": 33554432}}');
});

test("a body's default is no more than a message of the arena", () => {
  const bodyBytes = (arena: number, engine = "auto") =>
    load(`{"engine": "${engine}", "native": {"arena": {"bytes": ${arena}}}}`).config.http.bodyBytes;
  equal(bodyBytes(4 * 1024 * 1024), 1024 * 1024);
  equal(bodyBytes(16 * 1024 * 1024 - 1), 4 * 1024 * 1024 - 65_536);
  equal(bodyBytes(16 * 1024 * 1024), 4 * 1024 * 1024);
  equal(bodyBytes(4 * 1024 * 1024, "portable"), 4 * 1024 * 1024);
  equal(load('{"native": {"arena": {"bytes": 4194304}}}').config.limits.outputBytes, 1024 * 1024);
});

test("variables override the file, flags override both", () => {
  const text = '{"host": "h1", "port": 1, "engine": "native", "limits": {"wallMs": 5}}';
  const environment = { ATOLL_PORT: "2", ATOLL_ENGINE: "portable", ATOLL_LIMITS__CPU_MS: "7" };
  const { config } = load(text, environment, { port: "3" });
  deepEqual([config.host, config.port, config.engine], ["h1", 3, "portable"]);
  deepEqual([config.limits.wallMs, config.limits.cpuMs], [5, 7]);
  equal(config.limits.memoryBytes, DEFAULT_LIMITS.memoryBytes);
});

test("each kind of variable is read as its key's type", () => {
  const { config } = load(null, {
    ATOLL_PLUGINS: "/a:/b/c.wasm",
    ATOLL_LOG_LEVEL: "debug",
    ATOLL_LOG__FORMAT: "json",
    ATOLL_HTTP__ALLOWED_HOSTS: "a.example,b.example:8080",
    ATOLL_HTTP__BODY_BYTES: "1000",
    ATOLL_PLUGIN_SETTINGS: '{"text": {"prefix": null, "enabled": false}}',
    ATOLL_CACHE_DIR: "/c",
    ATOLL_STORAGE__DIR: "/s",
    ATOLL_MCP__TTL_MS: "",
  });
  deepEqual(config.plugins, ["/a", "/b/c.wasm"]);
  deepEqual(config.log, { level: "debug", format: "json" });
  deepEqual(config.http.allowedHosts, ["a.example", "b.example:8080"]);
  equal(config.http.bodyBytes, 1000);
  deepEqual(config.pluginSettings, { text: { prefix: null, enabled: false } });
  deepEqual([config.cacheDir, config.storage.dir, config.mcp.ttlMs], ["/c", "/s", 60_000]);
});

test("an unknown variable is a warning with the nearest name", () => {
  const { warnings } = load(null, { ATOLL_PROT: "1", ATOLL_RUNTIME: "deno" });
  deepEqual(warnings, [
    "Environment variable ATOLL_PROT is not known and changes nothing; did you mean ATOLL_PORT?",
  ]);
});

test("variables that Kubernetes makes for a service named atoll are passed over", () => {
  const { config, warnings } = load(null, {
    ATOLL_PORT: "tcp://10.0.0.1:80",
    ATOLL_SERVICE_HOST: "10.0.0.1",
    ATOLL_SERVICE_PORT: "80",
    ATOLL_PORT_80_TCP_ADDR: "10.0.0.1",
  });
  deepEqual([config.port, warnings], [7420, []]);
});

test("paths are relative to the file that has them, else to the current folder", () => {
  const text = '{"plugins": ["x", "/abs"], "cacheDir": "c", "storage": {"dir": "s"}}';
  inFolder(text, (folder) => {
    const file = join(folder, "atoll.json");
    const fromFile = loadConfig({ cwd: "/elsewhere", flags: { config: file } });
    deepEqual(fromFile.config.plugins, [join(folder, "x"), "/abs"]);
    deepEqual([fromFile.config.cacheDir, fromFile.file], [join(folder, "c"), file]);
    equal(fromFile.config.storage.dir, join(folder, "s"));
    const fromFlags = loadConfig({ cwd: "/elsewhere", flags: { config: file, plugins: ["y"] } });
    deepEqual(fromFlags.config.plugins, ["/elsewhere/y"]);
    const named = loadConfig({ cwd: "/elsewhere", environment: { ATOLL_CONFIG: file } });
    equal(named.file, file);
  });
});

test("folders that are granted are relative to the file that grants them", () => {
  const folders = '[{"path": "./d", "at": "/d"}, {"path": "/abs", "at": "/a", "write": true}]';
  inFolder(`{"pluginSettings": {"a": {"grants": {"folders": ${folders}}}, "b": {}}}`, (folder) => {
    const file = join(folder, "atoll.json");
    const { config } = loadConfig({ cwd: "/elsewhere", flags: { config: file } });
    deepEqual(config.pluginSettings["a"]?.grants?.folders, [
      { path: join(folder, "d"), at: "/d" },
      { path: "/abs", at: "/a", write: true },
    ]);
  });
  const granted = load(null, {
    ATOLL_PLUGIN_SETTINGS: '{"a": {"grants": {"folders": [{"path": "d", "at": "/d"}]}}}',
  });
  deepEqual(granted.config.pluginSettings["a"]?.grants?.folders?.[0]?.path.endsWith("/d"), true);
  equal(granted.config.pluginSettings["a"]?.grants?.folders?.[0]?.path.startsWith("/"), true);
});

test("a wrong key is named with its line and the nearest right one", () => {
  const found = failure('{\n  "host": "x",\n  "http": { "bodyByte": 1 }\n}');
  equal(
    found.message,
    'Cannot read configuration "atoll.json": line 3: http.bodyByte: unknown key; ' +
      'did you mean "bodyBytes"?',
  );
  deepEqual(found.data, { path: "http.bodyByte", nearest: "bodyBytes" });
  equal(
    failure('{"zebra": 1}').message.includes("zebra: unknown key; known are $schema, host, port"),
    true,
  );
});

const WRONG_VALUES: [text: string, reason: string][] = [
  ['{"port": "80"}', 'line 1: port: expected a number, got the string "80"'],
  ['{"port": 70000}', "line 1: port: expected at most 65535, got the number 70000"],
  ['{"port": 1.5}', "line 1: port: expected a whole number, got the number 1.5"],
  ['{"host": null}', "line 1: host: expected a string, got null"],
  ['{"plugins": "x"}', 'line 1: plugins: expected an array, got the string "x"'],
  ['{"plugins": [1]}', "line 1: plugins[0]: expected a string, got the number 1"],
  ['{"engine": "fast"}', 'engine: expected one of "auto", "native", "portable", got the string'],
  ['{"limits": {"cpuMs": 0}}', "limits.cpuMs: expected at least 1, got the number 0"],
  ['{"limits": 5}', "limits: expected an object, got the number 5"],
  ['{"pluginSettings": {"A b": {}}}', "pluginSettings.A b: expected a small letter"],
  ['{"pluginSettings": {"a": {"limits": {"cpuM": 1}}}}', 'did you mean "cpuMs"?'],
  [
    '{"pluginSettings": {"a": {"grants": {"enw": {}}}}}',
    'grants.enw: unknown key; did you mean "env"',
  ],
  [
    '{"pluginSettings": {"a": {"grants": {"env": {"A=B": "c"}}}}}',
    'grants.env.A=B: expected the name of a variable, with no = and no zero in it, got the string "A=B"',
  ],
  [
    '{"pluginSettings": {"a": {"grants": {"folders": [{"path": "x"}]}}}}',
    "grants.folders[0].at: is missing",
  ],
  [
    '{"pluginSettings": {"a": {"grants": {"folders": [{"path": "x", "at": "/x", "wirte": true}]}}}}',
    'grants.folders[0].wirte: unknown key; did you mean "write"?',
  ],
  [
    '{"pluginSettings": {"a": {"grants": {"tcp": [{"host": "a b", "port": 1}]}}}}',
    "grants.tcp[0].host: expected a name, *.name, an address or a range of addresses such as",
  ],
  [
    '{"pluginSettings": {"a": {"grants": {"udp": [{"host": "a", "port": [2, 1]}]}}}}',
    "grants.udp[0].port: expected ",
  ],
  [
    '{"pluginSettings": {"a": {"grants": {"tcp": [{"host": "a", "port": 70000}]}}}}',
    "grants.tcp[0].port: expected ",
  ],
  [
    '{"pluginSettings": {"a": {"grants": {"clocks": {"resolutionUs": 0}}}}}',
    "grants.clocks.resolutionUs: expected at least 1, got the number 0",
  ],
  [
    '{"pluginSettings": {"a": {"grants": {"random": {}}}}}',
    "grants.random.seed: is missing",
  ],
  [
    '{"pluginSettings": {"a": {"grants": {"env": {"A": 1}}}}}',
    "pluginSettings.a.grants.env.A: expected a string, got the number 1",
  ],
  [
    `{"pluginSettings": {"a": {"grants": {"env": {"A": "${"x".repeat(33_000)}"}}}}}`,
    "grants.env: expected variables of 32768 bytes together, as JSON, got an object",
  ],
  [
    '{"pluginSettings": {"a": {"grants": {"keyvalue": ["a b"]}}}}',
    "grants.keyvalue[0]: expected 1 to 64 letters, digits, dots, hyphens and underscores, or an",
  ],
  [
    '{"pluginSettings": {"a": {"grants": {"keyvalue": ["a", {"name": "a"}]}}}}',
    "grants.keyvalue: expected at most 32 namespaces, each once",
  ],
  [
    '{"pluginSettings": {"a": {"grants": {"keyvalue": [{"name": "a", "bites": 1}]}}}}',
    'grants.keyvalue[0].bites: unknown key; did you mean "bytes"?',
  ],
  [
    `{"pluginSettings": {"a": {"config": {"k": "${"x".repeat(9_000)}"}}}}`,
    "a.config: expected values of 8192 bytes together, as JSON",
  ],
  ['{"storage": {"dir": ""}}', "storage.dir: expected text that is not empty"],
  ...([
    ['{"http": [{}]}', "grants.http[0].host: is missing"],
    [
      '{"http": [{"host": "bücher.example"}]}',
      "http[0].host: expected a name in ASCII, *.NAME for those below it, an address, or *",
    ],
    ['{"http": [{"host": "127.1"}]}', "http[0].host: expected a name in ASCII"],
    ['{"http": [{"host": "a.*"}]}', "http[0].host: expected a name in ASCII"],
    ['{"http": [{"host": "a", "path": "v1"}]}', "path: expected a path that begins with /"],
    ['{"http": [{"host": "a", "path": "/a*"}]}', "path: expected a path that begins with /"],
    ['{"http": [{"host": "a", "methods": ["get"]}]}', "expected a method in capital letters"],
    ['{"secrets": {"T": {"env": "A"}}}', "secrets.T.hosts: is missing"],
    ['{"secrets": {"T": {"hosts": ["a"]}}}', "secrets.T: expected either env or file"],
    [
      '{"env": {"T": "x"}, "secrets": {"T": {"env": "A", "hosts": ["a"]}}}',
      "grants: expected names that are either of env or of secrets",
    ],
    [
      JSON.stringify({ http: Array(64).fill({ host: "a", path: `/${"x".repeat(511)}` }) })
        .replace("}]", `}],"env":{"A":"${"x".repeat(9_000)}"}`),
      "grants: expected grants of 40960 bytes together, as JSON",
    ],
  ] as const).map(([grants, reason]) =>
    [`{"pluginSettings": {"a": {"grants": ${grants}}}}`, reason] as [string, string]
  ),
];

test("a namespace is its name, or says more", () => {
  const keyvalue = '["notes", {"name": "wide", "bytes": 5}, {"name": "all", "shared": true}]';
  const { config } = load(
    `{"pluginSettings": {"a": {"grants": {"keyvalue": ${keyvalue}}}}}`,
  );
  const bytes = 64 * 1024 * 1024;
  deepEqual(config.pluginSettings["a"]?.grants?.keyvalue, [
    { name: "notes", bytes, shared: false },
    { name: "wide", bytes: 5, shared: false },
    { name: "all", bytes, shared: true },
  ]);
});

test("a wrong value is named with what was expected and what was given", () => {
  for (const [text, reason] of WRONG_VALUES) {
    const { code, message } = failure(text);
    equal(code, "config");
    equal(message.includes(reason), true, `${message} does not have: ${reason}`);
  }
});

test("a wrong variable or flag is named itself", () => {
  equal(
    failure(null, { ATOLL_PORT: "http" }).message,
    'Cannot use ATOLL_PORT: port: expected a number, got the string "http"',
  );
  equal(
    failure('{"port": 1}', {}, { port: "x1" }).message,
    'Cannot use --port: port: expected a number, got the string "x1"',
  );
  equal(
    failure(null, { ATOLL_LIMITS: '{"wall": 1}' }).message.startsWith(
      "Cannot use ATOLL_LIMITS: limits.wall: unknown key",
    ),
    true,
  );
});

test("a syntax error has its line and column; an absent file is named", () => {
  equal(
    failure('{\n  "port": 1,\n}').message,
    'Cannot read configuration "atoll.json": line 3, column 1: comma before the closing brace',
  );
  equal(failure("[]").message, 'Cannot read configuration "atoll.json": expected an object');
  throws(
    () => loadConfig({ cwd: "/", flags: { config: "/nowhere/a.json" } }),
    /^AtollError: Cannot read configuration "\/nowhere\/a\.json": there is no such file$/,
  );
});

test("the generated JSON Schemas are fresh", () => {
  for (const file of schemaFiles()) equal(isFresh(file), true, file.url.pathname);
});

test("the number of workers comes from the file, a variable or a flag", () => {
  const file = '{ "http": { "workers": 2 } }';
  const variable = { ATOLL_HTTP__WORKERS: "3" };
  equal(load(null).config.http.workers, 1);
  equal(load(file).config.http.workers, 2);
  equal(load(file, variable).config.http.workers, 3);
  equal(load(file, variable, { workers: "0" }).config.http.workers, 0);
  match(failure(null, {}, { workers: "two" }).message, /^Cannot use --workers: http\.workers: /);
  match(failure(null, {}, { workers: "129" }).message, /^Cannot use --workers: .*128/);
  match(failure(null, { ATOLL_HTTP__WORKERS: "-1" }).message, /^Cannot use ATOLL_HTTP__WORKERS/);
});
