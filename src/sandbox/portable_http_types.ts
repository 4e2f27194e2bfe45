/**
 * `wasi:http/types` and `outgoing-handler` for guests of the portable engine: incoming requests,
 * outgoing responses with streamed bodies; requests to elsewhere are denied.
 *
 * preview2-shim's own server cannot be used inside a worker, so the resources are here. Must not
 * know how a request came or where a response goes: `portable_http.ts` does.
 * Source: wasi:http 0.2.
 */
import type { CallGuard } from "./portable_guard.ts";
import { Fields } from "./portable_http_fields.ts";
import {
  ALWAYS,
  HostResource,
  InputStream,
  IoError,
  OutputStream,
  Pollable,
  type Sink,
  type Source,
  type StreamError,
} from "./portable_io.ts";

/** `error-code`, as far as the host makes one. */
export interface ErrorCode {
  readonly tag: string;
  readonly val?: unknown;
}

/** Where a response goes. */
export interface ResponseTarget extends Sink {
  head(status: number, fields: readonly (readonly [string, Uint8Array])[]): void;
  /** The guest answered with an error instead. */
  refuse(code: ErrorCode): void;
  complete(): void;
}

type Method = { readonly tag: string; readonly val?: string };
type Scheme = { readonly tag: string; readonly val?: string };

const METHODS: ReadonlySet<string> = new Set([
  "get",
  "head",
  "post",
  "put",
  "delete",
  "connect",
  "options",
  "trace",
  "patch",
]);

/** What a request says about itself. */
export interface RequestParts {
  readonly method: string;
  readonly scheme: string;
  readonly authority: string;
  readonly pathWithQuery: string;
  readonly fields: readonly (readonly [string, Uint8Array])[];
  readonly body: Source;
}

export class IncomingBody extends HostResource {
  #source: Source | null;

  constructor(guard: CallGuard, source: Source) {
    super(guard);
    this.#source = source;
  }

  stream(): InputStream {
    const source = this.#source;
    this.#source = null;
    if (source === null) throw undefined;
    return new InputStream(this.guard, source);
  }

  static finish(body: IncomingBody): FutureTrailers {
    return new FutureTrailers(body.guard);
  }
}

/** Requests have no trailers here. */
export class FutureTrailers extends HostResource {
  #taken = false;

  subscribe(): Pollable {
    return new Pollable(this.guard, ALWAYS);
  }

  get() {
    if (this.#taken) return { tag: "err", val: undefined };
    this.#taken = true;
    return { tag: "ok", val: { tag: "ok", val: undefined } };
  }
}

export class IncomingRequest extends HostResource {
  readonly #parts: RequestParts;
  #consumed = false;

  constructor(guard: CallGuard, parts: RequestParts) {
    super(guard);
    this.#parts = parts;
  }

  method(): Method {
    const { method } = this.#parts;
    const tag = method.toLowerCase();
    // Methods are case-sensitive: `get` is not GET.
    return METHODS.has(tag) && method === method.toUpperCase()
      ? { tag }
      : { tag: "other", val: method };
  }

  pathWithQuery(): string {
    return this.#parts.pathWithQuery;
  }

  scheme(): Scheme {
    const { scheme } = this.#parts;
    if (scheme === "http") return { tag: "HTTP" };
    return scheme === "https" ? { tag: "HTTPS" } : { tag: "other", val: scheme };
  }

  authority(): string {
    return this.#parts.authority;
  }

