/**
 * A lock file that lets one process at a time build into the cache.
 *
 * Owns: taking, waiting for and giving back the lock; telling a dead owner from a slow one. Owners
 * on this machine are asked for by their process id; others, in another container or behind a file
 * server, show that they live by the lock's time of modification.
 * Must not know what is done under it.
 */
import {
  linkSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";
import process from "node:process";
import { randomUUID } from "node:crypto";

/** A held lock. */
export interface FileLock {
  /** Gives the lock back; calling it again does nothing. */
  release(): void;
}

/** What the file says. */
export interface LockOwner {
  readonly pid: number;
  /**
   * Where process ids mean what they mean here: the kernel that was booted and the namespace of
   * process ids. Null where that cannot be told (Deno without --allow-all).
   */
  readonly place: string | null;
  /** Clock ticks since boot at which the owner started, where it can be read; tells a reused pid. */
  readonly started: string | null;
  readonly nonce: string;
}

/** Milliseconds; tests have less time. */
export interface LockTiming {
  /** Between two looks at a lock that another has. */
  readonly poll: number;
  /** Between two touches of a lock that is held. */
  readonly touch: number;
  /** After which a lock that nobody touched has no owner any more. */
  readonly stale: number;
}

const TIMING: LockTiming = { poll: 200, touch: 5_000, stale: 60_000 };

/**
 * Waits until the lock at `path` is this process's own.
 * @param onWait told once of each owner that is waited for: its process id, and whether it is this
 *   very process
 * @throws the signal's reason when it is aborted while waiting
 */
export async function takeLock(
  path: string,
  signal?: AbortSignal,
  onWait?: (pid: number, own: boolean) => void,
  timing: LockTiming = TIMING,
): Promise<FileLock> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const mine = lockOwner();
  let told: string | null = null;
  let seen: Sighting | null = null;
  while (true) {
    signal?.throwIfAborted();
    if (create(path, mine)) return hold(path, mine, timing);
    const other = read(path);
    if (other === undefined) continue;
    seen = look(path, other, seen);
    const alive = other !== null &&
      (isHere(other, mine) ? isAlive(other) : performance.now() - seen.since < timing.stale);
    if (!alive) {
      breakLock(path, other);
      continue;
    }
    if (told !== other.nonce) {
      onWait?.(other.pid, isHere(other, mine) && other.pid === mine.pid);
    }
    told = other.nonce;
    await new Promise((resolve) => setTimeout(resolve, timing.poll));
  }
}

/** This process as an owner. */
export function lockOwner(): LockOwner {
  return {
    pid: process.pid,
    place: placeOfProcesses(),
    started: startOf(process.pid),
    nonce: randomUUID(),
  };
}

/** Touches the lock for as long as it is held. */
function hold(path: string, mine: LockOwner, timing: LockTiming): FileLock {
  const timer = setInterval(() => {
    try {
      // Another may have taken it over while this process was stopped.
      if (read(path)?.nonce === mine.nonce) utimesSync(path, new Date(), new Date());
    } catch {
      // It was given back or taken over just now.
    }
  }, timing.touch);
  timer.unref();
  return {
    release: () => {
      clearInterval(timer);
      release(path, mine);
    },
  };
}

/** A lock as it was seen first: clocks of two machines differ, so only changes count. */
interface Sighting {
  readonly nonce: string | undefined;
  readonly modifiedMs: number | undefined;
  /** By this process's clock. */
  readonly since: number;
}

function look(path: string, owner: LockOwner | null, before: Sighting | null): Sighting {
  const modifiedMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
  const nonce = owner?.nonce;
  if (before?.nonce === nonce && before?.modifiedMs === modifiedMs && before !== null) {
    return before;
  }
  return { nonce, modifiedMs, since: performance.now() };
}

/** Writes beside the lock and links, so that the lock is never seen half written. */
function create(path: string, owner: LockOwner): boolean {
  const draft = `${path}.${owner.nonce}`;
  writeFileSync(draft, JSON.stringify(owner), { mode: 0o600 });
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/** The owner; null when the file cannot be understood; undefined when it is gone. */
function read(path: string): LockOwner | null | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
  try {
    const owner = JSON.parse(text) as Partial<LockOwner>;
    const whole = typeof owner.pid === "number" && typeof owner.nonce === "string";
    return whole ? { place: null, ...owner } as LockOwner : null;
  } catch {
    return null;
  }
}

/** Takes a stale lock away; where it was another's by now, that one gets it back. */
function breakLock(path: string, stale: LockOwner | null): void {
  const aside = `${path}.stale-${randomUUID()}`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  const taken = read(aside);
  if (taken && taken.nonce !== stale?.nonce) {
    try {
      linkSync(aside, path);
    } catch {
      // A third process took it in between, so two build at once. What they publish is complete
      // either way and leftovers are cleared by age: work is done twice, nothing is lost.
    }
  }
  rmSync(aside, { force: true });
}

function release(path: string, mine: LockOwner): void {
  if (read(path)?.nonce === mine.nonce) rmSync(path, { force: true });
}

/** Whether the owner's process id can be asked for from here. */
function isHere(owner: LockOwner, mine: LockOwner): boolean {
  return owner.place !== null && owner.place === mine.place;
}

function isAlive(owner: LockOwner): boolean {
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    // EPERM: there is one, of another user.
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  const started = startOf(owner.pid);
  return owner.started === null || started === null || owner.started === started;
}

function placeOfProcesses(): string | null {
  try {
    if (process.platform !== "linux") return hostname();
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    return `${boot} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return null;
  }
}

/** Field 22 of /proc/PID/stat (proc(5)), or null where it cannot be read. */
function startOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is a name in brackets that may hold spaces.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}
