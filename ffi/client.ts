/**
 * One isolate's client of the library: frames out, replies back.
 *
 * Owns: writing frames, the hot path of a call, the client's life. Must not know components, tools
 * or the format of HTTP heads.
 */
import { Buffer } from "node:buffer";
import { writeHeader } from "../src/wire/frame.ts";
import { CHUNK_BYTES_MAX, FLAG, FRAME_BYTES, KIND, STATUS } from "./abi.gen.ts";
import { type ClientMemory, type Slot, SlotCache } from "./arena.ts";
import type { ArenaInfo } from "./arena_info.ts";
import { errorFromReply, NativeError } from "./errors.ts";
import { EventReader, type LogListener } from "./events.ts";
import { bytesArgument, check, errorText, type NativeLibrary, outArgument } from "./library.ts";
import { type ClientSettings, closeClient, openClient, type OpenedClient } from "./open.ts";
import { findPlugin, findTarget, type PluginInfo } from "./names.ts";
import { spreadPayload } from "./parts.ts";
import { type PendingCall, PlainCall, type Reply } from "./pending.ts";
import { type NativeStats, readStats } from "./stats.ts";
import { type ChunkSender, HttpExchange, type HttpReply, wholeReply } from "./stream.ts";

/** Above this many UTF-16 units the exact length in UTF-8 is measured instead of assumed. */
const MEASURED_UNITS = 20_000;
/** Body chunks up to this size go in a small slot. */
const SMALL_CHUNK = 4096 - FRAME_BYTES;

/** Of one call. */
export interface SubmitOptions {
  /** Time left in microseconds; 0 or absent: the target's own. */
  readonly budgetUs?: number | undefined;
  /** Asks for the end of the call; read only when the call does not end inline. */
  readonly signal?: AbortSignal | undefined;
  /** Whether it has been asked for already; absent: the signal tells. */
  readonly aborted?: boolean | undefined;
  /** Never run inline. */
  readonly detached?: boolean | undefined;
  /** Who gets the guest's log lines: a number from `addLog`. */
  readonly owner?: number | undefined;
  /** Gets this call's log lines, besides its owner. */
  readonly follower?: LogListener | undefined;
  /** The call's trace context, as `traceparentExtension` makes it. */
  readonly trace?: Uint8Array | null | undefined;
}

/** The first frame of an HTTP call. */
export interface HttpFrame {
  /** Text head, complete with its empty line. */
  readonly head: string;
  readonly body: Uint8Array | ReadableStream<Uint8Array> | null;
  /** What the reader of a response body that was cut gets; absent: the NativeError itself. */
  readonly toError?: (error: NativeError) => Error;
}

const NO_OPTIONS: SubmitOptions = {};
const NO_PARTS: readonly number[] = [];
const encoder = new TextEncoder();

export class NativeClient implements ChunkSender {
  /**
   * Whether the arena is mapped; false under Deno with a grant for the library's path only, and
   * under Bun when it has more than 4 GiB.
   */
  readonly mapped: boolean;
  /** Largest payload of a frame, in bytes. */
  readonly payloadBytesMax: number;
  /** How the arena is mapped. */
  readonly arena: ArenaInfo;

  readonly #library: NativeLibrary;
  readonly #client: number;
  readonly #memory: ClientMemory;
  readonly #slots: SlotCache;
  readonly #events: EventReader;
  readonly #submit: (client: number, slot: number) => number;
  #requests = 0;
  #closed = false;
  #closing: Promise<void> | null = null;

  private constructor(library: NativeLibrary, opened: OpenedClient) {
    const { number, memory } = opened;
    this.#library = library;
    this.#client = number;
    this.#memory = memory;
    this.#slots = new SlotCache(library.symbols, number, memory);
    this.#events = new EventReader(library.symbols, number, memory, this.#slots);
    this.#submit = library.symbols.atoll_submit;
    this.mapped = memory.mapped;
    this.payloadBytesMax = opened.payloadBytesMax;
    this.arena = opened.arena;
  }

  /**
   * Opens the library for this isolate and a client of it.
   * @throws NativeError io, no_memory, invalid_argument, overloaded (too many clients)
   */
  static async open(library: NativeLibrary, settings: ClientSettings = {}): Promise<NativeClient> {
    const opened = openClient(library, settings);
    const client = new NativeClient(library, opened);
    try {
      const wake = await opened.attach({
        onWake: () => client.#events.reap(),
        onEnd: () => {
          client.#closed = true;
          client.#events.lose();
        },
      });
      client.#events.attach(wake);
      return client;
    } catch (error) {
      closeClient(library, opened.number);
      throw error;
    }
  }

