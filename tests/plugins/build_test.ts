/** Builds with the real tools, and the cache that keeps them from running again. */
import { Buffer } from "node:buffer";
import { deepEqual, equal, match, notEqual, ok, rejects } from "node:assert/strict";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { takeLock } from "../../native/build/lock.ts";
import type { AtollError } from "../../src/core/errors.ts";
import { componentOf } from "../../src/plugins/build.ts";
import { discover } from "../../src/plugins/discovery.ts";
import { test } from "../harness.ts";

interface Made {
  readonly bytes: Uint8Array;
  /** It was not in the cache: a build says something before anything else. */
  readonly built: boolean;
  readonly lines: readonly string[];
}

interface Place {
  readonly folder: string;
  readonly cacheDir: string;
  write(files: Record<string, string>): void;
  /** Builds or takes from the cache. */
  component(): Promise<Made>;
}

async function place(files: Record<string, string>, use: (place: Place) => Promise<void>) {
  const root = mkdtempSync(join(tmpdir(), "atoll-build-"));
  const folder = join(root, "plugin");
  const cacheDir = join(root, "cache");
  const write = (more: Record<string, string>) => {
    for (const [path, text] of Object.entries(more)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
  };
  write(files);
  const component = async () => {
    const { found, broken } = discover([folder]);
    deepEqual(broken, []);
    const [plugin] = found;
    ok(plugin);
    const lines: string[] = [];
    const bytes = await componentOf(plugin, {
      cacheDir,
      onProgress: (line) => void lines.push(line),
    });
    return { bytes, built: lines.length > 0, lines };
  };
  try {
    await use({ folder, cacheDir, write, component });
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** The folders of built components. */
function keys(cacheDir: string): string[] {
  return readdirSync(join(cacheDir, "plugins")).filter((name) => /^[0-9a-f]{64}$/.test(name));
}

const COMPONENT = "\0asm\x0d\0\x01\0";

const TYPESCRIPT = {
  "plugin.json": JSON.stringify({
    id: "twice",
    version: "0.1.0",
    source: "src/main.ts",
    build: { kind: "typescript" },
  }),
  "wit/world.wit":
    "package demo:twice;\nworld twice { export twice: func(text: string) -> string; }",
  "src/main.ts": 'import { times } from "./times.ts";\n' +
    "export const twice = (text: string): string => times(text, 2);",
  "src/times.ts": "export const times = (text: string, n: number): string => text.repeat(n);",
};

test("a TypeScript plugin is built once and again only when a source changes", async () => {
  await place(TYPESCRIPT, async ({ component, write, cacheDir }) => {
    const first = await component();
    equal(first.built, true);
    deepEqual(first.lines, ["building plugin twice (TypeScript)"]);
    const second = await component();
    deepEqual(second.lines, []);
    equal(Buffer.compare(second.bytes, first.bytes), 0);

    write({ "src/times.ts": 'export const times = (text: string): string => text + "!";' });
    equal((await component()).built, true);
    equal(keys(cacheDir).length, 2);
    write({ "src/times.ts": TYPESCRIPT["src/times.ts"] });
    equal((await component()).built, false);
  });
});

test("A22: a changed file in the cache of builds is not used", async () => {
  await place(TYPESCRIPT, async ({ component, cacheDir }) => {
    const first = await component();
    const file = join(cacheDir, "plugins", keys(cacheDir)[0] ?? "", "component.wasm");
    const bytes = readFileSync(file);
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    const second = await component();
    equal(second.built, true);
    notEqual(Buffer.compare(second.bytes, bytes), 0);
    equal(second.bytes.length > 100_000, true);
    equal(Math.abs(second.bytes.length - first.bytes.length) < 1000, true);
  });
});

test("a TypeScript plugin with a mistake says where", async () => {
  await place(TYPESCRIPT, async ({ component, write }) => {
    write({ "src/main.ts": "export const twice = (text: string => text;" });
    await rejects(component(), (error: Error) => {
      match(error.message, /^Cannot build plugin "twice": rolldown failed\n/);
      match(error.message, /main\.ts/);
      return true;
    });
    write({ "src/main.ts": 'import { x } from "no-such-package";\nexport const twice = x;' });
    await rejects(component(), /rolldown failed[^]*no-such-package/);
    write({
      "src/main.ts": TYPESCRIPT["src/main.ts"],
      "wit/world.wit": "package demo:twice;\nworl",
    });
    await rejects(component(), /^AtollError: Cannot build plugin "twice": componentize-qjs failed/);
  });
});

const RUST = {
  "plugin.json": JSON.stringify({ id: "bare", version: "0.1.0", build: { kind: "rust" } }),
  "Cargo.toml": '[package]\nname = "bare"\nversion = "0.1.0"\nedition = "2021"\n' +
    '[lib]\ncrate-type = ["cdylib"]\n',
  "src/lib.rs": '#[no_mangle]\npub extern "C" fn bare() -> u32 {\n    7\n}\n',
};

test("a Rust plugin is built by cargo into the cache, not into its folder", async () => {
  await place(RUST, async ({ component, folder, write }) => {
    const first = await component();
    equal(first.built, true);
    equal(first.lines.includes("building plugin bare (Rust)"), true);
    equal(existsSync(join(folder, "target")), false);
    equal((await component()).built, false, "the Cargo.lock that cargo wrote is no change");
    write({ "src/lib.rs": RUST["src/lib.rs"].replace("7", "8") });
    equal((await component()).built, true);
  });
});

test("of two folders with one crate's name each has the component of its own sources", async () => {
  await place(RUST, async ({ component, folder, cacheDir }) => {
    const other = `${folder}-copy`;
    cpSync(folder, other, { recursive: true });
    writeFileSync(join(other, "src/lib.rs"), RUST["src/lib.rs"].replace("7", "1234567"));
    // Older than what is built of the first one: to cargo it is built already.
    const before = new Date(Date.now() - 3_600_000);
    for (const path of ["Cargo.toml", "src/lib.rs"]) utimesSync(join(other, path), before, before);
    const first = await component();
    const [plugin] = discover([other]).found;
    ok(plugin);
    const second = await componentOf(plugin, { cacheDir });
    notEqual(Buffer.compare(first.bytes, second), 0);
  });
});

test("a Rust plugin is built where it is reached through a link, with its documentation", async () => {
  const files = Object.entries(RUST).map(([path, text]) =>
    [path === "plugin.json" ? path : `guest/${path}`, text] as const
  );
  const documented = {
    ...Object.fromEntries(files),
    "plugin.json": JSON.stringify({
      id: "bare",
      version: "0.1.0",
      source: "guest",
      build: { kind: "rust" },
    }),
    "guest/wit/world.wit":
      "package demo:bare;\nworld bare {\n/// Seven, documented.\nexport bare: func() -> u32;\n}",
  };
  await place(documented, async ({ folder, cacheDir }) => {
    const link = `${folder}-link`;
    symlinkSync(folder, link);
    const [plugin] = discover([link]).found;
    ok(plugin);
    const bytes = await componentOf(plugin, { cacheDir });
    match(Buffer.from(bytes).toString("latin1"), /Seven, documented\./);
  });
});

test("a Rust plugin that does not compile says what the compiler said", async () => {
  await place(RUST, async ({ component, write }) => {
    write({ "src/lib.rs": "pub fn bare() -> u32 { true }" });
    await rejects(component(), (error: Error) => {
      match(error.message, /^Cannot build plugin "bare": cargo failed\n/);
      match(error.message, /expected `u32`, found `bool`/);
      return true;
    });
    write({ "Cargo.toml": RUST["Cargo.toml"].replace('crate-type = ["cdylib"]', "") });
    write({ "src/lib.rs": "pub fn bare() {}" });
    await rejects(component(), /needs crate-type = \["cdylib"\]/);
  });
});

function byCommand(command: string[]) {
  return {
    "plugin.json": JSON.stringify({
      id: "made",
      version: "0.1.0",
      build: { kind: "command", command, output: "build/made.wasm" },
    }),
    "made.source": COMPONENT,
  };
}

test("a command builds the output that the manifest names", async () => {
  const script = "mkdir -p build && cp made.source build/made.wasm && touch build/more";
  await place(byCommand(["sh", "-c", script]), async ({ component }) => {
    const first = await component();
    deepEqual([first.built, Buffer.from(first.bytes).toString("latin1")], [true, COMPONENT]);
    equal((await component()).built, false, "outputs are no sources");
  });
});

test("a command that fails, or writes no component, is an error with its last lines", async () => {
  await place(byCommand(["sh", "-c", "echo one; echo two >&2; exit 3"]), async ({ component }) => {
    await rejects(component(), (error: Error) => {
      match(error.message, /^Cannot build plugin "made": `sh -c .*` ended with status 3\n/);
      match(error.message, / {2}one/);
      match(error.message, / {2}two/);
      return true;
    });
  });
  await place(byCommand(["true"]), async ({ component }) => {
    await rejects(component(), /`true` did not write "build\/made\.wasm"/);
  });
  const core = "mkdir -p build && printf '\\0asm\\1\\0\\0\\0' > build/made.wasm";
  await place(byCommand(["sh", "-c", core]), async ({ component, cacheDir }) => {
    await rejects(component(), /something that is not a WebAssembly component/);
    deepEqual(keys(cacheDir), []);
  });
});

test("what was built while a source changed is used but not kept", async () => {
  const script = "mkdir -p build && cp made.source build/made.wasm && echo more >> made.source";
  await place(byCommand(["sh", "-c", script]), async ({ component, cacheDir }) => {
    const first = await component();
    equal(Buffer.from(first.bytes).toString("latin1"), COMPONENT);
    match(first.lines.join("\n"), /a source changed while it was built/);
    deepEqual(keys(cacheDir), []);
    equal(Buffer.from((await component()).bytes).toString("latin1"), `${COMPONENT}more\n`);
  });
});

test("a source that changes while another build runs is built as it is then", async () => {
  const script = "mkdir -p build && cp made.source build/made.wasm";
  await place(byCommand(["sh", "-c", script]), async ({ component, write, cacheDir }) => {
    const lock = await takeLock(join(cacheDir, "plugins", "build.lock"));
    const building = component();
    write({ "made.source": `${COMPONENT}changed` });
    lock.release();
    equal(Buffer.from((await building).bytes).toString("latin1"), `${COMPONENT}changed`);
    equal(keys(cacheDir).length, 1);
    equal((await component()).built, false);
  });
});

test("old components of a plugin and old drafts go, the newest eight stay", async () => {
  const script = "mkdir -p build && cp made.source build/made.wasm";
  await place(byCommand(["sh", "-c", script]), async ({ component, write, cacheDir }) => {
    const root = join(cacheDir, "plugins");
    const days = (count: number) => Date.now() / 1000 - count * 24 * 3600;
    const old = (name: string, owner: string, age: number) => {
      mkdirSync(join(root, name), { recursive: true });
      writeFileSync(join(root, name, "plugin"), `${owner}\n`);
      utimesSync(join(root, name), days(age), days(age));
    };
    const key = (digit: string) => digit.repeat(64);
    for (let i = 0; i < 10; i++) old(key(String(i)), "made", i < 5 ? 0.5 : i);
    old(key("a"), "another", 99);
    old(`${key("b")}.draft`, "made", 99);
    old(`${key("c")}.draft`, "made", 0.5);
    write({ "made.source": `${COMPONENT}new` });
    equal((await component()).built, true);
    const left = readdirSync(root).filter((name) => /^(.)\1{9}/.test(name))
      .map((name) => name.replace(/^(.)\1*/, "$1"));
    deepEqual(left.sort(), ["0", "1", "2", "3", "4", "5", "6", "7", "a", "c.draft"]);
  });
});

test("two processes' worth of builds at once make one component", async () => {
  await place(TYPESCRIPT, async ({ component, folder, cacheDir }) => {
    const copy = `${folder}-copy`;
    cpSync(folder, copy, { recursive: true });
    const [plugin] = discover([copy]).found;
    ok(plugin);
    const lines: string[] = [];
    const onProgress = (line: string) => void lines.push(line);
    const [first] = await Promise.all([component(), componentOf(plugin, { cacheDir, onProgress })]);
    equal(first.lines.length + lines.length, 1);
    equal(keys(cacheDir).length, 1);
  });
});

test("without cargo a Rust plugin is one clear line", async () => {
  await place(RUST, async ({ component, folder }) => {
    const tools = join(dirname(folder), "tools");
    mkdirSync(tools);
    for (const name of ["sh", "nice"]) symlinkSync(programPath(name), join(tools, name));
    const before = process.env["PATH"];
    process.env["PATH"] = tools;
    try {
      await rejects(component(), (error: AtollError) => {
        equal(error.code, "unsupported");
        equal(
          error.message,
          'Cannot build plugin "bare": cargo is not installed; see https://rustup.rs',
        );
        return true;
      });
    } finally {
      process.env["PATH"] = before;
    }
  });
});

function programPath(name: string): string {
  const folders = (process.env["PATH"] ?? "").split(":");
  const path = folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
  if (path === undefined) throw new Error(`${name} is not on the PATH`);
  return path;
}
