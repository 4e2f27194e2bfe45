/**
 * The targets that a key has in the native engine.
 *
 * Owns: asking the engine for them once, and which are remembered. The engine decides how many keys
 * there may be and forgets those that keep nothing. Must not know how a call is made.
 */
import type { NativeClient } from "../../ffi/client.ts";

/** Keys whose targets are remembered. */
const REMEMBERED_MAX = 1_000;

interface IsolateReply {
  readonly functions: readonly { readonly target: number }[];
}

export class NativeKeys {
  readonly #client: NativeClient;
  readonly #engine: number;
  readonly #component: number;
  /** The one that was used last comes last. */
  readonly #known = new Map<string, readonly number[]>();
  readonly #asked = new Map<string, Promise<readonly number[]>>();

  constructor(client: NativeClient, engine: number, component: number) {
    this.#client = client;
    this.#engine = engine;
    this.#component = component;
  }

  /** Targets in the order of the component's functions; undefined: they have to be asked for. */
  known(key: string): readonly number[] | undefined {
    const targets = this.#known.get(key);
    if (targets !== undefined && this.#known.size > 1) {
      this.#known.delete(key);
      this.#known.set(key, targets);
    }
    return targets;
  }

  /**
   * Asks for them; calls that come meanwhile wait for the same answer.
   * @throws NativeError overloaded (too many keys in use), invalid_argument, not_found, closed
   */
  ask(key: string): Promise<readonly number[]> {
    const asked = this.#asked.get(key) ?? this.#ask(key);
    this.#asked.set(key, asked);
    return asked;
  }

  /** The engine has forgotten these; those that were asked for since are not meant. */
  forget(key: string, targets: readonly number[]): void {
    if (this.#known.get(key) === targets) this.#known.delete(key);
  }

  async #ask(key: string): Promise<readonly number[]> {
    try {
      const request = { op: "isolate", component: this.#component, key };
      const reply = await this.#client.control(this.#engine, request) as unknown as IsolateReply;
      const targets = reply.functions.map(({ target }) => target);
      this.#known.set(key, targets);
      const [eldest] = this.#known.keys();
      if (this.#known.size > REMEMBERED_MAX && eldest !== undefined) this.#known.delete(eldest);
      return targets;
    } finally {
      this.#asked.delete(key);
    }
  }
}
