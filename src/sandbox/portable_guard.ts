/**
 * What one call on the portable engine may use, checked from inside the worker.
 *
 * Owns the counters of a call and the reason for its end. A guest is ended by a trap in its own
 * code, asked for by {@link CallGuard.tick}; host functions that find a limit exceeded also throw
 * {@link GuestEnded}, and take away the guest's fuel in case it catches that.
 */
import type { Limits } from "../core/limits.ts";
import type { LimitName } from "./limit_error.ts";
import {
  FUEL,
  TICK_FUEL,
  TICK_MEMORY,
  TICK_MEMORY_GREW,
  TICK_TABLE,
  TICK_TABLE_GREW,
} from "./portable_core.ts";
import type { WorkerPages } from "./portable_pages.ts";
import { SHARED_WORDS, WORD_CANCEL, WORD_WAKE } from "./portable_protocol.ts";

const PAGE_BYTES = 65_536;

/** Why a call was ended by its host. */
export type StopReason =
  | { readonly kind: "limit"; readonly limit: LimitName }
  | { readonly kind: "trap"; readonly message: string }
  | { readonly kind: "deadline" | "cancelled" };

/** Unwinds the guest; the reason is in the guard. */
export class GuestEnded extends Error {
  override readonly name = "GuestEnded";
}

/** Units of work between two looks at the clock from host functions: calls, entries, KB copied. */
const CHARGES_A_LOOK = 64;

const UNIT_BYTES = 1024;

/** The native engine's hostcall fuel (`native/sandbox/src/instance.rs`), so that both end alike. */
const LIFT_BASE_BYTES = 1024 * 1024;
const LIFT_PER_OUTPUT_BYTE = 40;

export class CallGuard {
  readonly limits: Limits;
  readonly #words: Int32Array;
  readonly #pages: WorkerPages | null;
  /** The instance's beginning: its guest's monotonic clock goes on from call to call. */
  readonly #begun = performance.now();
  #id: number;
  #start = this.#begun;
  #deadline: number;
  readonly #fuels: WebAssembly.Global[] = [];
  #blockedMs = 0;
  #memoryPages = 0;
  /** Of them, with the plugin's: what it asked for, whether it then grew or not. */
  #countedPages = 0;
  #tableElements = 0;
  #instances = 0;
  #resources = 0;
  #charges = 0;
  #liftedBytes = 0;
  #heldBytes = 0;
  #stopped: StopReason | null = null;

  /** @param pages what the plugin's instances have together; null: any amount */
  constructor(
    id: number,
    limits: Limits,
    budgetMs: number,
    shared: SharedArrayBuffer,
    pages: WorkerPages | null = null,
  ) {
    this.#id = id;
    this.limits = limits;
    this.#pages = pages;
    this.#words = new Int32Array(shared, 0, SHARED_WORDS);
    this.#deadline = this.#start + budgetMs;
  }

  /** Another call of the same instance begins: its time is its own, what is held stays counted. */
  renew(id: number, budgetMs: number): void {
    this.#id = id;
    this.#start = performance.now();
    this.#deadline = this.#start + budgetMs;
    this.#blockedMs = 0;
    this.#liftedBytes = 0;
  }

  /** Why the call was ended, or null while it was not. */
  get stopped(): StopReason | null {
    return this.#stopped;
  }

  /** The instance is gone. */
  release(): void {
    this.#pages?.give(this.#countedPages);
    this.#countedPages = 0;
  }

  /** Linear memory of all modules, in bytes. */
  get memoryBytes(): number {
    return this.#memoryPages * PAGE_BYTES;
  }

