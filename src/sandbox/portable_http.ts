/**
 * One HTTP exchange inside a worker: the request as the guest's resource, the response as messages
 * to the main thread.
 *
 * Owns flow control in both directions: a guest reads what came through the port and waits for
 * more; it writes while fewer than {@link CHUNK_WINDOW} chunks are on the way.
 */
import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import type { CallGuard } from "./portable_guard.ts";
import { FORBIDDEN } from "./portable_http_fields.ts";
import {
  type ErrorCode,
  IncomingRequest,
  ResponseOutparam,
  type ResponseTarget,
} from "./portable_http_types.ts";
import { ALWAYS, IoError, NO_INPUT, type Source, type StreamError } from "./portable_io.ts";
import {
  CHUNK_BYTES_MAX,
  CHUNK_WINDOW,
  type FromWorker,
  type HttpMessage,
  WORD_CREDIT,
} from "./portable_protocol.ts";

/** A piece of a request's body on the port. */
export interface BodyMessage {
  readonly id: number;
  /** Bytes; null at the end; a sentence when the body broke off. */
  readonly data: Uint8Array | null | string;
}

interface Environment {
  readonly guard: CallGuard;
  readonly port: MessagePort;
  readonly words: Int32Array;
  readonly post: (message: FromWorker) => void;
}

export class HttpExchange {
  readonly request: IncomingRequest;
  readonly outparam: ResponseOutparam;
  readonly #response: Response;

  constructor(environment: Environment, message: HttpMessage) {
    const url = new URL(message.url);
    this.request = new IncomingRequest(environment.guard, {
      method: message.method,
      scheme: url.protocol.slice(0, -1),
      authority: url.host,
      pathWithQuery: `${url.pathname}${url.search}`,
      fields: message.fields
        .filter(([name]) => !FORBIDDEN.has(name.toLowerCase()))
        .map(([name, value]) => [name, latin1(value)]),
      body: requestBody(environment, message),
    });
    this.#response = new Response(environment);
    this.outparam = new ResponseOutparam(environment.guard, this.#response);
  }

  /** What is missing when the guest has returned: null for nothing. */
  get problem(): string | null {
    return this.#response.problem;
  }
}

function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0) & 0xff);
}

function requestBody(environment: Environment, { id, body }: HttpMessage): Source {
  if (body === null) return NO_INPUT;
  if (body === "stream") return new PortSource(environment, id);
  let rest: Uint8Array = body;
  return {
    ...ALWAYS,
    read: (most) => {
      if (rest.length === 0) return null;
      const bytes = rest.subarray(0, most);
      rest = rest.subarray(bytes.length);
      return bytes;
    },
  };
}

/** A body whose chunks come through the port while the guest runs. */
class PortSource implements Source {
  readonly #environment: Environment;
  readonly #id: number;
  #chunk: Uint8Array = new Uint8Array(0);
  #end: "open" | "closed" | { readonly problem: string } = "open";

  constructor(environment: Environment, id: number) {
    this.#environment = environment;
    this.#id = id;
  }

  readonly inMs = () => Infinity;

  ready(): boolean {
    this.#take();
    return this.#chunk.length > 0 || this.#end !== "open";
  }

  read(most: number): Uint8Array | null {
    this.#take();
    if (this.#chunk.length === 0 && this.#end !== "open") {
      if (this.#end === "closed") return null;
      const val = new IoError(this.#environment.guard, this.#end.problem);
      throw { tag: "last-operation-failed", val } satisfies StreamError;
    }
    const bytes = this.#chunk.subarray(0, most);
    this.#chunk = this.#chunk.subarray(bytes.length);
    return bytes;
  }

  #take(): void {
    while (this.#chunk.length === 0 && this.#end === "open") {
      const message = receiveMessageOnPort(this.#environment.port)?.message as
        | BodyMessage
        | undefined;
      if (message === undefined) return;
      // Left over from a call that did not read its body.
      if (message.id !== this.#id) continue;
      if (message.data === null) this.#end = "closed";
      else if (typeof message.data === "string") this.#end = { problem: message.data };
      else {
        this.#chunk = message.data;
        this.#environment.post({ op: "credit" });
      }
    }
  }
}

class Response implements ResponseTarget {
  readonly #environment: Environment;
  #state: "nothing" | "head" | "complete" = "nothing";
  #refused: ErrorCode | null = null;
  #sent = 0;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  get problem(): string | null {
    if (this.#refused !== null) return `the guest answered with the error ${this.#refused.tag}`;
    if (this.#state === "nothing") return "the guest returned without an answer";
    return this.#state === "head" ? "the guest returned without finishing the body" : null;
  }

  readonly inMs = () => Infinity;

  ready(): boolean {
    const passed = Atomics.load(this.#environment.words, WORD_CREDIT);
    return this.#sent - passed < CHUNK_WINDOW;
  }

  room(): number {
    return this.ready() ? CHUNK_BYTES_MAX : 0;
  }

  head(status: number, fields: readonly (readonly [string, Uint8Array])[]): void {
    this.#state = "head";
    this.#environment.post({
      op: "head",
      status,
      fields: fields.map(([name, value]) => [
        name.toLowerCase(),
        Array.from(value, (byte) => String.fromCharCode(byte)).join(""),
      ]),
    });
  }

  refuse(code: ErrorCode): void {
    this.#refused = code;
  }

  write(bytes: Uint8Array): void {
    this.#sent += 1;
    this.#environment.post({ op: "chunk", bytes });
  }

  complete(): void {
    this.#state = "complete";
    this.#environment.post({ op: "complete" });
  }
}
