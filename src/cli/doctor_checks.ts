/**
 * What facts about this machine mean for Atoll.
 *
 * Owns: each check, its verdict and what to do. Pure: facts in, findings out.
 */
import {
  type ArenaInfo,
  type ArenaTrait,
  BUN_BUFFER_BYTES,
  type EngineStats,
} from "../sandbox/native.ts";
import type { Config } from "../config/schema.ts";
import { compareVersions, MINIMUM_VERSIONS, runtimeObstacle } from "../core/runtime.ts";
import { poolFindings, reachFindings, SMALLER_POOL } from "./doctor_pool.ts";
import type { HostFacts, ProcessLimits } from "./host_facts.ts";
import type { PermissionFact, PermissionUse } from "./permissions.ts";
import { workersFinding } from "./workers_check.ts";

/** `ok`; `degraded`: it works, worse; `failed`: it does not work. */
export type Verdict = "ok" | "degraded" | "failed";

export interface Finding {
  /** Short and fixed, for programs: `runtime`, `address-space`. */
  readonly check: string;
  readonly verdict: Verdict;
  /** What is the case. */
  readonly detail: string;
  /** What it means and what would change it; for a verdict that is not `ok`. */
  readonly consequence?: string;
}

/** State of the native libraries. */
export interface NativeState {
  /** Path of `libatoll.so`, found in the cache with the right digest; null: not there. */
  readonly library: string | null;
  /** Whether arguments are written in place, in memory that is shared; null: it was not opened. */
  readonly mapped: boolean | null;
  /** Whether readers in the core pay no fence; null: it was not opened. */
  readonly asymmetricFences: boolean | null;
  /** Why they cannot be built, or null. */
  readonly obstacle: string | null;
  /** Why the present ones could not be opened, or null. */
  readonly failure: string | null;
  /** The failure is the configuration's: nothing starts with it, the portable engine neither. */
  readonly refused: boolean;
  /** How the memory of frames is mapped; null while it is not. */
  readonly arena: ArenaInfo | null;
  /** What is kept of compiled components; null: the engine was not opened. */
  readonly cache: Pick<EngineStats, "cacheError" | "cacheBytes" | "cacheBytesMax"> | null;
  /** How many instances it has room for; null: the engine was not opened. */
  readonly pool: Pick<EngineStats, "instances" | "instancesAsked"> | null;
}

/** All findings, in the order in which one reads them. */
export function judge(facts: HostFacts, config: Config, native: NativeState): Finding[] {
  return [
    runtimeFinding(facts),
    nativeFinding(facts, native, config),
    ...fenceFindings(native),
    cpuFinding(facts),
    workersFinding(facts, config),
    ...limitFindings(facts, config),
    kernelFinding(facts),
    memoryFinding(facts, config),
    ...arenaFindings(native.arena),
    ...cacheFindings(native.cache),
    ...poolFindings(native),
    ...reachFindings(native, config),
    ...permissionFindings(facts, native),
  ];
}

function runtimeFinding({ runtime }: HostFacts): Finding {
  const obstacle = runtimeObstacle(runtime);
  const minimum = runtime.name === "node" ? "" : MINIMUM_VERSIONS[runtime.name];
  const detail = `${runtime.name} ${runtime.version}, at least ${minimum} is needed`;
  return obstacle === null
    ? { check: "runtime", verdict: "ok", detail }
    : { check: "runtime", verdict: "failed", detail, consequence: obstacle };
}

const PORTABLE =
  "plugins run on the portable engine: slower calls, two at once a plugin, CPU time counted as the " +
  "time that a guest holds its thread, one heap with the server (docs/engines.md)";

/** Why memory is not shared, and what would change that. */
function unshared(
  { runtime }: HostFacts,
  arena: ArenaInfo | null,
): [reason: string, change: string] {
  return runtime.name === "bun" && arena !== null && arena.bytes > BUN_BUFFER_BYTES
    ? [
      `a buffer of Bun has ${size(BUN_BUFFER_BYTES)} at most`,
      `native.arena.bytes of ${BUN_BUFFER_BYTES} or less`,
    ]
    : ["Deno granted --allow-ffi for one path only", "plain --allow-ffi"];
}