  /** Milliseconds since the instance began, whole ones: guests get no finer clock. */
  get elapsedMs(): number {
    return Math.floor(performance.now() - this.#begun);
  }

  /** Ends the call; what is first stays the reason. */
  stop(reason: StopReason): void {
    this.#stopped ??= reason;
    for (const fuel of this.#fuels) fuel.value = -1;
  }

  /** Ends the call from inside a host function. */
  fail(limit: LimitName): never {
    this.stop({ kind: "limit", limit });
    throw new GuestEnded(limit);
  }

  /** The guest's question, from {@link TICK_FUEL} and its like: 0 ends it. */
  readonly tick = (kind: number, amount: number): number => {
    // An amount is an unsigned number that arrives as a signed one.
    const more = amount >>> 0;
    switch (kind) {
      case TICK_FUEL:
        return this.#look() ? FUEL : 0;
      case TICK_MEMORY:
        return this.#memoryAllowed(more) ? 1 : 0;
      case TICK_TABLE:
        return this.#tablesAllowed(more) ? 1 : 0;
      case TICK_MEMORY_GREW:
        this.#memoryPages += more;
        return 1;
      case TICK_TABLE_GREW:
        this.#tableElements += more;
        return 1;
      default:
        return 0;
    }
  };

  /** Counts a core module that is about to be instantiated. */
  instance(memoryPages: number, tableElements: number): void {
    this.#instances += 1;
    if (this.#instances > this.limits.instances) this.fail("instances");
    if (!this.#memoryAllowed(memoryPages) || !this.#tablesAllowed(tableElements)) {
      throw new GuestEnded();
    }
    this.#memoryPages += memoryPages;
    this.#tableElements += tableElements;
  }

  /** Registers the fuel of a module that was instantiated. */
  fuel(fuel: WebAssembly.Global): void {
    this.#fuels.push(fuel);
  }

  /** Counts a resource that the host made for the guest, or one that is gone. */
  resource(change: 1 | -1): void {
    this.#resources += change;
    if (this.#resources > this.limits.resources) this.fail("resources");
    this.charge();
  }

  /**
   * Called by host functions, whose time a guest's fuel does not cover, before what they do.
   * @param units A call is one, and so is each entry of a list that is walked.
   */
  charge(units = 1): void {
    this.#charges += units;
    if (this.#charges < CHARGES_A_LOOK) return;
    this.#charges = 0;
    if (!this.#look()) throw new GuestEnded();
  }

  /** The same for bytes that are copied or looked at. */
  chargeBytes(bytes: number): void {
    this.charge(Math.ceil(bytes / UNIT_BYTES));
  }

  /**
   * Called before values are made of what lies in the guest's memory. The same few bytes there may
   * be named a million times by one list, so what one crossing makes of them has a limit.
   */
  readonly lift = (bytes: number): void => {
    this.#liftedBytes += bytes;
    const { outputBytes } = this.limits;
    if (this.#liftedBytes > LIFT_BASE_BYTES + LIFT_PER_OUTPUT_BYTE * outputBytes) {
      this.fail("output");
    }
    this.chargeBytes(bytes);
  };

  /** The arguments of a host function are lifted, and it is about to run. */
  readonly crossed = (): void => {
    this.#liftedBytes = 0;
    this.charge();
  };

  /**
   * Counts what the host keeps for the guest beyond one call of a host function, as memory.
   * @param bytes Negative for what it no longer keeps.
   */
  hold(bytes: number): void {
    this.#heldBytes += bytes;
    if (bytes > 0 && !this.#memoryAllowed(0)) throw new GuestEnded();
  }

  /**
   * Blocks until something may have happened: the main thread woke this one, or the time has come.
   * @param ms Longest wait; Infinity for as long as the call may last.
   */
  wait(ms: number, seen: number): void {
    // A cancel that was announced before `seen` was read wakes nobody any more.
    if (!this.#look()) throw new GuestEnded();
    const before = performance.now();
    const left = Math.max(0, Math.min(ms, this.#deadline - before));
    if (left > 0) Atomics.wait(this.#words, WORD_WAKE, seen, left);
    this.#blockedMs += performance.now() - before;
    if (!this.#look()) throw new GuestEnded();
  }

  /** Count of wakes; read it before looking at what is waited for. */
  get wakes(): number {
    return Atomics.load(this.#words, WORD_WAKE);
  }

  /** Looks at clock and cancel; false when the call is over. */
  #look(): boolean {
    if (this.#stopped !== null) return false;
    const now = performance.now();
    if (Atomics.load(this.#words, WORD_CANCEL) === this.#id) this.stop({ kind: "cancelled" });
    else if (now >= this.#deadline) {
      this.stop({ kind: "deadline" });
    } else if (now - this.#start - this.#blockedMs >= this.limits.cpuMs) {
      this.stop({ kind: "limit", limit: "cpu" });
    }
    return this.#stopped === null;
  }

  #memoryAllowed(pages: number): boolean {
    const bytes = (this.#memoryPages + pages) * PAGE_BYTES + this.#heldBytes;
    if (bytes > this.limits.memoryBytes) {
      this.stop({ kind: "limit", limit: "memory" });
      return false;
    }
    // What it asked for before and could not have is still counted.
    const more = Math.max(0, this.#memoryPages + pages - this.#countedPages);
    if (this.#pages !== null && more > 0) {
      if (!this.#pages.take(more)) {
        this.stop({ kind: "limit", limit: "pluginMemory" });
        return false;
      }
      this.#countedPages += more;
    }
    return true;
  }

  #tablesAllowed(elements: number): boolean {
    const sum = this.#tableElements + elements;
    if (sum > this.limits.tableElements) this.stop({ kind: "limit", limit: "tables" });
    return sum <= this.limits.tableElements;
  }
}
