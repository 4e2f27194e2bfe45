/** What facts about a machine mean: each limit that a host cannot back is found and explained. */
import { deepEqual, equal, match } from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { loadConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { grantsOf } from "./grants.ts";
import { judge, type NativeState } from "./doctor_checks.ts";
import { type HostFacts, parseCpuinfo, parseLimits, parseMeminfo, readHost } from "./host_facts.ts";
import type { PermissionFact, PermissionUse } from "./permissions.ts";

const { config } = loadConfig({ cwd: "/" });
const TERA = 1024 ** 4;

const GOOD: HostFacts = {
  runtime: { name: "deno", version: "2.9.6" },
  platform: "linux",
  arch: "x64",
  kernel: "6.12.1-amd64",
  cpus: 2,
  cpuModel: "Model",
  cpuFlags: new Set(
    ["sse4_1", "sse4_2", "popcnt", "avx", "avx2", "bmi1", "bmi2", "abm", "fma", "pclmulqdq"],
  ),
  limits: {
    addressSpaceBytes: Infinity,
    lockedBytes: 8 * 1024 * 1024,
    openFiles: 65_536,
    processes: Infinity,
  },
  memoryBytes: TERA,
  groupPids: null,
  permissions: null,
};
const BUILT: NativeState = {
  library: "/cache/libatoll.so",
  mapped: true,
  asymmetricFences: true,
  obstacle: null,
  failure: null,
  refused: false,
  arena: null,
  cache: null,
  pool: null,
};
const ABSENT: NativeState = {
  library: null,
  mapped: null,
  asymmetricFences: null,
  obstacle: null,
  failure: null,
  refused: false,
  arena: null,
  cache: null,
  pool: null,
};

function worse(facts: Partial<HostFacts>, native = BUILT, settings: Partial<Config> = {}) {
  return judge({ ...GOOD, ...facts }, { ...config, ...settings }, native)
    .filter((finding) => finding.verdict !== "ok")
    .map(({ check, verdict, consequence }) => [check, verdict, consequence ?? ""]);
}

test("a good machine has nothing to complain about", () => {
  deepEqual(worse({}), []);
});

test("workers are held against the processors and the engine", () => {
  const about = (http: Partial<Config["http"]>, engine: Config["engine"] = "auto", cpus = 2) => {
    const settings = { ...config, engine, http: { ...config.http, ...http } };
    const [found] = judge({ ...GOOD, cpus }, settings, BUILT)
      .filter(({ check }) => check === "workers");
    return `${found?.verdict}: ${found?.detail}. ${found?.consequence ?? ""}`;
  };
  match(about({}), /^ok: 1 JavaScript worker on 2 CPUs; http\.workers lets more of them answer/);
  match(about({}, "auto", 1), /^ok: 1 JavaScript worker on 1 CPU\. $/);
  match(about({ workers: 2 }), /^ok: 2 JavaScript workers on 2 CPUs\. $/);
  match(about({ workers: 0 }, "auto", 8), /^ok: 8 JavaScript workers on 8 CPUs\. $/);
  match(about({ workers: 3 }), /^degraded: 3 .* on 2 CPUs\. .*set http\.workers to 2 or fewer/);
  match(about({ workers: 2 }, "portable"), /^degraded: .*the portable engine is in one thread/);
});

const LIMITED: [facts: Partial<HostFacts>, check: string, verdict: string, says: RegExp][] = [
  [{ runtime: { name: "deno", version: "2.8.0" } }, "runtime", "failed", /at least 2\.9\.0/],
  [{ kernel: "6.6.9" }, "kernel", "degraded", /pagemap_scan/],
  [{ platform: "darwin" }, "kernel", "degraded", /needs Linux/],
  [{ cpuFlags: new Set(["sse4_2"]) }, "cpu", "degraded", /without sse4_1, popcnt, avx/],
  [
    { memoryBytes: 1024 ** 3 },
    "memory",
    "degraded",
    /limits\.memoryBytes, limits\.concurrency or native\.arena\.bytes/,
  ],
  [{ groupPids: 10 }, "threads", "degraded", /64 or more/],
  [
    { permissions: [{ permission: "ffi", use: "library", flag: "--allow-ffi", granted: false }] },
    "permission-ffi",
    "degraded",
    /portable engine/,
  ],
  [
    { limits: { addressSpaceBytes: TERA, lockedBytes: 1e9, openFiles: 1e6, processes: 1e6 } },
    "address-space",
    "degraded",
    /native\.instances to 253 or fewer/,
  ],
  [
    {
      limits: {
        addressSpaceBytes: 1024 ** 2 * 200,
        lockedBytes: 1e9,
        openFiles: 1e6,
        processes: 1e6,
      },
    },
    "address-space",
    "degraded",
    /the native engine cannot open; raise `ulimit -v`, or lower native\.arena\.bytes/,
  ],
  [
    { limits: { addressSpaceBytes: Infinity, lockedBytes: 1e9, openFiles: 256, processes: 1e6 } },
    "open-files",
    "degraded",
    /ulimit -n/,
  ],
  [
    { limits: { addressSpaceBytes: Infinity, lockedBytes: 0, openFiles: 1e6, processes: 1e6 } },
    "locked-memory",
    "degraded",
    /ulimit -l/,
  ],
];

test("each thing that a host cannot back is found alone, with what would change it", () => {
  for (const [facts, check, verdict, says] of LIMITED) {
    const found = worse(facts);
    deepEqual(found.map(([name, how]) => [name, how]), [[check, verdict]]);
    match(found[0]?.[2] ?? "", says);
  }
});

test("what is kept of compiled components is shown with its cap", () => {
  const compiled = (cache: NativeState["cache"]) =>
    judge(GOOD, config, { ...BUILT, cache }).find(({ check }) => check === "compiled");
  equal(compiled(null), undefined);
  const kept = compiled({
    cacheError: null,
    cacheBytes: 3 * 1024 ** 2,
    cacheBytesMax: 2 * 1024 ** 3,
  });
  equal(kept?.verdict, "ok");
  match(kept?.detail ?? "", /^3 MiB of compiled components are kept, at most 2 GiB/);
  const off = compiled({ cacheError: null, cacheBytes: 0, cacheBytesMax: 0 });
  deepEqual([off?.verdict, off?.consequence !== undefined], ["degraded", true]);
  const error = "/c/compiled: belongs to another user";
  const broken = compiled({ cacheError: error, cacheBytes: null, cacheBytesMax: null });
  equal(broken?.verdict, "degraded");
  match(broken?.detail ?? "", /not kept: .*belongs to another user/);
});

test("the state of the native libraries decides with the engine that is asked for", () => {
  const missing = { ...ABSENT, obstacle: "no cargo" };
  const verdict = (native: NativeState, engine: Config["engine"]) =>
    worse({}, native, { engine }).map(([check, how]) => `${check} ${how}`).join();
  equal(verdict(missing, "auto"), "native degraded");
  equal(verdict(missing, "native"), "native failed");
  const broken = { ...BUILT, mapped: null, failure: "pool" };
  equal(verdict(broken, "auto"), "native degraded");
  equal(verdict(broken, "native"), "native failed");
  equal(verdict(BUILT, "portable"), "native degraded");
  equal(verdict(ABSENT, "native"), "native degraded");
});

test("what the portable engine lacks is said as docs/engines.md has it", () => {
  const [[, , consequence] = []] = worse({}, BUILT, { engine: "portable" });
  match(consequence ?? "", /two at once a plugin, CPU time counted as the time that a guest holds/);
});

test("native libraries without shared memory work, by copying", () => {
  const found = worse({}, { ...BUILT, mapped: false }, { engine: "native" });
  deepEqual(found.map(([check, how]) => [check, how]), [["native", "degraded"]]);
  match(found[0]?.[2] ?? "", /copied .*; plain --allow-ffi changes that/);
  const bun = { runtime: { name: "bun", version: "1.4.5" } } as const;
  const arena = {
    bytes: 6 * 2 ** 30,
    asked: [],
    got: [],
    pageBytes: 4096,
    numaNodes: 1,
    lockedBytes: 0,
  };
  const large = worse(bun, { ...BUILT, mapped: false, arena });
  deepEqual(large.map(([check, how]) => [check, how]), [["native", "degraded"]]);
  match(large[0]?.[2] ?? "", /native\.arena\.bytes of 4294967296 or less changes that/);
});

test("a kernel that refuses membarrier costs each look-up a fence", () => {
  const found = worse({}, { ...BUILT, asymmetricFences: false });
  deepEqual(found.map(([check, how]) => [check, how]), [["membarrier", "degraded"]]);
  match(found[0]?.[2] ?? "", /pays a fence of its own/);
});

test("grants for what is used are grants, and refusals are told by permission", () => {
  const fact = (use: PermissionUse, flag: string, granted: boolean): PermissionFact => ({
    permission: /--allow-(\w+)/.exec(flag)?.[1] as PermissionFact["permission"],
    use,
    flag,
    granted,
  });
  const listen = fact("listen", "--allow-net=127.0.0.1:7420", true);
  deepEqual(worse({ permissions: [listen, fact("plugins", "--allow-read=/p", true)] }), []);
  const wake = fact("wake", "--allow-net", false);
  const [net = []] = worse({ permissions: [listen, wake] });
  deepEqual(net.slice(0, 2), ["permission-net", "degraded"]);
  match(net[2] ?? "", /native engine is woken by a socket/);
  equal(net[2]?.includes("only --stdio works"), false);
  const [both = []] = worse({ permissions: [{ ...listen, granted: false }, wake] });
  match(both[2] ?? "", /^only --stdio works; the native engine/);

  const run = ["cc", "make", "cargo"].map((name) =>
    fact("compilers", `--allow-run=${name}`, name === "cargo")
  );
  const details = judge({ ...GOOD, permissions: run }, config, ABSENT).map(({ detail }) => detail);
  equal(details.includes("Deno did not grant --allow-run=cc,make"), true);
  match(worse({ permissions: run })[0]?.[2] ?? "", /the native libraries are there already/);
  match(
    worse({ permissions: [fact("plugins", "--allow-read=/p", false)] }).join(),
    /permission-read,failed,plugins cannot be read/,
  );
});

test("facts are read from the texts of /proc", () => {
  const limits =
    "Limit                     Soft Limit           Hard Limit           Units     \n" +
    "Max open files            1024                 4096                 files     \n" +
    "Max address space         unlimited            unlimited            bytes     \n" +
    "Max locked memory         65536                65536                bytes     \n" +
    "Max processes             100                  200                  processes \n";
  deepEqual(parseLimits(limits), {
    addressSpaceBytes: Infinity,
    lockedBytes: 65_536,
    openFiles: 1024,
    processes: 100,
  });
  equal(parseMeminfo("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), 2 * 1024 * 1024);
  const cpu = parseCpuinfo("model name\t: A B\nflags\t\t: fpu  sse2\n");
  deepEqual([cpu.model, [...cpu.flags ?? []]], ["A B", ["fpu", "sse2"]]);
  deepEqual([parseLimits(null), parseMeminfo(null), parseCpuinfo(null).flags], [null, null, null]);
});

test("this machine can be read", () => {
  const facts = readHost(config, null);
  equal(facts.cpus > 0, true);
  equal(judge(facts, config, BUILT).length >= 5, true);
});

test("imports are read as the grants they ask for", () => {
  const { grants, unknown } = grantsOf([
    "wasi:io/streams@0.2.6",
    "wasi:http/types@0.2.6",
    "wasi:http/outgoing-handler@0.2.6",
    "wasi:clocks/monotonic-clock@0.2.6",
    "wasi:clocks/wall-clock@0.2.6",
    "wasi:keyvalue/store@0.2.0-draft2",
    "wasi:config/store@0.2.0-rc.1",
    "wasi:logging/logging@0.1.0-draft",
    "acme:db/store@1.0.0",
  ]);
  deepEqual(grants.map(({ name, imports }) => [name, imports.length]), [
    ["network", 1],
    ["clocks", 2],
    ["key-value", 1],
  ]);
  deepEqual(unknown, ["acme:db/store@1.0.0"]);
});

test("the arena: what was asked for and not got is degraded, with what would change it", () => {
  const arena: NativeState["arena"] = {
    bytes: 256 * 1024 ** 2,
    asked: ["guarded"],
    got: ["guarded"],
    pageBytes: 4096,
    numaNodes: 1,
    lockedBytes: 0,
  };
  const found = (changes: Partial<typeof arena>) =>
    judge(GOOD, config, { ...BUILT, arena: { ...arena, ...changes } })
      .find((finding) => finding.check === "arena");
  deepEqual(found({}), {
    check: "arena",
    verdict: "ok",
    detail: "256 MiB, pages of 4 KiB, guarded",
  });
  const huge = found({
    asked: ["huge", "guarded"],
    got: ["huge", "reserved", "guarded"],
    pageBytes: 2 * 1024 ** 2,
  });
  equal(huge?.detail, "256 MiB, pages of 2 MiB of the reserved pool, guarded");
  const poor = found({ asked: ["huge", "locked", "bound", "guarded"], lockedBytes: 1024 ** 2 });
  equal(poor?.verdict, "degraded");
  equal(poor?.detail, "256 MiB, pages of 4 KiB, guarded, 1 MiB locked");
  match(poor?.consequence ?? "", /not huge: .*never; not locked: .*ulimit -l.*; not bound: /);
  equal(judge(GOOD, config, BUILT).some((finding) => finding.check === "arena"), false);
});

test("a pool that was asked for is had or refused, the usual one is made to fit", () => {
  const limits = { addressSpaceBytes: TERA, lockedBytes: 1e9, openFiles: 1e6, processes: 1e6 };
  const native = { ...config.native, instances: 1_000 };
  const [asked] = worse({ limits }, BUILT, { native });
  deepEqual(asked?.slice(0, 2), ["address-space", "failed"]);
  match(asked?.[2] ?? "", /refuses to start; .*native\.instances to 253/);
  const failure = "Cannot start the native engine: native.instances is 1000000";
  const [refused] = worse({}, { ...BUILT, failure, refused: true });
  deepEqual(refused?.slice(0, 2), ["native", "failed"]);
  match(refused?.[2] ?? "", /refuses to start/);
  const pool = (instances: number) =>
    worse({}, { ...BUILT, pool: { instances, instancesAsked: 1_000 } });
  deepEqual(pool(1_000), []);
  const [smaller] = pool(500);
  deepEqual(smaller?.slice(0, 2), ["instances", "degraded"]);
  match(smaller?.[2] ?? "", /overloaded; raise `ulimit -v`/);
});

test("a limit that another one comes before is told", () => {
  const pool = { instances: 10, instancesAsked: 10 };
  const [found] = worse({}, { ...BUILT, pool });
  deepEqual(found, [
    "unreachable",
    "degraded",
    "it never takes effect; lower it, or raise the other",
  ]);
});
