/**
 * A lock file that lets one process at a time build into the cache.
 *
 * Owns: taking, waiting for and giving back the lock; telling a dead owner from a slow one.
 * Must not know what is done under it.
 */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { randomUUID } from "node:crypto";

/** A held lock. */
export interface FileLock {
  /** Gives the lock back; calling it again does nothing. */
  release(): void;
}

interface Owner {
  readonly pid: number;
  /** Clock ticks since boot at which the owner started, where it can be read; tells a reused pid. */
  readonly started: string | null;
  readonly nonce: string;
}

const POLL_MS = 200;

/**
 * Waits until the lock at `path` is this process's own.
 * @param onWait told once that another process has it, with that process's id
 * @throws the signal's reason when it is aborted while waiting
 */
export async function takeLock(
  path: string,
  signal?: AbortSignal,
  onWait?: (pid: number) => void,
): Promise<FileLock> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const mine: Owner = {
    pid: process.pid,
    started: startOf(process.pid),
    nonce: randomUUID(),
  };
  let told = false;
  while (true) {
    signal?.throwIfAborted();
    if (create(path, mine)) return { release: () => release(path, mine) };
    const other = read(path);
    if (other === undefined) continue;
    if (other === null || !isAlive(other)) {
      breakLock(path, other);
      continue;
    }
    if (!told) onWait?.(other.pid);
    told = true;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Writes beside the lock and links, so that the lock is never seen half written. */
function create(path: string, owner: Owner): boolean {
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
function read(path: string): Owner | null | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
  try {
    const owner = JSON.parse(text) as Partial<Owner>;
    return typeof owner.pid === "number" && typeof owner.nonce === "string" ? owner as Owner : null;
  } catch {
    return null;
  }
}

/** Takes a stale lock away; one that changed hands meanwhile is put back. */
function breakLock(path: string, stale: Owner | null): void {
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
      // A third process has it by now; both builds are atomic, so neither is harmed.
    }
  }
  rmSync(aside, { force: true });
}

function release(path: string, mine: Owner): void {
  if (read(path)?.nonce === mine.nonce) rmSync(path, { force: true });
}

function isAlive(owner: Owner): boolean {
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    // Only "no such process" is proof; a refusal to look is not.
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    return true;
  }
  const started = startOf(owner.pid);
  return owner.started === null || started === null || owner.started === started;
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
