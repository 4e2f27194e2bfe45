/**
 * Events of one client on their way to whoever waits for them.
 *
 * Owns: reaping, who waits for which ticket, log listeners, whether the process is kept alive. Must
 * not know how frames are written. Every ticket is completed once, by its REPLY event.
 */
import { faultText } from "../src/wire/fault.ts";
import type { FrameReader } from "../src/wire/frame.ts";
import {
  EVENT,
  EVENT_BYTES,
  EVENTS_MAX,
  FAULT,
  FLAG,
  KIND,
  LEVEL,
  LINE,
  REAP_BUSY,
  STATUS,
} from "./abi.gen.ts";
import type { ClientMemory, Slot, SlotCache } from "./arena.ts";
import type { WakeSource } from "./completion.ts";
import { NativeError } from "./errors.ts";
import type { NativeSymbols } from "./library.ts";
import type { PendingCall, Reply } from "./pending.ts";

// Places of the fields in 32-bit words.
const STATUS_WORD = EVENT.status / 4;
const KIND_WORD = EVENT.kind / 4;
const TICKET_WORD = EVENT.ticket / 4;
const SLOT_WORD = EVENT.slot / 4;
const LENGTH_WORD = EVENT.length / 4;
const FLAGS_WORD = EVENT.flags / 4;
const ELAPSED_WORD = EVENT.elapsed_us / 4;
const LOST_WORD = EVENT.lost / 4;
const EVENT_WORDS = EVENT_BYTES / 4;

/**
 * What a line of a call's log is: what the guest wrote to standard output or error, what it logged
 * at a level, or, as JSON, an account of what it asked for or how far it is.
 */
export type LineKind = "stdout" | "stderr" | Lowercase<Exclude<keyof typeof LINE, "TEXT">>;

const LINE_KINDS: ReadonlyMap<number, LineKind> = new Map(
  Object.entries(LINE).map(([name, value]) => [value, name.toLowerCase() as LineKind]),
);

/**
 * A line of a call's log; `lost` lines were dropped before it. The trace-id of its call in
 * hexadecimal digits, empty for a call without one.
 */
export type LogListener = (
  kind: LineKind,
  text: string,
  lost: number,
  traceId: string,
) => void;

const decoder = new TextDecoder();
const EMPTY: Uint8Array<ArrayBuffer> = new Uint8Array(0);

export class EventReader {
  readonly #symbols: NativeSymbols;
  readonly #client: number;
  readonly #memory: ClientMemory;
  readonly #slots: SlotCache;
  readonly #pending = new Map<number, PendingCall>();
  readonly #logs = new Map<number, LogListener>();
  /** Of single calls, by the lower half of their request ids. */
  readonly #followers = new Map<number, LogListener>();
  #wake: WakeSource | null = null;
  #owners = 0;
  #reaping = false;
  #reapAgain = false;
  #stopped = false;
  #whenIdle: (() => void)[] = [];

  constructor(
    symbols: NativeSymbols,
    client: number,
    memory: ClientMemory,
    slots: SlotCache,
  ) {
    this.#symbols = symbols;
    this.#client = client;
    this.#memory = memory;
    this.#slots = slots;
  }

