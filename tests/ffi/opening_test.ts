import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHECKOUT } from "../../native/build/cache.ts";
import { ABI_VERSION, FRAME_BYTES, STATUS } from "../../ffi/abi.gen.ts";
import { MappedMemory } from "../../ffi/arena.ts";
import { NativeClient } from "../../ffi/client.ts";
import { bytesArgument, checkAbi, openLibrary, runtimeObstacle } from "../../ffi/library.ts";
import { BUN_SYMBOLS, DENO_SYMBOLS } from "../../ffi/symbols.gen.ts";
import { messageBytesMax } from "../../src/config/messages.ts";
import { test } from "../harness.ts";
import { currentRuntime } from "../runtimes.ts";
import { libraries, Rig, runChild, testEngine, withRig } from "./support.ts";

test("B3: runtimes that are too old are named with what to do", () => {
  assert.equal(runtimeObstacle(), null);
  for (const version of ["2.9.0", "2.9.6", "2.10.0", "3.0.0"]) {
    assert.equal(runtimeObstacle({ deno: version }), null, version);
  }
  for (const version of ["1.4.1", "1.4.5", "1.10.0", "2.0.0"]) {
    assert.equal(runtimeObstacle({ bun: version }), null, version);
  }
  assert.equal(
    runtimeObstacle({ deno: "2.8.9" }),
    "deno 2.8.9 is too old: 2.9.0 or newer is needed; run deno upgrade",
  );
  assert.equal(
    runtimeObstacle({ bun: "1.4.0" }),
    "bun 1.4.0 is too old: 1.4.1 or newer is needed; run bun upgrade",
  );
  assert.match(runtimeObstacle({ deno: "1.99.99" }) ?? "", /too old/);
  assert.match(runtimeObstacle({ node: "24.0.0" }) ?? "", /neither Deno nor Bun/);
});

test("a library of another ABI version is refused by name", () => {
  checkAbi(ABI_VERSION, "/x.so");
  assert.throws(() => checkAbi(ABI_VERSION + 1, "/x.so"), {
    code: "version",
    message: `Cannot use native library "/x.so": its ABI version is ${ABI_VERSION + 1}, ` +
      `supported is ${ABI_VERSION}`,
  });
});