  headers(): Fields {
    return Fields.immutable(this.guard, this.#parts.fields);
  }

  consume(): IncomingBody {
    if (this.#consumed) throw undefined;
    this.#consumed = true;
    return new IncomingBody(this.guard, this.#parts.body);
  }
}

/** A body that a guest writes; counts against a `content-length` that it declared. */
export class OutgoingBody extends HostResource {
  #sink: Sink | null;
  readonly #declared: number | null;
  readonly #finished: () => void;
  #written = 0;

  constructor(guard: CallGuard, sink: Sink, declared: number | null, finished: () => void) {
    super(guard);
    this.#sink = sink;
    this.#declared = declared;
    this.#finished = finished;
  }

  write(): OutputStream {
    const sink = this.#sink;
    this.#sink = null;
    if (sink === null) throw undefined;
    const write = (bytes: Uint8Array) => {
      this.#written += bytes.length;
      if (this.#declared !== null && this.#written > this.#declared) {
        const text = `the body is longer than its content-length of ${this.#declared}`;
        const val = new IoError(this.guard, text);
        throw { tag: "last-operation-failed", val } satisfies StreamError;
      }
      sink.write(bytes);
    };
    return new OutputStream(this.guard, {
      ready: () => sink.ready(),
      inMs: sink.inMs,
      room: () => sink.room(),
      write,
    });
  }

  static finish(body: OutgoingBody): void {
    if (body.#declared !== null && body.#written !== body.#declared) {
      throw { tag: "HTTP-response-body-size", val: BigInt(body.#written) } satisfies ErrorCode;
    }
    body.#finished();
  }
}

/** What an outgoing response is when it is sent. */
interface Sent {
  target: ResponseTarget | null;
}

export class OutgoingResponse extends HostResource {
  readonly #headers: Fields;
  readonly #sent: Sent = { target: null };
  #status = 200;
  #bodyTaken = false;
  #finished = false;

  constructor(guard: CallGuard, headers: Fields) {
    super(guard);
    this.#headers = headers;
  }

  statusCode(): number {
    return this.#status;
  }

  setStatusCode(status: number): void {
    if (status < 100 || status > 999) throw undefined;
    this.#status = status;
  }

  headers(): Fields {
    return Fields.immutable(this.guard, this.#headers.entries());
  }

  body(): OutgoingBody {
    if (this.#bodyTaken) throw undefined;
    this.#bodyTaken = true;
    const sent = this.#sent;
    // Written before it is sent, a body waits: nobody knows yet where it goes.
    const sink: Sink = {
      ready: () => sent.target?.ready() ?? false,
      inMs: () => sent.target?.inMs() ?? Infinity,
      room: () => sent.target?.room() ?? 0,
      write: (bytes) => sent.target?.write(bytes),
    };
    return new OutgoingBody(this.guard, sink, this.#declaredLength(), () => {
      this.#finished = true;
      sent.target?.complete();
    });
  }

  /** Sends head and, from now on, body. */
  send(target: ResponseTarget): void {
    target.head(this.#status, this.#headers.entries());
    this.#sent.target = target;
    // A response whose body nobody took or that is finished already is complete.
    if (!this.#bodyTaken || this.#finished) target.complete();
  }

  protected override disposed(): void {
    this.#headers[Symbol.dispose]();
  }

  #declaredLength(): number | null {
    const value = this.#headers.get("content-length")[0];
    if (value === undefined) return null;
    const length = Number(new TextDecoder().decode(value));
    return Number.isSafeInteger(length) ? length : null;
  }
}

export class ResponseOutparam extends HostResource {
  readonly #target: ResponseTarget;

  constructor(guard: CallGuard, target: ResponseTarget) {
    super(guard);
    this.#target = target;
  }

  static set(
    param: ResponseOutparam,
    response: { tag: "ok"; val: OutgoingResponse } | { tag: "err"; val: ErrorCode },
  ): void {
    if (response.tag === "ok") response.val.send(param.#target);
    else param.#target.refuse(response.val);
  }
}

/** Exist for guests that name them; the host gives none out. */
class IncomingResponse extends HostResource {}
class FutureIncomingResponse extends HostResource {}

/** RFC 9110, 5.6.2: what a method is made of. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** RFC 3986, 3.1. */
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*$/;
const NO_CONTROL = /^[^\0-\x20\x7f]*$/;

/** A request to elsewhere: it can be built, `handle` denies it. */
class OutgoingRequest extends HostResource {
  #method: Method = { tag: "get" };
  #path: string | undefined;
  #scheme: Scheme | undefined;
  #authority: string | undefined;
  #bodyTaken = false;

  constructor(guard: CallGuard, readonly fields: Fields) {
    super(guard);
  }

  body(): OutgoingBody {
    if (this.#bodyTaken) throw undefined;
    this.#bodyTaken = true;
    const nowhere: Sink = { ...ALWAYS, room: () => 0, write: () => {} };
    return new OutgoingBody(this.guard, nowhere, null, () => {});
  }

  protected override disposed(): void {
    this.fields[Symbol.dispose]();
  }

  method = () => this.#method;
  setMethod = (method: Method) => {
    this.#keep(this.#method.val, method.val, TOKEN);
    this.#method = method;
  };
  pathWithQuery = () => this.#path;
  setPathWithQuery = (path: string | undefined) => {
    this.#keep(this.#path, path, NO_CONTROL);
    this.#path = path;
  };
  scheme = () => this.#scheme;
  setScheme = (scheme: Scheme | undefined) => {
    this.#keep(this.#scheme?.val, scheme?.val, SCHEME);
    this.#scheme = scheme;
  };
  authority = () => this.#authority;
  setAuthority = (authority: string | undefined) => {
    this.#keep(this.#authority, authority, NO_CONTROL);
    this.#authority = authority;
  };
  headers = () => Fields.immutable(this.guard, this.fields.entries());

  /** Counts a text that takes the place of another; throws the `error` of a `result` for a bad one. */
  #keep(before = "", after = "", valid: RegExp): void {
    this.guard.chargeBytes(after.length);
    if (after.length > this.guard.limits.fieldBytes) throw undefined;
    if (after !== "" && !valid.test(after)) throw undefined;
    this.hold(2 * (after.length - before.length));
  }
}

class RequestOptions extends HostResource {
  connectTimeout = () => undefined;
  setConnectTimeout = () => {};
  firstByteTimeout = () => undefined;
  setFirstByteTimeout = () => {};
  betweenBytesTimeout = () => undefined;
  setBetweenBytesTimeout = () => {};
}

/**
 * The interfaces for one call. What guests construct themselves is subclassed, because jco calls
 * constructors with the guest's arguments only.
 */
export function httpImports(guard: CallGuard): Record<string, Record<string, unknown>> {
  const made = {
    Fields: Object.assign(constructible(Fields, () => new Fields(guard)), {
      fromList: (entries: readonly (readonly [string, Uint8Array])[]) => {
        const fields = new Fields(guard);
        for (const [name, value] of entries) fields.append(name, value);
        return fields;
      },
    }),
    OutgoingResponse: constructible(OutgoingResponse, (headers: Fields) => {
      return new OutgoingResponse(guard, headers);
    }),
    OutgoingRequest: constructible(OutgoingRequest, (headers: Fields) => {
      return new OutgoingRequest(guard, headers);
    }),
    RequestOptions: constructible(RequestOptions, () => new RequestOptions(guard)),
  };
  return {
    "wasi:http/types": {
      ...made,
      IncomingBody,
      IncomingRequest,
      IncomingResponse,
      FutureIncomingResponse,
      FutureTrailers,
      OutgoingBody,
      ResponseOutparam,
      httpErrorCode: () => undefined,
    },
    "wasi:http/outgoing-handler": {
      handle: () => {
        throw { tag: "HTTP-request-denied" } satisfies ErrorCode;
      },
    },
  };
}

/** A class to `new` with a guest's arguments that gives out instances of another. */
function constructible<A extends readonly never[], T extends object>(
  base: { readonly prototype: T },
  make: (...args: A) => T,
): object {
  const maker = function (...args: A): T {
    return make(...args);
  };
  maker.prototype = base.prototype;
  return maker;
}