  /** From here on the wake keeps the process alive while a call is awaited, and only then. */
  attach(wake: WakeSource): void {
    this.#wake = wake;
    if (this.#pending.size === 0) wake.unref();
    // What was completed before the attachment has woken nobody.
    this.reap();
  }

  /** Calls waiting for their reply. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Tickets waiting for their reply. */
  tickets(): number[] {
    return [...this.#pending.keys()];
  }

  /** Resolves when no call waits any more. */
  idle(): Promise<void> {
    if (this.#pending.size === 0) return Promise.resolve();
    return new Promise((resolve) => void this.#whenIdle.push(resolve));
  }

  /** Registers a listener; its number goes into the request ids of the calls it listens to. */
  addLog(listener: LogListener): number {
    const owner = ++this.#owners;
    this.#logs.set(owner, listener);
    return owner;
  }

  removeLog(owner: number): void {
    this.#logs.delete(owner);
  }

  /** Registers who follows the call of a request id, before it is submitted. */
  follow(request: number, follower: LogListener): void {
    this.#followers.set(request, follower);
  }

  /** The call has ended: what it wrote is delivered, then nothing more. */
  unfollow(request: number): void {
    if (!this.#stopped) this.reap();
    this.#followers.delete(request);
  }

  /** A call that is followed goes on: it is unfollowed at its end. */
  following(call: PendingCall, request: number): PendingCall {
    // Its lines come before its reply on the ring.
    return new FollowedCall(call, () => void this.#followers.delete(request));
  }

  /** The ticket in the event of an accepted submit; the call waits for its end from here on. */
  await(call: PendingCall, signal: AbortSignal | undefined): void {
    const ticket = this.#memory.submitted[TICKET_WORD]!;
    call.ticket = ticket;
    if (this.#pending.size === 0) this.#wake?.ref();
    const cancel = (): void => void this.#symbols.atoll_cancel(this.#client, ticket);
    this.#pending.set(ticket, signal ? new SignalledCall(call, signal, cancel) : call);
  }

  /** The reply of a submit that ended inline. `own` is the slot that was submitted. */
  submitted(own: Slot): Reply {
    return this.#takeReply(this.#memory.submitted, 0, own);
  }

  /** Reads a REPLY event, takes its payload and puts its slot back. */
  #takeReply(events: Uint32Array, at: number, own: Slot | null): Reply {
    const status = events[at + STATUS_WORD]!;
    const index = events[at + SLOT_WORD]!;
    const length = events[at + LENGTH_WORD]!;
    const flags = events[at + FLAGS_WORD]!;
    const elapsedUs = events[at + ELAPSED_WORD]!;
    let text = "";
    let bytes: Uint8Array<ArrayBuffer> | null = null;
    const gathered = (flags & FLAG.EXTENDED) === 0 ? null : this.#gather(index);
    if (status === STATUS.OK && (flags & FLAG.ENCODING) === 0) {
      bytes = gathered ?? this.#copy(index, length);
    } else if (length > 0) {
      text = decoder.decode(gathered ?? this.#memory.payload(index, length));
    }
    if (own !== null && own.index === index) this.#slots.put(own);
    else if (index !== 0) this.#slots.give(index);
    return { status, flags, elapsedUs, text, bytes };
  }

  #copy(index: number, length: number): Uint8Array<ArrayBuffer> {
    if (index === 0 || length === 0) return EMPTY;
    const payload = this.#memory.payload(index, length);
    return this.#memory.mapped ? payload.slice() : payload;
  }

  /** The frame in a slot, for events that say it has extensions. */
  #frame(index: number): FrameReader {
    const capacity = this.#symbols.atoll_slot_bytes(this.#client, index);
    const { reader, offset } = this.#memory.frame(index, capacity);
    const fault = reader.read(offset, capacity, LEVEL.STRUCTURE);
    if (fault === FAULT.NONE) return reader;
    throw new NativeError(STATUS.INVALID_FRAME, faultText(fault, reader.versionAt(offset)));
  }

  /** A payload that came in parts, as one; the parts' slots go back. */
  #gather(index: number): Uint8Array<ArrayBuffer> {
    const frame = this.#frame(index);
    const all = new Uint8Array(new ArrayBuffer(frame.payloadLength + frame.partsBytes));
    all.set(frame.payload);
    let at = frame.payloadLength;
    for (let i = 0; i < frame.partsCount; i++) {
      const { slot, offset, length } = frame.part(i);
      all.set(this.#memory.payload(slot, length, offset), at);
      this.#slots.give(slot);
      at += length;
    }
    return all;
  }

  /** Takes every waiting event. Harmless at any time. */
  reap(): void {
    // A listener may submit or close; what it causes is taken by the loop that runs already.
    if (this.#reaping) {
      this.#reapAgain = true;
      return;
    }
    this.#reaping = true;
    try {
      let count: number;
      do {
        if (this.#stopped) return;
        this.#reapAgain = false;
        count = this.#symbols.atoll_reap(this.#client);
        if (count === REAP_BUSY) {
          // Another thread misuses this client. Nothing is armed, so nobody would say when to reap.
          setTimeout(() => this.reap(), 1);
          return;
        }
        this.#memory.loadReaped(count);
        for (let i = 0; i < count; i++) this.#take(i * EVENT_WORDS);
        // Fewer than the most: the library has armed the wake before it returned.
      } while (count === EVENTS_MAX || this.#reapAgain);
    } finally {
      this.#reaping = false;
    }
  }

  #take(at: number): void {
    const events = this.#memory.reaped;
    const ticket = events[at + TICKET_WORD]!;
    const kind = events[at + KIND_WORD]!;
    const call = this.#pending.get(ticket);
    if (kind === KIND.REPLY) {
      const reply = this.#takeReply(events, at, null);
      if (!call) return;
      this.#forget(ticket);
      call.onReply(reply);
      return;
    }
    if (kind === KIND.CREDIT) {
      call?.onCredit(events[at + LENGTH_WORD]!);
      return;
    }
    const index = events[at + SLOT_WORD]!;
    const length = events[at + LENGTH_WORD]!;
    if (kind === KIND.LOG) {
      this.#takeLog(index, length, events[at + FLAGS_WORD]!, events[at + LOST_WORD]!);
    } else if (call) {
      const payload = this.#copy(index, length);
      if (kind === KIND.HEAD) call.onHead(payload);
      else if (kind === KIND.BODY) call.onBody(payload);
    }
    if (index !== 0) this.#slots.give(index);
  }

  #forget(ticket: number): void {
    this.#pending.delete(ticket);
    if (this.#pending.size > 0) return;
    this.#wake?.unref();
    const waiting = this.#whenIdle;
    this.#whenIdle = [];
    for (const resolve of waiting) resolve();
  }

  #takeLog(index: number, length: number, flags: number, lost: number): void {
    if (index === 0) return;
    const frame = (flags & FLAG.EXTENDED) === 0 ? null : this.#frame(index);
    const owner = frame === null ? this.#memory.requestHigh(index) : frame.requestHigh;
    const listener = this.#logs.get(owner);
    const follower = this.#followers.size === 0
      ? undefined
      : this.#followers.get(frame === null ? this.#memory.requestLow(index) : frame.requestLow);
    if (!listener && !follower) return;
    const traceId = frame === null ? "" : frame.traceIdHex;
    const text = decoder.decode(frame?.payload ?? this.#memory.payload(index, length));
    for (const one of [listener, follower]) {
      try {
        one?.(lineKind(flags), text, lost, traceId);
      } catch (error) {
        // The listener's own fault must not stop the other events; it surfaces as uncaught.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  /** The library has closed the wake: no more events will come, and nobody must wait for one. */
  lose(): void {
    this.#stopped = true;
    const error = new NativeError(STATUS.CLOSED, "The engine is closed");
    for (const [ticket, call] of [...this.#pending]) {
      this.#forget(ticket);
      call.onLost(error);
    }
  }

  /** Takes no more events and closes the wake. */
  stop(): void {
    this.#stopped = true;
    this.#wake?.close();
    this.#wake = null;
  }
}

function lineKind(flags: number): LineKind {
  const line = flags & FLAG.LINE;
  if (line !== LINE.TEXT) return LINE_KINDS.get(line) ?? "stdout";
  return (flags & FLAG.STDERR) === 0 ? "stdout" : "stderr";
}

/** A call around which something is done at its end. */
abstract class WrappedCall implements PendingCall {
  constructor(private readonly call: PendingCall) {}

  /** Before the call hears of its end. */
  protected abstract ended(): void;

  get ticket(): number {
    return this.call.ticket;
  }

  set ticket(ticket: number) {
    this.call.ticket = ticket;
  }

  onHead(payload: Uint8Array<ArrayBuffer>): void {
    this.call.onHead(payload);
  }

  onBody(chunk: Uint8Array<ArrayBuffer>): void {
    this.call.onBody(chunk);
  }

  onCredit(chunks: number): void {
    this.call.onCredit(chunks);
  }

  onReply(reply: Reply): void {
    this.ended();
    this.call.onReply(reply);
  }

  onLost(error: NativeError): void {
    this.ended();
    this.call.onLost(error);
  }
}

/** A call that also asks for its end when a signal is aborted. */
class SignalledCall extends WrappedCall {
  constructor(
    call: PendingCall,
    private readonly signal: AbortSignal,
    private readonly cancel: () => void,
  ) {
    super(call);
    signal.addEventListener("abort", cancel, { once: true });
  }

  protected ended(): void {
    this.signal.removeEventListener("abort", this.cancel);
  }
}

/** A call that somebody follows until its end. */
class FollowedCall extends WrappedCall {
  constructor(call: PendingCall, protected readonly ended: () => void) {
    super(call);
  }
}
