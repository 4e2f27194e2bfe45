/**
 * Facts about this machine, read from /proc and the runtime.
 *
 * Owns: parsing. What a fact means for Atoll is judged in `doctor_checks.ts`. Whatever cannot be
 * read is null: another system, or no permission.
 */
import { readFileSync } from "node:fs";
import { release } from "node:os";
import process from "node:process";
import type { Config } from "../config/schema.ts";
import { currentRuntime, type Runtime } from "../core/runtime.ts";
import { askPermissions, type PermissionFact } from "./permissions.ts";

/** Soft limits of this process (getrlimit(2)); Infinity for unlimited. */
export interface ProcessLimits {
  readonly addressSpaceBytes: number;
  readonly lockedBytes: number;
  readonly openFiles: number;
  readonly processes: number;
}

export interface HostFacts {
  readonly runtime: Runtime;
  readonly platform: string;
  readonly arch: string;
  /** As `uname -r`. */
  readonly kernel: string | null;
  readonly cpus: number;
  readonly cpuModel: string | null;
  readonly cpuFlags: ReadonlySet<string> | null;
  readonly limits: ProcessLimits | null;
  /** Memory that can be had without swapping, of the machine or the control group. */
  readonly memoryBytes: number | null;
  /** Processes and threads that the control group allows; Infinity for any number. */
  readonly groupPids: number | null;
  /** What Deno grants of what this configuration uses; null under Bun, which has no permissions. */
  readonly permissions: readonly PermissionFact[] | null;
}

/**
 * Everything that can be read here.
 * @param library Path of `libatoll.so`, or null while there is none.
 */
export function readHost(config: Config, library: string | null): HostFacts {
  const cpu = parseCpuinfo(text("/proc/cpuinfo"));
  return {
    runtime: currentRuntime(),
    platform: process.platform,
    arch: process.arch,
    kernel: safely(release),
    // Asks for no permission under Deno, unlike node:os.
    cpus: navigator.hardwareConcurrency,
    cpuModel: cpu.model,
    cpuFlags: cpu.flags,
    limits: parseLimits(text("/proc/self/limits")),
    memoryBytes: smallest([
      parseMeminfo(text("/proc/meminfo")),
      groupNumber("memory.max"),
    ]),
    groupPids: groupNumber("pids.max"),
    permissions: askPermissions(config, library),
  };
}

function text(path: string): string | null {
  return safely(() => readFileSync(path, "utf8"));
}

function safely<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}

function smallest(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.min(...known);
}

/** `flags` on x86, `Features` on arm64. */
export function parseCpuinfo(
  source: string | null,
): { model: string | null; flags: ReadonlySet<string> | null } {
  const field = (name: RegExp) =>
    source?.split("\n").find((line) => name.test(line))?.split(":")[1];
  const flags = field(/^(flags|Features)\s*:/);
  return {
    model: field(/^model name\s*:/)?.trim() ?? null,
    flags: flags === undefined ? null : new Set(flags.trim().split(/\s+/)),
  };
}

/** proc_pid_limits(5): name, soft, hard, unit, in columns parted by two spaces or more. */
export function parseLimits(source: string | null): ProcessLimits | null {
  if (source === null) return null;
  const soft = (name: string) => {
    const line = source.split("\n").find((row) => row.startsWith(`Max ${name} `));
    const value = line?.slice(`Max ${name}`.length).trim().split(/\s+/)[0];
    return value === undefined || value === "unlimited" ? Infinity : Number(value);
  };
  return {
    addressSpaceBytes: soft("address space"),
    lockedBytes: soft("locked memory"),
    openFiles: soft("open files"),
    processes: soft("processes"),
  };
}

export function parseMeminfo(source: string | null): number | null {
  const kibibytes = /^MemAvailable:\s+(\d+) kB$/m.exec(source ?? "")?.[1];
  return kibibytes === undefined ? null : Number(kibibytes) * 1024;
}

/** A number of this process's control group, version 2; `max` is Infinity. */
function groupNumber(name: string): number | null {
  const group = /^0::(\/.*)$/m.exec(text("/proc/self/cgroup") ?? "")?.[1];
  if (group === undefined) return null;
  // In a container the group's own folder is the root of what is mounted.
  const value = text(`/sys/fs/cgroup${group}/${name}`) ?? text(`/sys/fs/cgroup/${name}`);
  if (value === null) return null;
  return value.trim() === "max" ? Infinity : Number(value);
}
