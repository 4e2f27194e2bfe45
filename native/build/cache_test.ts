import assert from "node:assert/strict";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "../../tests/harness.ts";
import {
  cacheFolder,
  CHECKOUT,
  CORE_FILE,
  fileDigest,
  lookUp,
  nativeFolder,
  prepareFolders,
  SANDBOX_FILE,
  sourceFiles,
  sourceKey,
  writableByOthers,
} from "./cache.ts";

function temporary(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "atoll-cache-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** A checkout with a few sources of every kind. */
function checkout(root: string): void {
  for (const folder of ["abi", "core/src", "core/build", "core/tests", "sandbox/src/values"]) {
    mkdirSync(join(root, "native", folder), { recursive: true });
  }
  const write = (path: string, text: string) => writeFileSync(join(root, "native", path), text);
  write("abi/atoll_abi.json", "{}");
  write("abi/generate_test.ts", "test");
  write("core/Makefile", "all:");
  write("core/src/arena.c", "int a;");
  write("core/build/arena.o", "object");
  write("core/tests/arena_test.c", "test");
  write("sandbox/Cargo.toml", "[package]");
  write("sandbox/Cargo.lock", "version = 4");
  write("sandbox/src/values/decode.rs", "fn f() {}");
}

/** A folder of a finished build, as buildNative leaves it. */
function finished(cache: string, key: string): string {
  prepareFolders(cache);
  const folder = join(nativeFolder(cache), key);
  mkdirSync(folder, { mode: 0o700 });
  const files: Record<string, string> = {};
  for (const name of [CORE_FILE, SANDBOX_FILE]) {
    writeFileSync(join(folder, name), `library ${name}`, { mode: 0o600 });
    files[name] = fileDigest(join(folder, name));
  }
  writeFileSync(join(folder, "manifest.json"), JSON.stringify({ format: 1, key, files }));
  return folder;
}

test("the cache is where ATOLL_CACHE_DIR says, else XDG_CACHE_HOME, else below HOME", () => {
  const all = { ATOLL_CACHE_DIR: "/own", XDG_CACHE_HOME: "/shared", HOME: "/home/ada" };
  assert.equal(cacheFolder(all), "/own");
  assert.equal(cacheFolder({ ...all, ATOLL_CACHE_DIR: "" }), "/shared/atoll");
  const relative = { XDG_CACHE_HOME: "relative", HOME: "/home/ada" };
  assert.equal(cacheFolder(relative), "/home/ada/.cache/atoll");
});

test("the key follows contents and names of sources, not times, outputs or tests", () => {
  const { path, remove } = temporary();
  try {
    checkout(path);
    const native = join(path, "native");
    assert.deepEqual(sourceFiles(native), [
      "abi/atoll_abi.json",
      "core/Makefile",
      "core/src/arena.c",
      "sandbox/Cargo.lock",
      "sandbox/Cargo.toml",
      "sandbox/src/values/decode.rs",
    ]);
    const key = sourceKey(path);
    assert.match(key, /^[0-9a-f]{64}$/);
    utimesSync(join(native, "core/src/arena.c"), 1, 1);
    writeFileSync(join(native, "core/build/other.o"), "object");
    writeFileSync(join(native, "core/tests/arena_test.c"), "another test");
    assert.equal(sourceKey(path), key);
    for (const source of sourceFiles(native)) {
      writeFileSync(join(native, source), "changed");
      assert.notEqual(sourceKey(path), key, source);
      checkout(path);
      assert.equal(sourceKey(path), key, source);
    }
    writeFileSync(join(native, "core/src/more.c"), "");
    assert.notEqual(sourceKey(path), key);
  } finally {
    remove();
  }
});

test("the key of this checkout covers the boundary's one source and both libraries", () => {
  const files = sourceFiles(join(CHECKOUT, "native"));
  for (const needed of ["abi/atoll_abi.json", "core/Makefile", "sandbox/src/lib.rs"]) {
    assert.ok(files.includes(needed), needed);
  }
  assert.ok(files.every((file) => !/\/(build|target|tests)\//.test(file)));
});

test("a finished build is found, a changed, incomplete or foreign one is not", () => {
  const { path: cache, remove } = temporary();
  try {
    const key = "a".repeat(64);
    assert.equal(lookUp(cache, key), null);
    const folder = finished(cache, key);
    assert.deepEqual(lookUp(cache, key), {
      core: join(folder, CORE_FILE),
      sandbox: join(folder, SANDBOX_FILE),
      key,
    });
    // The manifest of another key.
    assert.equal(lookUp(cache, "b".repeat(64)), null);
    for (const name of [CORE_FILE, SANDBOX_FILE]) {
      writeFileSync(join(folder, name), "changed");
      assert.equal(lookUp(cache, key), null, name);
      writeFileSync(join(folder, name), `library ${name}`);
      assert.notEqual(lookUp(cache, key), null, name);
    }
    writeFileSync(join(folder, "manifest.json"), '{"format":1,"key":');
    assert.equal(lookUp(cache, key), null);
    rmSync(folder, { recursive: true });
    finished(cache, key);
    rmSync(join(folder, SANDBOX_FILE));
    assert.equal(lookUp(cache, key), null);
  } finally {
    remove();
  }
});

test("D12: a library that other users could replace is refused", () => {
  const { path: cache, remove } = temporary();
  try {
    const key = "c".repeat(64);
    const folder = finished(cache, key);
    const guarded = [cache, nativeFolder(cache), folder, join(folder, CORE_FILE)];
    for (const path of guarded) {
      const mode = path.endsWith(".so") ? 0o600 : 0o700;
      for (const open of [0o020, 0o002]) {
        chmodSync(path, mode | open);
        assert.equal(lookUp(cache, key), null, path);
        assert.match(writableByOthers([path]) ?? "", /lets other users write; run chmod go-w/);
        chmodSync(path, mode);
      }
      assert.notEqual(lookUp(cache, key), null, path);
    }
    chmodSync(nativeFolder(cache), 0o777);
    assert.throws(() => prepareFolders(cache), { code: "denied", name: "NativeBuildError" });
  } finally {
    remove();
  }
});

test("D12: a link is judged by what it names", () => {
  const { path, remove } = temporary();
  try {
    const real = join(path, "real");
    const link = join(path, "link");
    mkdirSync(real, { mode: 0o700 });
    symlinkSync(real, link);
    assert.equal(writableByOthers([link]), null);
    chmodSync(real, 0o777);
    assert.match(writableByOthers([link]) ?? "", /mode 777/);
    rmSync(real, { recursive: true });
    assert.match(writableByOthers([link]) ?? "", /Cannot use native libraries/);
  } finally {
    remove();
  }
});
