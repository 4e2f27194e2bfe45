import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { currentRuntime, runScript } from "../../tests/runtimes.ts";
import { test } from "../../tests/harness.ts";
import { buildCore, buildNative, buildSandbox, type BuildSteps, findNative } from "./build.ts";
import { CHECKOUT, CORE_FILE, fileDigest, nativeFolder, SANDBOX_FILE } from "./cache.ts";
import { runCommand } from "./command.ts";
import { takeLock } from "./lock.ts";
import type { BuildProgress } from "./progress.ts";

interface Place {
  readonly checkout: string;
  readonly cache: string;
}

/** A checkout of one C file and a cache, both temporary. */
async function inPlace(body: (place: Place) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "atoll-build-"));
  const place = { checkout: join(folder, "checkout"), cache: join(folder, "cache") };
  try {
    for (const part of ["abi", "core/src", "sandbox/src"]) {
      mkdirSync(join(place.checkout, "native", part), { recursive: true });
    }
    writeFileSync(join(place.checkout, "native/core/src/one.c"), "int one(void) { return 1; }\n");
    writeFileSync(
      join(place.checkout, "native/core/Makefile"),
      "OUT ?= build\n$(OUT)/libatoll.so: src/one.c\n\tcc -shared -fPIC -o $@ $<\n",
    );
    writeFileSync(join(place.checkout, "native/sandbox/Cargo.lock"), "");
    await body(place);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The real step for C; the engine's place is taken by the same library, which builds in no time. */
function quickSteps(place: Place, ran: string[]): BuildSteps {
  const source = join(place.checkout, "native/core");
  return {
    core: async (out, report, signal) => {
      ran.push("core");
      await buildCore(source, out, report, signal);
    },
    sandbox: (out) => {
      ran.push("sandbox");
      copyFileSync(join(out, CORE_FILE), join(out, SANDBOX_FILE));
      return Promise.resolve();
    },
  };
}

test("a build is published once and found again without another", async () => {
  await inPlace(async (place) => {
    assert.equal(await findNative(place), null);
    const ran: string[] = [];
    const seen: BuildProgress[] = [];
    const steps = quickSteps(place, ran);
    const paths = await buildNative((p) => seen.push(p), undefined, place, steps);
    assert.deepEqual(await findNative(place), paths);
    assert.deepEqual(await buildNative(undefined, undefined, place, steps), paths);
    assert.deepEqual(ran, ["core", "sandbox"]);
    assert.deepEqual(seen.at(-1), { phase: "core", done: 1, total: 1 });
    assert.equal(statSync(paths.core).mode & 0o777, 0o600);
    const manifest = JSON.parse(readFileSync(join(paths.core, "../manifest.json"), "utf8"));
    assert.match(manifest.compilers.rustc, /^rustc /);
    // Neither the lock nor a temporary folder is left.
    assert.deepEqual(readdirSync(nativeFolder(place.cache)), [paths.key]);
  });
});

test("a change to a source gives another key; a damaged build is built again", async () => {
  await inPlace(async (place) => {
    const ran: string[] = [];
    const first = await buildNative(undefined, undefined, place, quickSteps(place, ran));
    writeFileSync(first.sandbox, "damaged");
    assert.equal(await findNative(place), null);
    const second = await buildNative(undefined, undefined, place, quickSteps(place, ran));
    assert.deepEqual(second, first);
    assert.equal(ran.length, 4);
    writeFileSync(join(place.checkout, "native/core/src/one.c"), "int one(void) { return 2; }\n");
    const third = await buildNative(undefined, undefined, place, quickSteps(place, ran));
    assert.notEqual(third.key, first.key);
    assert.ok(existsSync(first.core));
  });
});

test("several builds at once do the work once", async () => {
  await inPlace(async (place) => {
    const ran: string[] = [];
    const steps = quickSteps(place, ran);
    const all = await Promise.all(
      [1, 2, 3].map(() => buildNative(undefined, undefined, place, steps)),
    );
    assert.deepEqual(ran, ["core", "sandbox"]);
    assert.deepEqual(all[1], all[0]);
    assert.deepEqual(all[2], all[0]);
  });
});

test("a failed build says so with the compiler's last lines and leaves nothing", async () => {
  await inPlace(async (place) => {
    writeFileSync(join(place.checkout, "native/core/src/one.c"), "int one(void) { return x; }\n");
    await assert.rejects(
      buildNative(undefined, undefined, place, quickSteps(place, [])),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, "build");
        assert.match(error.message, /^Cannot build libatoll\.so: make ended with 2\n/);
        assert.match(error.message, /one\.c.*x.* undeclared/s);
        return true;
      },
    );
    assert.deepEqual(readdirSync(nativeFolder(place.cache)), []);
  });
});

test("a cancelled build gives the lock back", async () => {
  await inPlace(async (place) => {
    writeFileSync(
      join(place.checkout, "native/core/Makefile"),
      "OUT ?= build\n$(OUT)/libatoll.so:\n\t@echo cc -c slow.c; sleep 1000\n",
    );
    const stop = new AbortController();
    const building = buildNative(
      (progress) => progress.crate === "slow.c" && stop.abort(),
      stop.signal,
      place,
      quickSteps(place, []),
    );
    await assert.rejects(building, { code: "cancelled" });
    assert.deepEqual(readdirSync(nativeFolder(place.cache)), []);
  });
});

test("a build that is cancelled while another one has the lock says so", async () => {
  await inPlace(async (place) => {
    const lock = await takeLock(join(nativeFolder(place.cache), "lock"));
    const abort = new AbortController();
    const building = buildNative(undefined, abort.signal, place, quickSteps(place, []));
    setTimeout(() => abort.abort(), 50);
    await assert.rejects(building, { name: "NativeBuildError", code: "cancelled" });
    lock.release();
  });
});

