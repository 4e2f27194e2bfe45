/**
 * MCP over standard input and output: one JSON-RPC message a line, in every revision.
 *
 * Owns: lines, the state of the handshake, `notifications/cancelled`, the end of input. Must not
 * know HTTP or which runtime it is in. Nothing but messages is ever written to the output.
 * Source: "stdio" of 2026-07-28 and "Transports" of older revisions.
 */
import type { CallFollower } from "../sandbox/sandbox.ts";
import { type Fields, parseJson, parseMessage, type Request, type RequestId } from "./envelope.ts";
import { INVALID_PARAMS, INVALID_REQUEST } from "./errors.ts";
import { LineSplitter } from "./lines.ts";
import { declaredCapabilities, declaredVersion } from "./metadata.ts";
import { unsupportedVersion } from "./failures.ts";
import { errorText } from "./render.ts";
import {
  BATCH_MAX,
  findRevision,
  R2025_11_25,
  R2026_07_28,
  type Revision,
  STDIO_REVISIONS,
} from "./revisions.ts";
import type { Notifier } from "./notifications.ts";
import {
  type Context,
  type LogSession,
  type McpServer,
  type Reply,
  type RequestOptions,
} from "./server.ts";

export interface StdioOptions {
  readonly server: McpServer;
  readonly input: AsyncIterable<Uint8Array>;
  /** Writes a text; a promise that it returns is waited for before the next text, and more input. */
  readonly write: (text: string) => void | Promise<void>;
  /** The longest line in bytes. */
  readonly lineBytes: number;
}

/** Lines are joined to texts of up to this many UTF-16 units: a write of each costs a thread's turn. */
const WRITE_UNITS = 65_536;

/** A session that is served. */
export interface StdioServing {
  /**
   * Resolves when the input has ended and the answers to what was read are written.
   * Rejects when the input or the output fails.
   */
  readonly ended: Promise<void>;
  /**
   * Resolves when nothing that was read so far runs any more and all answers are written: what a
   * process waits for before it exits for another reason than the end of its input. It does not
   * resolve while the client reads nothing. Rejects when the output fails.
   */
  answered(): Promise<void>;
}

/** Begins to serve. */
export function openStdio(options: StdioOptions): StdioServing {
  const session = new StdioSession(options);
  const ended = serve(session, options);
  return { ended, answered: () => session.answered() };
}

async function serve(session: StdioSession, options: StdioOptions): Promise<void> {
  const splitter = new LineSplitter(options.lineBytes);
  const restore = keepOutputClean();
  try {
    for await (const chunk of options.input) {
      for (const line of splitter.push(chunk)) session.line(line);
      await session.written();
    }
    for (const line of splitter.end()) session.line(line);
    await session.answered();
  } finally {
    restore();
  }
}

/** Libraries that print would break the stream of messages: their lines go to standard error. */
function keepOutputClean(): () => void {
  const { log, info, debug } = console;
  Object.assign(console, { log: console.error, info: console.error, debug: console.error });
  return () => void Object.assign(console, { log, info, debug });
}

class StdioSession {
  readonly #server: McpServer;
  readonly #write: StdioOptions["write"];
  readonly #lineBytes: number;
  /** Agreed on by `initialize`; before it older requests are read as the newest of them. */
  #revision: Revision = R2025_11_25;
  #clientCapabilities: Fields = {};
  readonly #logging: LogSession = { level: null };
  readonly #running = new Map<string, RunningRequest>();
  readonly #pending = new Set<Promise<void>>();
  /** Lines that wait for the output. */
  readonly #unsent: string[] = [];
  /** UTF-16 units of them, and of what is being written. */
  #waiting = 0;
  #writing = false;
  #written: Promise<void> = Promise.resolve();

  constructor(options: StdioOptions) {
    this.#server = options.server;
    this.#write = options.write;
    this.#lineBytes = options.lineBytes;
  }

  /** Takes one line; null stands for one that was too long. */
  line(line: Uint8Array | null): void {
    if (line === null) {
      this.#send(errorText(null, INVALID_REQUEST, `A line is over ${this.#lineBytes} bytes`));
      return;
    }
    if (isBlank(line)) return;
    const parsed = parseJson(line);
    if (!("value" in parsed)) {
      this.#send(errorText(null, parsed.code, parsed.message));
      return;
    }
    if (Array.isArray(parsed.value)) return this.#batch(parsed.value);
    const reply = this.#message(parsed.value);
    if (reply instanceof Promise) this.#later(reply.then((text) => this.#send(text)));
    else this.#send(reply);
  }

  /** Resolves when everything sent so far is taken by the output. */
  written(): Promise<void> {
    return this.#written;
  }

  /** Resolves when nothing runs any more and all is written. */
  async answered(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
    await this.#written;
  }

