/**
 * Bodies that are streamed: frames to and from `ReadableStream`, with credit in both directions.
 *
 * Owns: the exchange of one HTTP call after its first frame. Must not know the format of heads, nor
 * how frames are sent. At most STREAM_WINDOW chunks wait in either direction, so a slow side holds
 * the fast one back and never fills memory.
 */
import { setImmediate } from "node:timers";
import { CHUNK_BYTES_MAX, STATUS } from "./abi.gen.ts";
import { errorFromReply, type NativeError } from "./errors.ts";
import type { PendingCall, Reply } from "./pending.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The beginning of a response: its head, and its body unless that is whole in `first`. */
export interface HttpReply {
  /** OK, or why there is no response. */
  readonly status: number;
  /** JSON of an error. */
  readonly text: string;
  readonly elapsedUs: number;
  /** Head, and for a short response the whole body behind it. */
  readonly first: Bytes;
  /** The body behind a head that came alone; null for a response that is whole in `first`. */
  readonly body: ReadableStream<Uint8Array> | null;
}

/** What an exchange needs of its client. */
export interface ChunkSender {
  sendChunk(ticket: number, chunk: Uint8Array, last: boolean): number;
  credit(ticket: number, chunks: number): void;
  cancel(ticket: number): number;
}

/** The reply of an HTTP call that is whole in one event. */
export function wholeReply(reply: Reply): HttpReply {
  return {
    status: reply.status,
    text: reply.text,
    elapsedUs: reply.elapsedUs,
    first: reply.bytes ?? EMPTY,
    body: null,
  };
}

const EMPTY: Bytes = new Uint8Array(0);

/** One HTTP call whose request body, response body, or both did not fit the first frame. */
export class HttpExchange implements PendingCall {
  ticket = 0;
  readonly promise: Promise<HttpReply>;
  readonly #sender: ChunkSender;
  readonly #toError: (error: NativeError) => Error;
  #resolve!: (reply: HttpReply) => void;
  #reject!: (error: NativeError) => void;
  #response: ResponseBody | null = null;
  #request: RequestBody | null = null;

  /** @param toError what the reader of a body that was cut gets */
  constructor(sender: ChunkSender, toError: (error: NativeError) => Error) {
    this.#sender = sender;
    this.#toError = toError;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /**
   * Sends the rest of the request body; called once the call has its ticket.
   * @throws TypeError the source is locked; the call is cancelled then
   */
  pump(source: ReadableStream<Uint8Array>): void {
    try {
      this.#request = new RequestBody(this.#sender, this.ticket, source);
    } catch (error) {
      // Somebody else reads the source: nothing of it will ever be sent.
      this.#sender.cancel(this.ticket);
      throw error;
    }
    this.#request.run();
  }

  onHead(payload: Bytes): void {
    this.#response = new ResponseBody(this.#sender, this.ticket);
    this.#resolve({
      status: STATUS.OK,
      text: "",
      elapsedUs: 0,
      first: payload,
      body: this.#response.stream,
    });
  }

  onBody(chunk: Bytes): void {
    this.#response?.push(chunk);
  }

  onCredit(): void {
    this.#request?.credit();
  }

  onReply(reply: Reply): void {
    this.#request?.stop();
    if (!this.#response) this.#resolve(wholeReply(reply));
    else if (reply.status === STATUS.OK) this.#response.end(reply.bytes);
    else this.#cut(errorFromReply(reply.status, reply.text, reply.elapsedUs));
  }

  onLost(error: NativeError): void {
    this.#request?.stop();
    if (this.#response) this.#cut(error);
    else this.#reject(error);
  }

  #cut(error: NativeError): void {
    this.#response?.fail(this.#toError(error));
  }
}

/** Response chunks on their way to a reader; each gives credit when the reader takes it. */
class ResponseBody {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #waiting: Bytes[] = [];
  readonly #sender: ChunkSender;
  readonly #ticket: number;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #wanted = false;
  #ended = false;
  #over = false;

