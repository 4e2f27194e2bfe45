/**
 * One isolate's client of the library: frames out, replies back.
 *
 * Owns: writing frames, the hot path of a call, the client's life. Must not know components, tools
 * or the format of HTTP heads.
 */
import { Buffer } from "node:buffer";
import {
  CHUNK_BYTES_MAX,
  FLAG,
  FRAME,
  FRAME_BYTES,
  FRAME_MAGIC,
  FRAME_VERSION,
  KIND,
  STATUS,
} from "./abi.gen.ts";
import { type ClientMemory, type Slot, SlotCache } from "./arena.ts";
import { errorFromReply, NativeError } from "./errors.ts";
import { EventReader, type LogListener } from "./events.ts";
import { bytesArgument, check, type NativeLibrary, outArgument } from "./library.ts";
import { type ClientSettings, closeClient, openClient, type OpenedClient } from "./open.ts";
import { findPlugin, findTarget, type PluginInfo } from "./names.ts";
import { PlainCall, type Reply } from "./pending.ts";
import { type NativeStats, readStats } from "./stats.ts";
import { type ChunkSender, HttpExchange, type HttpReply, wholeReply } from "./stream.ts";

// Places of the fields in 32-bit words.
const KIND_WORD = FRAME.magic / 4;
const FLAGS_WORD = FRAME.flags / 4;
const ID_WORD = FRAME.request_id / 4;
const TARGET_WORD = FRAME.target / 4;
const BUDGET_WORD = FRAME.budget_us / 4;
const LENGTH_WORD = FRAME.payload_length / 4;
const CRC_WORD = FRAME.crc32c / 4;

/** Magic and version as they lie in the first word, below the kind. */
const FIRST_WORD = FRAME_MAGIC | (FRAME_VERSION << 16);

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
const encoder = new TextEncoder();

export class NativeClient implements ChunkSender {
  /** Whether the arena is mapped; false under Deno with a grant for the library's path only. */
  readonly mapped: boolean;
  /** Largest payload of a frame, in bytes. */
  readonly payloadBytesMax: number;

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
    const slot = this.#slotFor(bytes.length, options);
    slot.payload.set(bytes);
    const flags = options.detached ? FLAG.DETACHED : 0;
    const reply = this.#send(slot, KIND.CALL, flags, target, bytes.length, options);
    if (reply) return reply;
    const call = new PlainCall();
    this.#events.await(call, options.signal);
    return call.promise;
  }

  /**
   * Sends a request to a `wasi:http` handler. A body that does not fit the first frame follows in
   * chunks as the guest takes them; a long response comes as a stream.
   * @throws as callJson
   */
  http(target: number, frame: HttpFrame, options = NO_OPTIONS): HttpReply | Promise<HttpReply> {
    const { head, body } = frame;
    const most = head.length * 3;
    const whole = body === null ||
      (body instanceof Uint8Array && most + body.length <= CHUNK_BYTES_MAX);
    const slot = this.#slotFor(most + (whole && body ? body.length : 0), options);
    const { written } = encoder.encodeInto(head, slot.payload);
    let length = written;
    if (whole && body) {
      slot.payload.set(body, written);
      length += body.length;
    }
    const flags = (whole ? FLAG.END : 0) | (options.detached ? FLAG.DETACHED : 0);
    const reply = this.#send(slot, KIND.HTTP, flags, target, length, options);
    if (reply) {
      // A guest may answer without reading its body.
      if (body instanceof ReadableStream) body.cancel().catch(() => {});
      return wholeReply(reply);
    }
    const exchange = new HttpExchange(this, frame.toError ?? ((error) => error));
    this.#events.await(exchange, options.signal);
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
    const slot = this.#slotFor(most, options);
    const { written } = encoder.encodeInto(text, slot.payload);
    const flags = options.detached ? FLAG.JSON | FLAG.DETACHED : FLAG.JSON;
    const reply = this.#send(slot, kind, flags, target, written, options);
    if (reply) return reply;
    const call = new PlainCall();
    this.#events.await(call, options.signal);
    return call.promise;
  }

  /** A slot to write a call's payload into; refuses what cannot be sent. */
  #slotFor(payloadBytes: number, options: SubmitOptions): Slot {
    if (this.#closed) throw new NativeError(STATUS.CLOSED, "The engine is closed");
    if (options.aborted ?? options.signal?.aborted) {
      throw new NativeError(STATUS.CANCELLED, "The call was cancelled before it began");
    }
    if (payloadBytes > this.payloadBytesMax) {
      throw new NativeError(
        STATUS.INVALID_ARGUMENT,
        `Cannot send ${payloadBytes} bytes: a message holds at most ${this.payloadBytesMax}`,
        { bytes: payloadBytes, bytesMax: this.payloadBytesMax },
      );
    }
    const slot = this.#slots.take(payloadBytes);
    if (slot) return slot;
    throw new NativeError(
      STATUS.NO_MEMORY,
      `Cannot send ${payloadBytes} bytes: the arena has no room left`,
    );
  }

  /**
   * Sends the frame whose payload is in the slot. The reply when the call ended inline or was
   * refused; null when it goes on: somebody must await it at once.
   */
  #send(
    slot: Slot,
    kind: number,
    flags: number,
    target: number,
    length: number,
    options: SubmitOptions,
  ): Reply | null {
    this.#requests = (this.#requests + 1) >>> 0;
    const header = slot.header;
    header[KIND_WORD] = FIRST_WORD | (kind << 24);
    header[FLAGS_WORD] = flags;
    header[ID_WORD] = this.#requests;
    // The owner travels in the request id, so that a log line finds its listener even when the
    // call that wrote it ended inline and its ticket is stale.
    header[ID_WORD + 1] = options.owner ?? 0;
    header[TARGET_WORD] = target;
    header[BUDGET_WORD] = options.budgetUs ?? 0;
    header[LENGTH_WORD] = length;
    header[CRC_WORD] = 0;
    const memory = this.#memory;
    if (!memory.mapped) memory.commit(slot, length);
    const status = this.#submit(this.#client, slot.index);
    if (status === STATUS.OK || status === STATUS.PENDING) {
      if (!memory.mapped) memory.loadSubmitted();
      return status === STATUS.OK ? this.#events.submitted(slot) : null;
    }
    // Refused: the slot is still ours.
    this.#slots.put(slot);
    return { status, flags: 0, elapsedUs: 0, text: "", bytes: null };
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
    slot.header.fill(0);
    slot.header[KIND_WORD] = FIRST_WORD | (KIND.BODY << 24);
    slot.header[FLAGS_WORD] = last ? FLAG.END : 0;
    slot.header[LENGTH_WORD] = chunk.length;
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

function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(bytes);
      controller.close();
    },
  });
}