  #batch(values: unknown[]): void {
    const fits = values.length > 0 && values.length <= BATCH_MAX;
    if (!this.#revision.batches || !fits) {
      const reason = this.#revision.batches
        ? `A batch has 1 to ${BATCH_MAX} messages, not ${values.length}`
        : `Protocol version ${this.#revision.name} has no batches`;
      this.#send(errorText(null, INVALID_REQUEST, reason));
      return;
    }
    const replies = Promise.all(values.map((value) => this.#message(value)));
    this.#later(replies.then((texts) => {
      const present = texts.filter((text) => text !== null);
      if (present.length > 0) this.#send(`[${present.join(",")}]`);
    }));
  }

  /** The text of the answer; null when there is none. */
  #message(value: unknown): string | null | Promise<string | null> {
    const message = parseMessage(value);
    switch (message.kind) {
      case "request":
        return this.#request(message);
      case "malformed":
        return errorText(message.id, message.code, message.message);
      case "answer":
        return null;
      case "notification": {
        if (message.method === "notifications/cancelled") this.#cancel(message.params.requestId);
        else this.#server.notification(message, this.#context(this.#revision, null));
        return null;
      }
    }
  }

  #request(request: Request): string | null | Promise<string | null> {
    const declared = declaredVersion(request.params);
    if (declared === null && !modernOnly(request)) {
      return this.#run(request, this.#revision, this.#clientCapabilities);
    }
    if (declared !== null && declared !== R2026_07_28.name) {
      const revision = findRevision(STDIO_REVISIONS, declared);
      return revision === undefined
        ? textOf(unsupportedVersion(request.id, declared, STDIO_REVISIONS))
        : this.#run(request, revision, this.#clientCapabilities);
    }
    const capabilities = declaredCapabilities(request.params);
    if (typeof capabilities === "string") {
      return errorText(request.id, INVALID_PARAMS, capabilities);
    }
    return this.#run(request, R2026_07_28, capabilities);
  }

  #run(
    request: Request,
    revision: Revision,
    capabilities: Fields,
  ): string | null | Promise<string | null> {
    const running = new RunningRequest({
      send: (text) => this.#send(text),
      waiting: () => this.#waiting,
    });
    const reply = this.#server.request(request, this.#context(revision, capabilities, running));
    if (!(reply instanceof Promise)) return textOf(reply);
    const key = keyOf(request.id);
    this.#running.set(key, running);
    return reply.then((done) => {
      if (this.#running.get(key) === running) this.#running.delete(key);
      // A client that cancelled a request has forgotten its id.
      return running.cancelled ? null : textOf(done);
    });
  }

  #context(
    revision: Revision,
    clientCapabilities: Fields | null,
    call?: RunningRequest,
  ): Context {
    return {
      revision,
      revisions: STDIO_REVISIONS,
      clientCapabilities,
      ...(call === undefined ? {} : { call, notifier: call, logging: this.#logging }),
      onInitialize: (agreed, capabilities) => {
        this.#revision = agreed;
        this.#clientCapabilities = capabilities;
      },
    };
  }

  #cancel(id: unknown): void {
    if (typeof id !== "string" && typeof id !== "number") return;
    this.#running.get(keyOf(id))?.cancel();
  }

  #later(work: Promise<void>): void {
    const tracked = work.finally(() => this.#pending.delete(tracked));
    this.#pending.add(tracked);
  }

  #send(text: string | null): void {
    if (text === null) return;
    this.#unsent.push(`${text}\n`);
    this.#waiting += text.length + 1;
    if (this.#writing) return;
    this.#written = this.#writeAll();
    // A broken output shows when more input is read, or at the end; until then nobody waits for it.
    this.#written.catch(() => {});
  }

  /**
   * One write at a time: a pipe takes a part of a long text, and a second write that has begun
   * meanwhile would go between that part and the rest.
   */
  async #writeAll(): Promise<void> {
    // Stays set when the output fails, so that nothing follows half a message.
    this.#writing = true;
    while (this.#unsent.length > 0) {
      const text = this.#next();
      await this.#write(text);
      this.#waiting -= text.length;
    }
    this.#writing = false;
  }

  /** The next line, with those behind it as long as they are short. */
  #next(): string {
    let text = this.#unsent.shift() ?? "";
    while (text.length + (this.#unsent[0]?.length ?? Infinity) <= WRITE_UNITS) {
      text += this.#unsent.shift();
    }
    return text;
  }
}

/** A request that was not answered at once; the signal is made when a sandbox asks for it. */
class RunningRequest implements RequestOptions, Notifier {
  follower?: CallFollower;
  cancelled = false;
  #controller: AbortController | null = null;
  readonly #output: { send(text: string): void; waiting(): number };

  constructor(output: { send(text: string): void; waiting(): number }) {
    this.#output = output;
  }

  get waiting(): number {
    return this.#output.waiting();
  }

  send(text: string): void {
    // Nothing more is said of a request that was cancelled.
    if (!this.cancelled) this.#output.send(text);
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.cancelled) this.#controller.abort();
    return this.#controller.signal;
  }

  cancel(): void {
    this.cancelled = true;
    this.#controller?.abort();
  }
}

/** Requests that exist since 2026-07-28 only, so that a missing `_meta` is the thing to say. */
function modernOnly(request: Request): boolean {
  return request.method === "server/discover";
}

/** "1" and 1 are different ids. */
function keyOf(id: RequestId): string {
  return JSON.stringify(id);
}

function textOf(reply: Reply): string {
  return typeof reply === "string" ? reply : reply.text;
}

function isBlank(line: Uint8Array): boolean {
  return line.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}
