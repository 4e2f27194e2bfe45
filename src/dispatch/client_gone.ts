/**
 * What a call takes from its request: its cancellation when the client goes away, and its trace.
 *
 * Owns: when a signal is made, the error of a body that ends too early. Must not know HTTP.
 *
 * The signal of a request costs more than a short call (Deno makes an exception with its stack for
 * each that was looked at), so it is looked at only for calls that did not end at once; until then
 * an engine that asks gets one of its own.
 */
import { AtollError } from "../core/errors.ts";
import type { CallFollower, CallOptions } from "../sandbox/sandbox.ts";

/**
 * What is thrown when a request's body cannot be read to its end. That is the client's doing, where
 * the runtimes throw errors of their own that would pass for a bug.
 */
export function brokenOff(cause: unknown): AtollError {
  return new AtollError("cancelled", "The request's body broke off", {}, { cause });
}

/** Options of a call that may be cancelled from outside while it runs, and that may be traced. */
export class ClientGone implements CallOptions {
  /** Whoever follows the call. */
  follower?: CallFollower;
  #controller: AbortController | null = null;

  /** @param headers of the request, when it has any */
  constructor(private readonly headers?: Headers) {}

  get aborted(): boolean {
    return this.#controller?.signal.aborted === true;
  }

  /** Looked up when an engine asks: only calls whose lines are listened to need it. */
  get traceparent(): string | null {
    return this.headers?.get("traceparent") ?? null;
  }

  /** Made when it is read for the first time. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  /** The client is known to be gone. */
  gone(): void {
    this.#controller ??= new AbortController();
    this.#controller.abort();
  }

  /** Ends the call with the source from now on: the call is under way. */
  follow(source: AbortSignal): void {
    this.#controller ??= new AbortController();
    const controller = this.#controller;
    if (source.aborted) controller.abort(source.reason);
    else source.addEventListener("abort", () => controller.abort(source.reason), { once: true });
  }
}
