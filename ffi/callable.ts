/**
 * What a component and an instance of one have in common: functions that can be called by name.
 *
 * Owns: finding a function's target by its name, the three forms of a call, reading its reply. Must
 * not know how components are loaded nor how long instances live.
 */
import { needsPacking, pack, PackError } from "../src/wire/packed.ts";
import { STATUS } from "./abi.gen.ts";
import type { NativeClient, SubmitOptions } from "./client.ts";
import { errorFromReply, NativeError } from "./errors.ts";
import type { Reply } from "./pending.ts";

export interface ComponentCallOptions {
  /** Time left in milliseconds; at most the limit `wallMs`. */
  readonly budgetMs?: number;
  /** Ends the call with the code `cancelled`. */
  readonly signal?: AbortSignal;
  /** Runs on the engine's threads from the start, so that this one is never held, not even shortly. */
  readonly detached?: boolean;
}

/** A function that a component exports. */
export interface ComponentFunction {
  /** As in WIT, `demo:text/api@0.1.0`; null for a function of the world itself. */
  readonly interface: string | null;
  readonly name: string;
}

/** The guest returned the error side of its `result`. */
export class GuestError extends Error {
  override readonly name = "GuestError";

  /** @param payload the error side as a JavaScript value */
  constructor(readonly payload: unknown) {
    super(`The guest returned an error: ${JSON.stringify(payload)}`);
  }
}

/** Several interfaces export a function of that name. */
const AMBIGUOUS = -1;

/** Places of functions in their component's list, by name; the same rules as the library's. */
export class FunctionNames {
  readonly #places = new Map<string, number>();

  constructor(readonly functions: readonly ComponentFunction[]) {
    for (const [place, f] of functions.entries()) {
      if (f.interface === null) continue;
      this.#places.set(`${f.interface}#${f.name}`, place);
      this.#places.set(f.name, this.#places.has(f.name) ? AMBIGUOUS : place);
    }
    // A function of the world itself has no other name than the plain one.
    for (const [place, f] of functions.entries()) {
      if (f.interface === null) this.#places.set(f.name, place);
    }
  }

  /** @throws NativeError not_found */
  place(name: string): number {
    const place = this.#places.get(name);
    if (place === undefined) {
      const known = this.functions.map((f) => f.name).join(", ");
      throw new NativeError(
        STATUS.NOT_FOUND,
        `Cannot call "${name}": the component exports ${known || "no functions"}`,
      );
    }
    if (place === AMBIGUOUS) {
      throw new NativeError(
        STATUS.NOT_FOUND,
        `Cannot call "${name}": several interfaces export it; name one as INTERFACE#${name}`,
      );
    }
    return place;
  }
}

/** Functions and the targets that call them. */
export abstract class Callable {
  /** What `call` can name. */
  readonly functions: readonly ComponentFunction[];
  readonly #client: NativeClient;
  readonly #owner: number;

  /**
   * @param owner who gets the guest's log lines, 0: nobody
   * @internal
   */
  constructor(
    client: NativeClient,
    functions: readonly ComponentFunction[],
    owner: number,
  ) {
    this.functions = functions;
    this.#client = client;
    this.#owner = owner;
  }

  /**
   * The target that calls a function.
   * @throws NativeError not_found
   * @internal
   */
  protected abstract target(name: string): number;

  /**
   * Calls an exported function by its WIT name, or `INTERFACE#NAME` where two have the same, with
   * its named parameters. The value is the mapping of WIT to JSON that the README describes. A
   * `list<u8>` may be given as a Uint8Array, a 64-bit integer as a bigint, a float as NaN or an
   * infinity; such arguments cross as MessagePack.
   * @throws GuestError the function returned an error; NativeError invalid_argument, limit, trap,
   * deadline, cancelled, overloaded, closed, not_found
   */
  async call(
    name: string,
    args: Readonly<Record<string, unknown>> = {},
    options: ComponentCallOptions = {},
  ): Promise<unknown> {
    const target = this.target(name);
    const submit = this.#options(options);
    return value(
      await (needsPacking(args)
        ? this.#client.callPacked(target, packed(args), submit)
        : this.#client.callJson(target, JSON.stringify(args), submit)),
    );
  }

  /**
   * The same with JSON text in and out. Returns without a promise when the call ended inline,
   * which most do.
   */
  callJson(
    name: string,
    json: string,
    options: ComponentCallOptions = {},
  ): string | Promise<string> {
    const reply = this.#client.callJson(this.target(name), json, this.#options(options));
    return reply instanceof Promise ? reply.then(jsonText) : jsonText(reply);
  }

  /**
   * Calls a function of one `list<u8>` or `string` parameter with its bytes as they are. A result
   * of one of the two types comes as bytes, too; any other as the UTF-8 of its JSON.
   */
  callBytes(
    name: string,
    bytes: Uint8Array,
    options: ComponentCallOptions = {},
  ): Uint8Array | Promise<Uint8Array> {
    const reply = this.#client.callBytes(this.target(name), bytes, this.#options(options));
    return reply instanceof Promise ? reply.then(rawBytes) : rawBytes(reply);
  }

  #options(options: ComponentCallOptions): SubmitOptions {
    return submitOptions(options, this.#owner);
  }
}

/**
 * @param owner who gets the guest's log lines, 0: nobody
 * @throws NativeError deadline: there is no time left; the library would take 0 for "as usual"
 */
export function submitOptions(options: ComponentCallOptions, owner: number): SubmitOptions {
  const { budgetMs, signal, detached } = options;
  if (budgetMs !== undefined && !(budgetMs > 0)) {
    throw new NativeError(STATUS.DEADLINE, "The call has no time left");
  }
  const budgetUs = budgetMs && Math.min(Math.max(1, Math.round(budgetMs * 1000)), 0xffff_ffff);
  return { owner, signal, detached, budgetUs };
}

/** @throws NativeError invalid_argument, with the path of what cannot be sent */
function packed(args: Readonly<Record<string, unknown>>): Uint8Array {
  try {
    return pack(args);
  } catch (error) {
    if (!(error instanceof PackError)) throw error;
    const { path, message } = error;
    const text = `${path}: ${message}`;
    throw new NativeError(STATUS.INVALID_ARGUMENT, text, { path }, { cause: error });
  }
}

function checked(reply: Reply): Reply {
  if (reply.status === STATUS.OK) return reply;
  if (reply.status === STATUS.TOOL_ERROR) throw new GuestError(JSON.parse(reply.text || "null"));
  const { status, message, data } = errorFromReply(reply.status, reply.text, reply.elapsedUs);
  const path = typeof data.path === "string" ? `${data.path}: ` : "";
  throw new NativeError(status, path + message, data);
}

function value(reply: Reply): unknown {
  return JSON.parse(checked(reply).text || "null");
}

function jsonText(reply: Reply): string {
  return checked(reply).text;
}

function rawBytes(reply: Reply): Uint8Array {
  const { bytes, text } = checked(reply);
  return bytes ?? new TextEncoder().encode(text);
}