test("what was built while a source changed is stored under no key", async () => {
  await inPlace(async (place) => {
    const steps = quickSteps(place, []);
    const source = join(place.checkout, "native/core/src/one.c");
    const before = readFileSync(source);
    const changing: BuildSteps = {
      ...steps,
      sandbox: async (out, report, signal) => {
        await steps.sandbox(out, report, signal);
        writeFileSync(source, "int one(void) { return 2; }\n");
      },
    };
    const building = buildNative(undefined, undefined, place, changing);
    await assert.rejects(building, { code: "build", message: /a source changed meanwhile/ });
    assert.equal(await findNative(place), null);
    writeFileSync(source, before);
    assert.equal(await findNative(place), null);
  });
});

/** A crate without dependencies in the sandbox's place, with sources of that age. */
function writeCrate(checkout: string, returned: number, modified: Date): void {
  const crate = join(checkout, "native/sandbox");
  const files = {
    "Cargo.toml": '[package]\nname = "atoll-sandbox"\nversion = "0.1.0"\nedition = "2021"\n' +
      '[lib]\ncrate-type = ["cdylib"]\n',
    "Cargo.lock": 'version = 4\n\n[[package]]\nname = "atoll-sandbox"\nversion = "0.1.0"\n',
    "src/lib.rs": `#[unsafe(no_mangle)]\npub extern "C" fn one() -> u32 {\n    ${returned}\n}\n`,
  };
  mkdirSync(join(crate, "src"), { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(crate, name), text);
    utimesSync(join(crate, name), modified, modified);
  }
}

test("checkouts that share cargo's folder do not get each other's library", async () => {
  const folder = mkdtempSync(join(tmpdir(), "atoll-build-"));
  try {
    const old = new Date(Date.now() - 86_400_000);
    const digests: string[] = [];
    for (const [name, returned] of [["first", 1], ["second", 2], ["first", 1]] as const) {
      writeCrate(join(folder, name), returned, old);
      await buildSandbox(join(folder, name), join(folder, "cargo"), folder);
      digests.push(fileDigest(join(folder, SANDBOX_FILE)));
    }
    assert.notEqual(digests[0], digests[1]);
    assert.equal(digests[0], digests[2]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a default target of the user's does not bring back an older library", async () => {
  const folder = mkdtempSync(join(tmpdir(), "atoll-build-"));
  const before = process.env.CARGO_BUILD_TARGET;
  try {
    const checkout = join(folder, "checkout");
    const build = async (returned: number) => {
      writeCrate(checkout, returned, new Date());
      await buildSandbox(checkout, join(folder, "cargo"), folder);
      return fileDigest(join(folder, SANDBOX_FILE));
    };
    const first = await build(1);
    process.env.CARGO_BUILD_TARGET = await hostTarget();
    assert.notEqual(await build(2), first);
  } finally {
    if (before === undefined) delete process.env.CARGO_BUILD_TARGET;
    else process.env.CARGO_BUILD_TARGET = before;
    rmSync(folder, { recursive: true, force: true });
  }
});

/** `x86_64-unknown-linux-gnu`, as rustc calls this machine. */
async function hostTarget(): Promise<string> {
  const { tail } = await runCommand(["rustc", "-vV"], { cwd: tmpdir() });
  return tail.find((line) => line.startsWith("host: "))?.slice("host: ".length) ?? "";
}

test("old leftovers of a killed build are cleared by the next", async () => {
  await inPlace(async (place) => {
    const left = join(nativeFolder(place.cache), ".tmp-1-left");
    const young = join(nativeFolder(place.cache), ".tmp-2-young");
    for (const path of [left, young]) mkdirSync(path, { recursive: true, mode: 0o700 });
    const seconds = Date.now() / 1000 - 2 * 3600;
    utimesSync(left, seconds, seconds);
    await buildNative(undefined, undefined, place, quickSteps(place, []));
    assert.equal(existsSync(left), false);
    // It may be another container's, which builds at this moment.
    assert.ok(existsSync(young));
  });
});

test("old builds of other sources go, the newest eight stay", async () => {
  await inPlace(async (place) => {
    const native = nativeFolder(place.cache);
    const old = (i: number): string => join(native, `${i}`.padStart(64, "0"));
    for (let i = 0; i < 12; i++) {
      mkdirSync(old(i), { recursive: true, mode: 0o700 });
      const seconds = Date.now() / 1000 - 100 * 3600 + i;
      utimesSync(old(i), seconds, seconds);
    }
    chmodSync(native, 0o700);
    const paths = await buildNative(undefined, undefined, place, quickSteps(place, []));
    assert.ok(existsSync(paths.core));
    const left = Array.from({ length: 12 }, (_, i) => existsSync(old(i)));
    assert.deepEqual(left, left.map((_, i) => i >= 4));
  });
});

test("the real core builds by the real step", async () => {
  const out = mkdtempSync(join(tmpdir(), "atoll-core-"));
  try {
    await buildCore(join(CHECKOUT, "native/core"), out);
    assert.ok(statSync(join(out, CORE_FILE)).size > 1_000);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});

test("the command refuses an argument that it does not know", async () => {
  const script = fileURLToPath(new URL("./main.ts", import.meta.url));
  const [program, ...args] = runScript(currentRuntime, script);
  const child = spawn(program!, [...args, "--jsno"], { env: process.env });
  let text = "";
  child.stderr.setEncoding("utf8").on("data", (part: string) => void (text += part));
  const code = await new Promise((resolve) => child.once("close", resolve));
  assert.equal(code, 2);
  assert.match(text, /Unknown argument "--jsno"/);
});