  constructor(sender: ChunkSender, ticket: number) {
    this.#sender = sender;
    this.#ticket = ticket;
    this.stream = new ReadableStream<Uint8Array>({
      start: (controller) => void (this.#controller = controller),
      pull: () => this.#pull(),
      cancel: () => {
        this.#waiting.length = 0;
        this.#over = true;
        if (!this.#ended) this.#sender.cancel(this.#ticket);
      },
    }, { highWaterMark: 0 });
  }

  push(chunk: Bytes): void {
    if (this.#over || chunk.length === 0) {
      this.#sender.credit(this.#ticket, 1);
      return;
    }
    this.#waiting.push(chunk);
    if (this.#wanted) this.#pull();
  }

  #pull(): void {
    const chunk = this.#waiting.shift();
    if (chunk) {
      this.#wanted = false;
      if (!this.#ended) this.#sender.credit(this.#ticket, 1);
      this.#controller.enqueue(chunk);
    } else if (this.#ended) {
      this.#finish();
    } else {
      this.#wanted = true;
    }
  }

  /** The body is complete; `rest` is what came with the end. */
  end(rest: Bytes | null): void {
    this.#ended = true;
    if (this.#over) return;
    if (rest && rest.length > 0) this.#waiting.push(rest);
    if (this.#waiting.length === 0) this.#finish();
    else if (this.#wanted) this.#pull();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#controller.close();
  }

  /** The body was cut: the reader gets an error, not an end. */
  fail(error: Error): void {
    this.#ended = true;
    if (this.#over) return;
    this.#over = true;
    this.#waiting.length = 0;
    this.#controller.error(error);
  }
}

/** A request body on its way to the guest. */
class RequestBody {
  readonly #sender: ChunkSender;
  readonly #ticket: number;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #stopped = false;
  #sent = 0;
  #credited: (() => void) | null = null;

  constructor(sender: ChunkSender, ticket: number, source: ReadableStream<Uint8Array>) {
    this.#sender = sender;
    this.#ticket = ticket;
    this.#reader = source.getReader();
  }

  /** Runs until the body ends, the call ends, or the source fails; never throws. */
  run(): void {
    this.#copy().catch(() => {
      if (this.#stopped) return;
      // The source broke: the guest must not take half a body for a whole one.
      this.#sender.cancel(this.#ticket);
      this.stop();
    });
  }

  async #copy(): Promise<void> {
    while (!this.#stopped) {
      const { done, value } = await this.#reader.read();
      if (done) {
        await this.#send(EMPTY, true);
        return;
      }
      // A chunk of another type has no bytes that could be counted: it would be lost silently.
      if (!(value instanceof Uint8Array)) throw new TypeError("A body has bytes only");
      for (let at = 0; at < value.length && !this.#stopped; at += CHUNK_BYTES_MAX) {
        await this.#send(value.subarray(at, at + CHUNK_BYTES_MAX), false);
      }
    }
  }

  async #send(chunk: Uint8Array, last: boolean): Promise<void> {
    while (!this.#stopped) {
      const status = this.#sender.sendChunk(this.#ticket, chunk, last);
      if (status === STATUS.OK) {
        // A guest that does not want its body is fed for nothing. A source that always has more
        // would then keep the event loop from ever turning, and the end of the call unseen.
        if (++this.#sent % TURN_CHUNKS === 0) await new Promise<void>((r) => setImmediate(r));
        return;
      }
      if (status === STATUS.WOULD_BLOCK) {
        await new Promise<void>((resolve) => void (this.#credited = resolve));
      } else if (status === STATUS.NO_MEMORY) {
        // The arena is full of other calls' bodies; they end within their deadlines.
        await new Promise((resolve) => setTimeout(resolve, NO_MEMORY_PAUSE_MS));
      } else {
        // The call is over and its reply is on the way: nobody reads the rest.
        this.stop();
      }
    }
  }

  /** The guest took chunks, so another may be sent. */
  credit(): void {
    this.#wakeUp();
  }

  /** Ends the copying and lets go of the source. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#wakeUp();
    this.#reader.cancel().catch(() => {});
  }

  #wakeUp(): void {
    const credited = this.#credited;
    this.#credited = null;
    credited?.();
  }
}

const NO_MEMORY_PAUSE_MS = 5;
/** After so many chunks the event loop gets a turn. */
const TURN_CHUNKS = 16;
