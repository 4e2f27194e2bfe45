/**
 * The one way into a sandbox: every call of a tool and every HTTP request for a plugin passes here.
 *
 * Owns: the refusal of new work while stopping, waiting for running work, the
 * second try when a plugin moved to another engine. Must not know MCP, HTTP or how an engine works.
 * Concurrency, queue and deadline of a call are counted by the engine, so that every door shares
 * them; a call that ends inline passes here without a promise.
 */
import { AtollError } from "../core/errors.ts";
import type {
  CallOptions,
  CallOutcome,
  LoadedComponent,
  SandboxRequest,
  SandboxResponse,
} from "../sandbox/sandbox.ts";

/** What the dispatcher needs of a plugin: `component` is replaced when it moves to another engine. */
export interface Callee {
  readonly id: string;
  readonly component: LoadedComponent;
}

/** What the dispatcher needs of a tool. */
export interface CallableTool {
  readonly functionIndex: number;
  readonly plugin: Callee;
}

export class Dispatcher {
  #running = 0;
  #stopping = false;
  readonly #idle: (() => void)[] = [];
  /** How each running call is given up. */
  readonly #cuts = new Set<(error: AtollError) => void>();

  /** Calls that were started and have not ended. */
  get inFlight(): number {
    return this.#running;
  }

  /**
   * Calls a tool with a JSON object of its named arguments. Returns without a promise when the
   * engine did, and throws synchronously when the engine did.
   * @throws AtollError closed: the server is stopping, or the plugin was removed; and what
   * {@link LoadedComponent.call} throws.
   */
  callTool(
    tool: CallableTool,
    argumentsJson: string,
    options?: CallOptions,
  ): CallOutcome | Promise<CallOutcome> {
    return this.#run(
      tool.plugin,
      (component) => component.call(tool.functionIndex, argumentsJson, options),
    );
  }

  /**
   * Hands an HTTP request to a plugin's handler. A body that an engine began to read is gone, so
   * such a request is not tried a second time.
   * @throws AtollError as {@link callTool}.
   */
  handleHttp(
    plugin: Callee,
    request: SandboxRequest,
    options?: CallOptions,
  ): SandboxResponse | Promise<SandboxResponse> {
    const body = request.body;
    const unread = () => !(body instanceof ReadableStream) || !body.locked;
    return this.#run(plugin, (component) => component.handle(request, options), unread);
  }

  /**
   * Refuses new work with `closed` and waits for the work that runs. What still runs at the end of
   * the wait is answered with `closed` too: its engine ends it when it is closed.
   * @param graceMs The longest wait in milliseconds.
   * @returns False when work was still running at the end of it.
   */
  async stop(graceMs: number): Promise<boolean> {
    this.#stopping = true;
    if (this.#running === 0) return true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const expired = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), graceMs);
    });
    const idle = new Promise<true>((resolve) => this.#idle.push(() => resolve(true)));
    const stopped = await Promise.race([idle, expired]);
    clearTimeout(timer);
    for (const cut of this.#cuts) {
      cut(
        new AtollError("closed", `The server is stopping and waited ${graceMs} ms for this call`, {
          retryAfterSeconds: 1,
        }),
      );
    }
    return stopped;
  }

  #run<T>(
    plugin: Callee,
    call: (component: LoadedComponent) => T | Promise<T>,
    repeatable: () => boolean = always,
  ): T | Promise<T> {
    if (this.#stopping) {
      throw new AtollError("closed", "The server is stopping", { retryAfterSeconds: 1 });
    }
    const component = plugin.component;
    let result: T | Promise<T>;
    try {
      result = call(component);
    } catch (error) {
      if (!moved(error, plugin, component) || !repeatable()) throw error;
      // The second try, on the engine the plugin moved to.
      result = call(plugin.component);
    }
    if (!(result instanceof Promise)) return result;
    return this.#track(result, (error) => {
      if (!moved(error, plugin, component) || !repeatable()) throw error;
      return call(plugin.component);
    });
  }

  async #track<T>(pending: Promise<T>, retry: (error: unknown) => T | Promise<T>): Promise<T> {
    this.#running++;
    const { promise: cut, reject } = Promise.withResolvers<never>();
    this.#cuts.add(reject);
    try {
      return await Promise.race([pending.catch(retry), cut]);
    } finally {
      this.#cuts.delete(reject);
      if (--this.#running === 0) {
        for (const resolve of this.#idle.splice(0)) resolve();
      }
    }
  }
}

const always = () => true;

/**
 * The old component refused a call that it never started, and the plugin has another one by now.
 * An engine answers `closed` only for calls that no guest has seen.
 */
function moved(error: unknown, plugin: Callee, tried: LoadedComponent): boolean {
  return error instanceof AtollError && error.code === "closed" && plugin.component !== tried;
}
