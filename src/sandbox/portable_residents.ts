/**
 * The instances of a component that outlive their calls, seen from the main thread.
 *
 * Owns: whose they are, in which worker each is, which call gets which and when one is let go. The
 * bounds are the native engine's (`native/sandbox/src/keyed.rs`). Must not know how a call is run or
 * which waits.
 */
import { AtollError } from "../core/errors.ts";
import type { Isolation } from "../core/isolation.ts";
import type { Limits } from "../core/limits.ts";
import { actorsError } from "./limit_error.ts";
import type { PortableThread } from "./portable_thread.ts";

/** Keys whose lost actor is remembered until the next one begins. */
const LOST_MAX = 1_000;

/** An instance that a worker has. */
export interface Resident {
  readonly instance: number;
  readonly key: string;
  readonly thread: PortableThread;
}

interface Own extends Resident {
  callsLeft: number;
  busy: boolean;
  memoryBytes: number;
  timer: ReturnType<typeof setTimeout> | null;
}

/** What a call gets. */
export interface Choice {
  readonly resident: Resident;
  /** Why the actor before this one was lost; null: there was none, or this one is not new. */
  readonly lost: string | null;
}

export class PortableResidents {
  readonly #plugin: string;
  readonly #isolation: Exclude<Isolation, { mode: "call" }>;
  readonly #limits: Limits;
  /** The one that has rested longest comes first. */
  readonly #all = new Set<Own>();
  readonly #lost = new Map<string, string>();
  #last = 0;
  /** The most that one instance had at the end of a call. */
  #largestBytes = 0;

  constructor(plugin: string, isolation: Exclude<Isolation, { mode: "call" }>, limits: Limits) {
    this.#plugin = plugin;
    this.#isolation = isolation;
    this.#limits = limits;
  }

  /** Whether a key has one instance, whose state counts. */
  get actors(): boolean {
    return this.#isolation.mode === "actor";
  }

  /** Whether a call of the key runs. */
  busy(key: string): boolean {
    return [...this.#all].some((own) => own.key === key && own.busy);
  }

  /** Whether the worker has any. */
  lives(thread: PortableThread): boolean {
    return [...this.#all].some((own) => own.thread === thread);
  }

  /**
   * An instance for a call of the key in one of these idle workers, of which there is at least one;
   * null: its actor is in another one, or runs a call.
   * @throws AtollError overloaded: there are as many actors as there may be
   */
  choose(key: string, idle: readonly PortableThread[]): Choice | null {
    const own = [...this.#all].filter((each) => each.key === key);
    const [actor] = own;
    if (this.actors && actor !== undefined && (actor.busy || !idle.includes(actor.thread))) {
      return null;
    }
    const known = own.findLast((each) => !each.busy && idle.includes(each.thread));
    if (known !== undefined) {
      this.#take(known);
      return { resident: known, lost: null };
    }
    this.#makeRoom();
    const lost = this.#lost.get(key) ?? null;
    this.#lost.delete(key);
    const count = (thread: PortableThread) =>
      [...this.#all].filter((each) => each.thread === thread).length;
    const [thread] = [...idle].sort((a, b) => count(a) - count(b));
    if (thread === undefined) throw new AtollError("internal", "no worker is idle");
    const resident: Own = {
      instance: ++this.#last,
      key,
      thread,
      callsLeft: this.#isolation.mode === "reuse" ? this.#isolation.calls : Infinity,
      busy: true,
      memoryBytes: 0,
      timer: null,
    };
    this.#all.add(resident);
    return { resident, lost };
  }

  /**
   * A call of it has ended.
   * @param reason how, when its instance is gone
   */
  ended(resident: Resident, reason: string | null, memoryBytes: number): void {
    const own = resident as Own;
    this.#largestBytes = Math.max(this.#largestBytes, memoryBytes);
    if (!this.#all.delete(own)) return;
    if (reason !== null) return this.#lose(own.key, reason);
    own.memoryBytes = memoryBytes;
    own.busy = false;
    own.callsLeft -= 1;
    if (own.callsLeft === 0) return this.#drop(own);
    this.#all.add(own);
    const { idleMs } = this.#isolation;
    if (idleMs === null) return;
    own.timer = setTimeout(() => {
      this.#all.delete(own);
      this.#drop(own);
    }, idleMs);
    // What rests does not keep the process alive.
    own.timer.unref();
  }

  /**
   * A call is about to run: instances that rest let go of the memory that it may need, by what calls
   * needed before. A guest that needs more than any one before it cannot wait for them: it grows in a
   * worker that hears nothing meanwhile.
   */
  giveWay(choice: Choice | null): void {
    const most = this.#limits.pluginMemoryBytes;
    if (most === 0 || this.actors) return;
    const chosen = choice === null ? 0 : (choice.resident as Own).memoryBytes;
    let held = Math.max(0, this.#largestBytes - chosen);
    for (const own of this.#all) held += own.memoryBytes;
    for (const own of this.#all) {
      if (held <= most) return;
      if (own.busy) continue;
      held -= own.memoryBytes;
      this.#all.delete(own);
      this.#drop(own);
    }
  }

  /** A worker is gone, and what it had. */
  forget(thread: PortableThread): void {
    for (const own of this.#all) {
      if (own.thread !== thread) continue;
      this.#all.delete(own);
      this.#take(own);
      this.#lose(own.key, "its worker was lost");
    }
  }

  /** All workers end. */
  clear(): void {
    for (const own of this.#all) this.#take(own);
    this.#all.clear();
  }

  #makeRoom(): void {
    if (this.#all.size < this.#limits.concurrency) return;
    if (this.actors) throw actorsError(this.#limits, this.#plugin);
    const longest = [...this.#all].find((own) => !own.busy);
    if (longest === undefined) return;
    this.#all.delete(longest);
    this.#drop(longest);
  }

  #take(own: Own): void {
    own.busy = true;
    if (own.timer !== null) clearTimeout(own.timer);
    own.timer = null;
  }

  #drop(own: Own): void {
    this.#take(own);
    own.thread.drop(own.instance, own.memoryBytes);
  }

  #lose(key: string, reason: string): void {
    if (!this.actors) return;
    this.#lost.set(key, reason);
    const [eldest] = this.#lost.keys();
    if (this.#lost.size > LOST_MAX && eldest !== undefined) this.#lost.delete(eldest);
  }
}