function nativeFinding(facts: HostFacts, native: NativeState, config: Config): Finding {
  const check = "native";
  if (config.engine === "portable") {
    return {
      check,
      verdict: "degraded",
      detail: "engine is set to portable",
      consequence: PORTABLE,
    };
  }
  if (native.library !== null && native.failure === null) {
    const detail = "native libraries are built and can be opened";
    if (native.mapped !== false) return { check, verdict: "ok", detail };
    const [reason, change] = unshared(facts, native.arena);
    return {
      check,
      verdict: "degraded",
      detail: `${detail}; memory is not shared, as ${reason}`,
      consequence: `arguments and results are copied on their way; ${change} changes that`,
    };
  }
  if (native.library !== null && native.refused) {
    return {
      check,
      verdict: "failed",
      detail: String(native.failure),
      consequence: "`atoll serve` refuses to start; `--engine portable` does without",
    };
  }
  if (native.library !== null) {
    return {
      check,
      verdict: config.engine === "native" ? "failed" : "degraded",
      detail: `native libraries are there but cannot be opened: ${native.failure}`,
      consequence: PORTABLE,
    };
  }
  if (native.obstacle === null) {
    return {
      check,
      verdict: "degraded",
      detail: "native libraries are not built yet",
      consequence: "`atoll serve` builds them in the background and moves plugins over",
    };
  }
  return {
    check,
    verdict: config.engine === "native" ? "failed" : "degraded",
    detail: `native libraries are not there and cannot be built: ${native.obstacle}`,
    consequence: PORTABLE,
  };
}

/** Nothing is said about a library that was not opened. */
function fenceFindings({ asymmetricFences }: NativeState): Finding[] {
  if (asymmetricFences === null) return [];
  const check = "membarrier";
  if (asymmetricFences) {
    return [{ check, verdict: "ok", detail: "the kernel fences other threads on demand" }];
  }
  return [{
    check,
    verdict: "degraded",
    detail: "the kernel, or a filter of system calls, refuses membarrier(2)",
    consequence:
      "each look-up of a target pays a fence of its own, some nanoseconds a call; allow the " +
      "system call, or unset ATOLL_FENCES",
  }];
}

/** What wasmtime and the checksums use where it is there, by the kernel's names. */
const WANTED_FLAGS: Record<string, readonly string[]> = {
  x64: [
    "sse4_1",
    "sse4_2",
    "popcnt",
    "avx",
    "avx2",
    "bmi1",
    "bmi2",
    "lzcnt|abm",
    "fma",
    "pclmulqdq",
  ],
  arm64: ["atomics", "crc32", "asimd", "fp"],
};

function cpuFinding(facts: HostFacts): Finding {
  const name = `${facts.cpus} x ${facts.cpuModel ?? facts.arch}`;
  if (facts.cpuFlags === null) {
    return { check: "cpu", verdict: "ok", detail: `${name}; features cannot be read here` };
  }
  const flags = facts.cpuFlags;
  const has = (wanted: string) => wanted.split("|").some((flag) => flags.has(flag));
  const wanted = WANTED_FLAGS[facts.arch] ?? [];
  const short = (flag: string) => flag.split("|")[0] ?? flag;
  const present = wanted.filter(has).map(short);
  const missing = wanted.filter((flag) => !has(flag)).map(short);
  const detail = `${name}: ${present.join(" ") || "none of the features looked for"}`;
  if (missing.length === 0) return { check: "cpu", verdict: "ok", detail };
  return {
    check: "cpu",
    verdict: "degraded",
    detail,
    consequence: `without ${
      missing.join(", ")
    } some instructions of guests or checksums are emulated`,
  };
}

const GIB = 1024 ** 3;
/** Instances where the configuration names no number (`native/sandbox/src/config.rs`). */
const INSTANCES_USUAL = 1_000;
/** One pool slot reserves a 4 GiB memory; its guard pages come on top. */
const SLOT_BYTES = 4 * GIB;
/** What the arena takes of it: an owner of 8 bytes for each cell of 64 comes on top. */
const ARENA_SHARE = 1.125;
/** Listening sockets, libraries, the runtime's own; each connection is one more. */
const FEWEST_FILES = 1_024;
const FEWEST_THREADS = 64;

function limitFindings(facts: HostFacts, config: Config): Finding[] {
  if (facts.limits === null) {
    return [{
      check: "limits",
      verdict: "ok",
      detail: "limits of this process cannot be read here",
    }];
  }
  return [
    addressSpaceFinding(facts.limits, config),
    filesFinding(facts.limits),
    pidsFinding(facts.limits, facts.groupPids),
    lockedFinding(facts.limits),
  ];
}

