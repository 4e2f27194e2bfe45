/**
 * The response to one request as server-sent events: notifications, then the answer.
 *
 * Owns: the form of the events and the stream they go out in, made when the first is sent. Must not
 * know what they say.
 * Source: "Streamable HTTP" of 2026-07-28; the HTML standard, "Server-sent events".
 */
import type { Notifier } from "./notifications.ts";

const HEADERS = {
  "content-type": "text/event-stream",
  "cache-control": "no-cache",
  // Or a proxy keeps the events for itself until there are more.
  "x-accel-buffering": "no",
};

export class EventStream implements Notifier {
  /** Resolves with the first event: from then on the answer is a stream. */
  readonly begun: Promise<void>;
  readonly #begin: () => void;
  readonly #gone: () => void;
  readonly #encoder = new TextEncoder();
  readonly #events: string[] = [];
  #waiting = 0;
  #started = false;
  #ended = false;
  #over = false;
  #wanted: (() => void) | null = null;

  /** @param gone Called when the client stops reading before the answer. */
  constructor(gone: () => void) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.begun = promise;
    this.#begin = resolve;
    this.#gone = gone;
  }

  get started(): boolean {
    return this.#started;
  }

  get waiting(): number {
    return this.#waiting;
  }

  send(text: string): void {
    if (this.#over || this.#ended) return;
    this.#started = true;
    this.#begin();
    this.#push(text);
  }

  /** The answer; nothing comes behind it. */
  end(text: string): void {
    if (this.#over || this.#ended) return;
    this.#ended = true;
    this.#push(text);
  }

  /** The response that carries the events. */
  response(): Response {
    const body = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        if (this.#events.length === 0 && !this.#ended) {
          await new Promise<void>((resolve) => void (this.#wanted = resolve));
        }
        const text = this.#events.shift();
        if (text !== undefined) {
          this.#waiting -= text.length;
          // JSON text has no line feeds, so it is one line of data.
          controller.enqueue(this.#encoder.encode(`data: ${text}\n\n`));
        }
        if (this.#events.length > 0 || !this.#ended || this.#over) return;
        this.#over = true;
        controller.close();
      },
      cancel: () => {
        this.#over = true;
        this.#events.length = 0;
        this.#waiting = 0;
        this.#wake();
        if (!this.#ended) this.#gone();
      },
    }, { highWaterMark: 0 });
    return new Response(body, { headers: HEADERS });
  }

  #push(text: string): void {
    this.#events.push(text);
    this.#waiting += text.length;
    this.#wake();
  }

  #wake(): void {
    const wanted = this.#wanted;
    this.#wanted = null;
    wanted?.();
  }
}