test("a library that is missing, or is none, is an error that names it", async () => {
  await assert.rejects(openLibrary("/nowhere/libatoll.so"), {
    code: "io",
    message: /Cannot open native library "\/nowhere\/libatoll\.so"/,
  });
  const folder = mkdtempSync(join(tmpdir(), "atoll-opening-"));
  try {
    const path = join(folder, "libatoll.so");
    writeFileSync(path, "not a library");
    await assert.rejects(openLibrary(path), { code: "io" });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("an engine that is missing, refuses its configuration, or is old says so", async () => {
  const { core } = await libraries();
  const library = await openLibrary(core);
  const client = await NativeClient.open(library);
  try {
    assert.throws(() => client.loadEngine("/nowhere/engine.so", {}), {
      code: "io",
      message: /Cannot load engine "\/nowhere\/engine\.so"/,
    });
    // No engine: it does not export the one symbol.
    assert.throws(() => client.loadEngine(core, {}), { name: "NativeError" });
    const { symbols } = library;
    const path = new TextEncoder().encode(await testEngine());
    const out = new Uint8Array(new ArrayBuffer(4));
    for (const [config, pattern] of [["refuse", /the configuration says so/], ["old", /version/]]) {
      const bytes = new TextEncoder().encode(String(config));
      const status = symbols.atoll_engine_load(path, path.length, bytes, bytes.length, out);
      assert.notEqual(status, 0);
      const text = new Uint8Array(new ArrayBuffer(512));
      const length = symbols.atoll_error_text(text, 512);
      assert.match(new TextDecoder().decode(text.subarray(0, length)), pattern as RegExp);
    }
    // Cut at the capacity, never beyond.
    const short = new Uint8Array(new ArrayBuffer(16)).fill(0xff);
    symbols.atoll_error_text(short.subarray(0, 8), 8);
    assert.deepEqual([...short.subarray(8)], new Array(8).fill(0xff));
  } finally {
    await client.close();
  }
});

test("D6: only fixed-size buffers cross, and no call is non-blocking", () => {
  for (const definition of Object.values(DENO_SYMBOLS)) {
    assert.ok(!("nonblocking" in definition));
  }
  const resizable = new Uint8Array(new ArrayBuffer(4, { maxByteLength: 64 })).fill(7);
  const passed = bytesArgument(resizable);
  assert.equal(passed.buffer.resizable, false);
  assert.deepEqual([...passed], [7, 7, 7, 7]);
});

test("D1, D8, B4 to B7: native code is given no function of JavaScript's", () => {
  const types = new Set([
    ...Object.values(DENO_SYMBOLS).flatMap((f) => [...f.parameters, f.result]),
    ...Object.values(BUN_SYMBOLS).flatMap((f) => [...f.args, f.returns]),
  ]);
  // Neither pointers nor 64-bit numbers either: traps D7, B1, B6, B8.
  assert.deepEqual([...types].sort(), ["buffer", "u32"]);
});

test("D9: the functions of the hot path are taken out of the library once", () => {
  for (const file of ["deno.ts", "bun.ts"]) {
    const text = readFileSync(join(CHECKOUT, "ffi", file), "utf8");
    assert.match(text, /const \{ symbols \} = /);
    assert.match(text, /symbols: \{ \.\.\.symbols \}/);
  }
  const client = readFileSync(join(CHECKOUT, "ffi/client.ts"), "utf8");
  assert.match(client, /this\.#submit = library\.symbols\.atoll_submit;/);
});

test("B9, B10: the mapped arena has its whole length and can be let go", async () => {
  const { core } = await libraries();
  const real = await openLibrary(core);
  let arena: ArrayBuffer | null = null;
  let asked = 0;
  const library = {
    ...real,
    map: (address: bigint, bytes: number) => {
      asked = bytes;
      return arena = real.map(address, bytes);
    },
  };
  const client = await NativeClient.open(library);
  assert.ok(asked >= 1024 * 1024);
  assert.equal(arena!.byteLength, asked);
  const view = new Uint8Array(arena!);
  await client.close();
  // Views are taken away; the memory stays, so whoever still had one could do no harm.
  assert.equal(arena!.detached, true);
  assert.equal(view.length, 0);
  assert.equal(view[0], undefined);
});

test("B9: mapping and letting go many times frees nothing that is not ours", async () => {
  const rig = await Rig.open();
  const { core } = await libraries();
  const library = await openLibrary(core);
  const echo = await rig.target("ECHO");
  for (let i = 0; i < 50; i++) {
    const client = await NativeClient.open(library);
    await client.close();
    assert.equal((await rig.client.callJson(echo, "[7]")).text, "[7]");
  }
  if (currentRuntime === "bun") (await import("bun")).gc(true);
  assert.equal((await rig.client.callJson(echo, "[8]")).text, "[8]");
  await rig.close();
});

test("an arena view is addressed beyond what 32-bit bytes reach", () => {
  // Slots are units of 64 bytes in a u32; offsets must not be computed by 32-bit shifts.
  const memory = new MappedMemory(new ArrayBuffer(64 * 1024), 1);
  assert.throws(() => memory.slot(0x0400_0001, 64), RangeError);
  assert.equal(memory.slot(2, 64).payload.byteOffset, 2 * 64 + 32);
});

test("both: the library is never unloaded and has no slow thread-local storage", async () => {
  const { core } = await libraries();
  const dynamic = execFileSync("readelf", ["-dW", core], { encoding: "utf8" });
  assert.match(dynamic, /NODELETE/);
  assert.match(dynamic, /STATIC_TLS/);
  const names = execFileSync("readelf", ["--dyn-syms", "-W", core], { encoding: "utf8" });
  assert.doesNotMatch(names, /__tls_get_addr/);
  // What it offers is the boundary and nothing else.
  const offered = [...names.matchAll(/GLOBAL\s+DEFAULT\s+\d+\s+(\S+)$/gm)].map((m) => m[1]!);
  assert.deepEqual(offered.sort(), Object.keys(DENO_SYMBOLS).sort());
});

test("D14: the package is a module", () => {
  const text = readFileSync(join(CHECKOUT, "package.json"), "utf8");
  assert.equal(JSON.parse(text).type, "module");
});

test("an arena and a number of calls are as large as they are asked to be", async () => {
  const { code, stdout, stderr } = await runChild("child.ts", ["few"]);
  assert.equal(code, 0, stderr);
  // 20 calls that wait, 16 of which there can be.
  const refused = Array.from({ length: 4 }, () => STATUS.OVERLOADED);
  const bytes = 8 * 2 ** 20;
  // What the configuration takes for the longest message is what the library has.
  const payloadBytesMax = messageBytesMax(bytes) - FRAME_BYTES;
  assert.deepEqual(JSON.parse(stdout), { bytes, payloadBytesMax, refused });
  await withRig(({ client }) => {
    assert.equal(client.payloadBytesMax, messageBytesMax(client.arena.bytes) - FRAME_BYTES);
    return Promise.resolve();
  });
  for (const settings of [{ callsMax: 15 }, { arena: { bytes: 2 ** 20 } }]) {
    const opened = Rig.open({ settings });
    await assert.rejects(opened, { code: "invalid_argument", message: /calls_max|arena_bytes/ });
  }
});

test("an arena beyond 4 GiB is used to its end, mapped where the runtime can", async () => {
  const { code, stdout, stderr } = await runChild("child.ts", ["far"]);
  assert.equal(code, 0, stderr);
  assert.deepEqual(JSON.parse(stdout), {
    mapped: currentRuntime === "deno",
    said: [
      `line 0 ${"ab".repeat(16)}`,
      `read at ${currentRuntime === "deno" ? 5 : 0} GiB`,
      "40000 bytes came back at 5 GiB",
      "300000 bytes came back at 5 GiB",
    ],
  });
});