  /** Loads an engine's library and returns its number, the target of control requests. */
  loadEngine(path: string, config: Readonly<Record<string, unknown>>): number {
    const { symbols } = this.#library;
    const name = encoder.encode(path);
    const text = encoder.encode(JSON.stringify(config));
    const out = outArgument(4);
    const status = symbols.atoll_engine_load(name, name.length, text, text.length, out);
    check(symbols, status, `Cannot load engine "${path}"`);
    return new DataView(out.buffer).getUint32(0, true);
  }

  /** Hands bytes to the library for a control request that names the number returned. */
  putBlob(bytes: Uint8Array): number {
    const { symbols } = this.#library;
    const out = outArgument(4);
    const argument = bytesArgument(bytes);
    const status = symbols.atoll_blob_put(this.#client, argument, bytes.length, out);
    check(symbols, status, "Cannot hand bytes to the native library");
    return new DataView(out.buffer).getUint32(0, true);
  }

  /** The plugin of that id, whoever loaded it, the latest where there are several; null: none. */
  findPlugin(id: string): PluginInfo | null {
    return findPlugin(this.#library.symbols, this.#client, id);
  }

  /** The target of a plugin's export by its name; null: none, or several of that name. */
  findTarget(plugin: number, name: string): number | null {
    if (this.#closed) throw new NativeError(STATUS.CLOSED, "The engine is closed");
    return findTarget(this.#library.symbols, this.#client, plugin, name);
  }

  /** Counters of the library, all isolates together. */
  stats(): NativeStats {
    return readStats(this.#library.symbols);
  }

  /** Registers who gets log lines of calls with the number returned as their owner. */
  addLog(listener: LogListener): number {
    return this.#events.addLog(listener);
  }

  removeLog(owner: number): void {
    // Lines of calls that have ended are still on the ring.
    if (!this.#closed) this.#events.reap();
    this.#events.removeLog(owner);
  }

  /** Calls of this client that wait for their reply. */
  get inFlight(): number {
    return this.#events.pending;
  }

  /**
   * Calls a target with a JSON object of named parameters. A call that ends inline returns its
   * reply without a promise. How the call went is in the reply's status.
   * @throws NativeError closed, cancelled (aborted before), no_memory, invalid_argument (too large)
   */
  callJson(target: number, json: string, options = NO_OPTIONS): Reply | Promise<Reply> {
    return this.#sendText(KIND.CALL, target, json, options);
  }

  /**
   * Calls a function whose one parameter is a `string` or a `list<u8>` with that value's bytes.
   * The result is as raw when it is one of the two, else JSON.
   */
  callBytes(target: number, bytes: Uint8Array, options = NO_OPTIONS): Reply | Promise<Reply> {
    return this.#sendBytes(0, target, bytes, options);
  }

  /** Calls a target with a MessagePack map of named parameters; otherwise as callJson. */
  callPacked(target: number, packed: Uint8Array, options = NO_OPTIONS): Reply | Promise<Reply> {
    return this.#sendBytes(FLAG.MSGPACK, target, packed, options);
  }

  #sendBytes(
    encoding: number,
    target: number,
    bytes: Uint8Array,
    options: SubmitOptions,
  ): Reply | Promise<Reply> {
    const flags = options.detached ? encoding | FLAG.DETACHED : encoding;
    const before = options.trace ? options.trace.length : 0;
    const slot = this.#slotFor(before, bytes.length, options);
    if (slot === null) return this.#sendSpread(KIND.CALL, flags, target, bytes, options);
    slot.payload.set(bytes, before);
    const reply = this.#sendTraced(slot, KIND.CALL, flags, target, bytes.length, options);
    return reply ?? this.#later(options);
  }

  #later(options: SubmitOptions): Promise<Reply> {
    const call = new PlainCall();
    this.#await(call, options);
    return call.promise;
  }

  /** The call that was submitted just now goes on. */
  #await(call: PendingCall, options: SubmitOptions): void {
    const followed = options.follower ? this.#events.following(call, this.#requests) : call;
    this.#events.await(followed, options.signal);
  }

  /**
   * Sends a request to a `wasi:http` handler. A body that does not fit the first frame follows in
   * chunks as the guest takes them; a long response comes as a stream.
   * @throws as callJson
   */
  http(target: number, frame: HttpFrame, options = NO_OPTIONS): HttpReply | Promise<HttpReply> {
    const { head, body } = frame;
    const whole = body === null ||
      (body instanceof Uint8Array && head.length * 3 + body.length <= CHUNK_BYTES_MAX);
    const before = options.trace ? options.trace.length : 0;
    const room = head.length * 3 + (whole && body ? body.length : 0);
    const slot = this.#slotFor(before, room, options);
    if (slot === null) throw noRoom(room);
    const payload = before === 0 ? slot.payload : slot.payload.subarray(before);
    const { written } = encoder.encodeInto(head, payload);
    let length = written;
    if (whole && body) {
      payload.set(body, written);
      length += body.length;
    }
    const flags = (whole ? FLAG.END : 0) | (options.detached ? FLAG.DETACHED : 0);
    const reply = this.#sendTraced(slot, KIND.HTTP, flags, target, length, options);
    if (reply) {
      // A guest may answer without reading its body.
      if (body instanceof ReadableStream) body.cancel().catch(() => {});
      return wholeReply(reply);
    }
    const exchange = new HttpExchange(this, frame.toError ?? ((error) => error));
    this.#await(exchange, options);
    if (!whole) exchange.pump(body instanceof Uint8Array ? streamOf(body) : body);
    return exchange.promise;
  }

  /**
   * Sends a control request to an engine.
   * @returns the JSON object of the reply
   * @throws NativeError with the status, the message and the data of the reply
   */
  async control(
    engine: number,
    request: Readonly<Record<string, unknown>>,
    options = NO_OPTIONS,
  ): Promise<Record<string, unknown>> {
    const reply = await this.controlText(engine, JSON.stringify(request), options);
    if (reply.status !== STATUS.OK) {
      throw errorFromReply(reply.status, reply.text, reply.elapsedUs);
    }
    return JSON.parse(reply.text || "{}") as Record<string, unknown>;
  }

  /** A control request about bytes, which it names as its `blob`. */
  async controlBytes(
    engine: number,
    request: Readonly<Record<string, unknown>>,
    bytes: Uint8Array,
  ): Promise<Record<string, unknown>> {
    const blob = this.putBlob(bytes);
    try {
      return await this.control(engine, { ...request, blob });
    } finally {
      // An engine that still compiles them holds them, too.
      if (!this.#closed) this.#library.symbols.atoll_blob_drop(this.#client, blob);
    }
  }

  /** Sends a control request as it is; how it went is in the reply's status. */
  async controlText(engine: number, text: string, options = NO_OPTIONS): Promise<Reply> {
    return await this.#sendText(KIND.CONTROL, engine, text, options);
  }

  #sendText(
    kind: number,
    target: number,
    text: string,
    options: SubmitOptions,
  ): Reply | Promise<Reply> {
    // A UTF-16 unit takes three bytes at most.
    const most = text.length < MEASURED_UNITS ? text.length * 3 : Buffer.byteLength(text);
    const flags = options.detached ? FLAG.JSON | FLAG.DETACHED : FLAG.JSON;
    const before = options.trace ? options.trace.length : 0;
    const slot = this.#slotFor(before, most, options);
    if (slot === null) return this.#sendSpread(kind, flags, target, encoder.encode(text), options);
    const payload = before === 0 ? slot.payload : slot.payload.subarray(before);
    const { written } = encoder.encodeInto(text, payload);
    return this.#sendTraced(slot, kind, flags, target, written, options) ?? this.#later(options);
  }

  /** Sends a payload for which the arena has no room in a row, spread over several slots. */
  #sendSpread(
    kind: number,
    flags: number,
    target: number,
    bytes: Uint8Array,
    options: SubmitOptions,
  ): Reply | Promise<Reply> {
    const spread = spreadPayload(this.#slots, this.#memory, bytes, options.trace);
    if (spread === null) throw noRoom(bytes.length);
    const { slot, parts, extensionBytes } = spread;
    const reply = this.#send(slot, kind, flags, target, extensionBytes, 0, options, parts);
    return reply ?? this.#later(options);
  }

  /**
   * A slot to write a call's extensions and payload into; null: the arena has no room in a row, but
   * perhaps elsewhere. Refuses what cannot be sent.
   */
  #slotFor(extensionBytes: number, payloadBytes: number, options: SubmitOptions): Slot | null {
    if (this.#closed) throw new NativeError(STATUS.CLOSED, "The engine is closed");
    if (options.aborted ?? options.signal?.aborted) {
      throw new NativeError(STATUS.CANCELLED, "The call was cancelled before it began");
    }
    if (payloadBytes > this.payloadBytesMax) {
      throw new NativeError(
        STATUS.INVALID_ARGUMENT,
        `Cannot send ${payloadBytes} bytes: a message holds at most ${this.payloadBytesMax}, ` +
          "a quarter of native.arena.bytes and 32 MiB at most",
        { bytes: payloadBytes, bytesMax: this.payloadBytesMax },
      );
    }
    const bytes = extensionBytes + payloadBytes;
    const slot = this.#slots.take(bytes);
    if (slot === null && bytes <= CHUNK_BYTES_MAX) throw noRoom(payloadBytes);
    return slot;
  }

  /** Sends a frame whose payload is in the slot behind the room for its trace context, if any. */
  #sendTraced(
    slot: Slot,
    kind: number,
    flags: number,
    target: number,
    length: number,
    options: SubmitOptions,
  ): Reply | null {
    const trace = options.trace;
    if (!trace) return this.#send(slot, kind, flags, target, 0, length, options);
    slot.payload.set(trace);
    return this.#send(slot, kind, flags, target, trace.length, length, options);
  }

  /**
   * Sends the frame whose extensions and payload are in the slot. The reply when the call ended
   * inline or was refused; null when it goes on: somebody must await it at once.
   * @param parts slots that the extensions describe
   */
  #send(
    slot: Slot,
    kind: number,
    flags: number,
    target: number,
    extensionBytes: number,
    length: number,
    options: SubmitOptions,
    parts: readonly number[] = NO_PARTS,
  ): Reply | null {
    const request = this.#requests = (this.#requests + 1) >>> 0;
    // The owner travels in the request id, so that a log line finds its listener even when the
    // call that wrote it ended inline and its ticket is stale.
    const owner = options.owner ?? 0;
    const words = extensionBytes >>> 3;
    const budgetUs = options.budgetUs ?? 0;
    writeHeader(slot.header, kind, flags, words, request, owner, target, budgetUs, length);
    const memory = this.#memory;
    if (!memory.mapped) memory.commit(slot, extensionBytes + length);
    if (options.follower) this.#events.follow(request, options.follower);
    const status = this.#submit(this.#client, slot.index);
    if (status === STATUS.OK || status === STATUS.PENDING) {
      if (!memory.mapped) memory.loadSubmitted();
      if (status !== STATUS.OK) return null;
      const reply = this.#events.submitted(slot);
      if (options.follower) this.#events.unfollow(request);
      return reply;
    }
    if (options.follower) this.#events.unfollow(request);
    // Refused: the slot and its parts are still ours. After every other end they are not, also
    // when the call ended inside of the submit, as an engine may well do with parts.
    this.#slots.put(slot);
    for (const part of parts) this.#slots.give(part);
    // One status for two bounds: only the library's words tell them apart.
    const text = status === STATUS.OVERLOADED ? errorText(this.#library.symbols) : "";
    return { status, flags: 0, elapsedUs: 0, text, bytes: null };
  }

  /** Asks for the end of a call; its reply still comes. A stale ticket is harmless. */
  cancel(ticket: number): number {
    return this.#closed ? STATUS.CLOSED : this.#library.symbols.atoll_cancel(this.#client, ticket);
  }

  /** Sends a chunk of a request body; WOULD_BLOCK: nothing was sent, wait for credit. */
  sendChunk(ticket: number, chunk: Uint8Array, last: boolean): number {
    if (this.#closed) return STATUS.CLOSED;
    const slot = chunk.length <= SMALL_CHUNK
      ? this.#slots.take(chunk.length)
      : this.#slots.takeChunk();
    if (!slot) return STATUS.NO_MEMORY;
    writeHeader(slot.header, KIND.BODY, last ? FLAG.END : 0, 0, 0, 0, 0, 0, chunk.length);
    slot.payload.set(chunk);
    this.#memory.commit(slot, chunk.length);
    const status = this.#library.symbols.atoll_stream_send(this.#client, ticket, slot.index);
    if (status !== STATUS.OK) this.#slots.put(slot);
    return status;
  }

  /** Lets the guest write that many more response chunks. */
  credit(ticket: number, chunks: number): void {
    if (!this.#closed) this.#library.symbols.atoll_stream_credit(this.#client, ticket, chunks);
  }

  /**
   * Refuses new calls, cancels running ones, waits for their replies and gives everything back.
   * Calling it again waits for the first.
   */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    this.#closed = true;
    const { atoll_cancel } = this.#library.symbols;
    for (const ticket of this.#events.tickets()) atoll_cancel(this.#client, ticket);
    await this.#events.idle();
    // Log lines of calls that ended inline may still be on the ring.
    this.#events.reap();
    this.#slots.clear();
    this.#events.stop();
    closeClient(this.#library, this.#client);
    this.#memory.detach();
  }
}

function noRoom(bytes: number): NativeError {
  const message = `Cannot send ${bytes} bytes: the arena (native.arena.bytes) has no room left`;
  return new NativeError(STATUS.NO_MEMORY, message);
}

function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(bytes);
      controller.close();
    },
  });
}