function addressSpaceFinding(limits: ProcessLimits, config: Config): Finding {
  const check = "address-space";
  const arena = config.native.arena.bytes * ARENA_SHARE;
  const { instances = INSTANCES_USUAL } = config.native;
  const slots = instances * SLOT_BYTES;
  const detail = `${size(limits.addressSpaceBytes)} may be mapped, ` +
    `${instances} instances reserve ${size(slots)}, the arena ${size(arena)}`;
  if (limits.addressSpaceBytes >= slots + arena) return { check, verdict: "ok", detail };
  if (limits.addressSpaceBytes < arena) {
    return {
      check,
      verdict: "degraded",
      detail,
      consequence: `the native engine cannot open; raise \`ulimit -v\`, or lower ` +
        `native.arena.bytes; ${PORTABLE}`,
    };
  }
  const fitting = Math.max(0, Math.floor((limits.addressSpaceBytes - arena) / SLOT_BYTES) - 2);
  const change = `raise \`ulimit -v\`, or set native.instances to ${fitting} or fewer`;
  // What was asked for is had or refused; what is usual is made to fit.
  return config.native.instances === undefined
    ? { check, verdict: "degraded", detail, consequence: `${SMALLER_POOL}; ${change}` }
    : {
      check,
      verdict: "failed",
      detail,
      consequence: `the native engine refuses to start; ${change}`,
    };
}

function filesFinding(limits: ProcessLimits): Finding {
  const check = "open-files";
  const detail = `${amount(limits.openFiles)} files and connections may be open`;
  if (limits.openFiles >= FEWEST_FILES) return { check, verdict: "ok", detail };
  return {
    check,
    verdict: "degraded",
    detail,
    consequence: `many connections will be refused; raise \`ulimit -n\` to ${FEWEST_FILES} or more`,
  };
}

function pidsFinding(limits: ProcessLimits, group: number | null): Finding {
  const check = "threads";
  const most = Math.min(limits.processes, group ?? Infinity);
  const detail = `${amount(most)} processes and threads may run`;
  if (most >= FEWEST_THREADS) return { check, verdict: "ok", detail };
  return {
    check,
    verdict: "degraded",
    detail,
    consequence: `worker threads may fail to start; raise \`ulimit -u\` or the container's limit ` +
      `to ${FEWEST_THREADS} or more`,
  };
}

/** io_uring needed locked memory before Linux 5.12; the transport falls back to poll without it. */
const FEWEST_LOCKED = 64 * 1024;

function lockedFinding(limits: ProcessLimits): Finding {
  const check = "locked-memory";
  const detail = `${size(limits.lockedBytes)} may be locked`;
  if (limits.lockedBytes >= FEWEST_LOCKED) return { check, verdict: "ok", detail };
  return {
    check,
    verdict: "degraded",
    detail,
    consequence: "rings that are registered with the kernel may be refused; raise `ulimit -l`",
  };
}

/** PAGEMAP_SCAN came with Linux 6.7: the pool clears only pages that a call wrote. */
const PAGEMAP_SCAN = "6.7.0";

function kernelFinding(facts: HostFacts): Finding {
  const check = "kernel";
  if (facts.platform !== "linux") {
    return {
      check,
      verdict: "degraded",
      detail: `${facts.platform} on ${facts.arch}`,
      consequence: `the native engine needs Linux; ${PORTABLE}`,
    };
  }
  if (facts.kernel === null) {
    return { check, verdict: "ok", detail: "Linux; its version cannot be read here" };
  }
  const version = /^\d+\.\d+(\.\d+)?/.exec(facts.kernel)?.[0] ?? "0.0.0";
  const detail = `Linux ${facts.kernel}`;
  if (compareVersions(version, PAGEMAP_SCAN) >= 0) {
    return { check, verdict: "ok", detail: `${detail}, has pagemap_scan` };
  }
  return {
    check,
    verdict: "degraded",
    detail,
    consequence:
      "without pagemap_scan (Linux 6.7) a fresh instance costs about three times as much",
  };
}

function memoryFinding(facts: HostFacts, config: Config): Finding {
  const check = "memory";
  const { memoryBytes, concurrency } = config.limits;
  const arena = config.native.arena.bytes;
  const worst = memoryBytes * concurrency + arena;
  if (facts.memoryBytes === null) {
    return { check, verdict: "ok", detail: "memory that is available cannot be read here" };
  }
  const detail =
    `${size(facts.memoryBytes)} available; ${concurrency} calls of one plugin may use ` +
    `${size(memoryBytes)} each, and the arena ${size(arena)}: ${size(worst)}`;
  if (facts.memoryBytes >= worst) return { check, verdict: "ok", detail };
  return {
    check,
    verdict: "degraded",
    detail,
    consequence: "plugins that use all they may can exhaust this machine; " +
      "lower limits.memoryBytes, limits.concurrency or native.arena.bytes",
  };
}

/** What would make the system give what it did not. */
const ARENA_REMEDIES: Partial<Record<ArenaTrait, string>> = {
  huge: "huge pages are off: /sys/kernel/mm/transparent_hugepage/enabled says never",
  prefaulted: "there was not enough memory to back it",
  locked: "raise `ulimit -l` to its size",
  bound: "there is one memory node, nothing to choose from",
};

function arenaFindings(arena: ArenaInfo | null): Finding[] {
  if (arena === null) return [];
  const check = "arena";
  const pages = `pages of ${size(arena.pageBytes)}`;
  const from = arena.got.includes("reserved") ? " of the reserved pool" : "";
  const others = arena.got.filter((trait) => trait !== "huge" && trait !== "reserved");
  const locked = arena.got.includes("locked") || arena.lockedBytes === 0
    ? []
    : [`${size(arena.lockedBytes)} locked`];
  const detail = [`${size(arena.bytes)}, ${pages}${from}`, ...others, ...locked].join(", ");
  const missing = arena.asked.filter((trait) => !arena.got.includes(trait));
  if (missing.length === 0) return [{ check, verdict: "ok", detail }];
  const why = missing.map((trait) => {
    const remedy = ARENA_REMEDIES[trait];
    return remedy === undefined ? `not ${trait}` : `not ${trait}: ${remedy}`;
  });
  return [{ check, verdict: "degraded", detail, consequence: why.join("; ") }];
}

function cacheFindings(cache: NativeState["cache"]): Finding[] {
  if (cache === null) return [];
  const check = "compiled";
  const consequence = "every start compiles every plugin again";
  const { cacheError, cacheBytes, cacheBytesMax } = cache;
  if (cacheBytes === null || cacheBytesMax === null) {
    const why = cacheError ?? "there is no folder for them";
    return [{
      check,
      verdict: "degraded",
      detail: `compiled components are not kept: ${why}`,
      consequence,
    }];
  }
  const detail = `${size(cacheBytes)} of compiled components are kept, at most ${
    size(cacheBytesMax)
  } (native.cacheBytes)`;
  if (cacheBytesMax > 0) return [{ check, verdict: "ok", detail }];
  return [{ check, verdict: "degraded", detail, consequence }];
}

/** What is lost without a use of a permission. */
const LOST: Record<PermissionUse, readonly [verdict: Verdict, consequence: string]> = {
  plugins: ["failed", "plugins cannot be read"],
  cache: ["degraded", "nothing is kept between starts: plugins are built each time"],
  listen: ["degraded", "only --stdio works"],
  wake: [
    "degraded",
    "the native engine is woken by a socket whose path is new at each start, which a grant for " +
    `addresses does not cover; ${PORTABLE}`,
  ],
  environment: ["degraded", "ATOLL_* variables and the user's cache folder cannot be read"],
  compilers: ["degraded", "neither plugins nor the native libraries can be built"],
  library: ["degraded", `the native libraries cannot be opened; ${PORTABLE}`],
  owner: ["degraded", "who owns the native libraries cannot be checked before they are loaded"],
};
const NO_PLUGIN_BUILDS = "plugins cannot be built, the native libraries are there already";

/** One finding for each permission of which something that is used is not granted. */
function permissionFindings(facts: HostFacts, native: NativeState): Finding[] {
  if (facts.permissions === null) return [];
  const refused = Map.groupBy(
    facts.permissions.filter((fact) => !fact.granted),
    (fact) => fact.permission,
  );
  if (refused.size === 0) {
    return [{ check: "permissions", verdict: "ok", detail: "Deno granted all that is used" }];
  }
  return [...refused].map(([permission, uses]) => {
    const lost = [...new Set(uses.map((fact) => fact.use))].map((use) =>
      use === "compilers" && native.library !== null
        ? ["degraded", NO_PLUGIN_BUILDS] as const
        : LOST[use]
    );
    return {
      check: `permission-${permission}`,
      verdict: lost.some(([verdict]) => verdict === "failed") ? "failed" : "degraded",
      detail: `Deno did not grant ${flagsOf(uses)}`,
      consequence: lost.map(([, consequence]) => consequence).join("; "),
    };
  });
}

/** `--allow-run=make,cargo`; a use of the whole permission needs no list beside it. */
function flagsOf(uses: readonly PermissionFact[]): string {
  const whole = uses.find(({ flag }) => !flag.includes("="));
  if (whole !== undefined) return whole.flag;
  const values = uses.map(({ flag }) => flag.slice(flag.indexOf("=") + 1));
  return `--allow-${uses[0]?.permission}=${[...new Set(values)].join(",")}`;
}

function size(bytes: number): string {
  if (bytes === Infinity) return "any amount";
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const step = bytes < 1 ? 0 : Math.min(4, Math.floor(Math.log2(bytes) / 10));
  return `${Math.round(bytes / 1024 ** step * 10) / 10} ${units[step]}`;
}

function amount(value: number): string {
  return value === Infinity ? "any number of" : String(value);
}
