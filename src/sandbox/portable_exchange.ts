/**
 * One HTTP request on the portable engine, from the main thread: body in, response out.
 *
 * Owns the streams on this side. Must not know workers' messages beyond a call's events.
 */
import { AtollError } from "../core/errors.ts";
import { type CallEvents, PortableCall } from "./portable_call.ts";
import { CHUNK_BYTES_MAX } from "./portable_protocol.ts";
import type { PortableQueue } from "./portable_queue.ts";
import type { PortableThread } from "./portable_thread.ts";
import type { CallOptions, ComponentSpec, SandboxRequest, SandboxResponse } from "./sandbox.ts";

/**
 * Sends a request to a guest.
 * @returns When the guest has sent the head; a body that breaks off errors the stream.
 */
export function exchange(
  spec: ComponentSpec,
  queue: PortableQueue,
  request: SandboxRequest,
  options: CallOptions | undefined,
): Promise<SandboxResponse> {
  return new Promise((resolve, reject) =>
    new Exchange(spec, queue, request, options, resolve, reject)
  );
}

class Exchange implements CallEvents {
  readonly #call: PortableCall;
  readonly #request: SandboxRequest;
  readonly #resolve: (response: SandboxResponse) => void;
  readonly #reject: (error: unknown) => void;
  #body: ReadableStreamDefaultController<Uint8Array> | null = null;
  #reader: ReadableStreamDefaultReader<Uint8Array> | null = null;
  /** Chunks that were put into the stream while nobody was reading. */
  #owed = 0;
  #over = false;

  constructor(
    spec: ComponentSpec,
    queue: PortableQueue,
    request: SandboxRequest,
    options: CallOptions | undefined,
    resolve: (response: SandboxResponse) => void,
    reject: (error: unknown) => void,
  ) {
    this.#request = request;
    this.#resolve = resolve;
    this.#reject = reject;
    const { method, url, fields, body } = request;
    this.#call = new PortableCall(
      spec,
      queue,
      {
        op: "http",
        method,
        url,
        fields,
        body: body instanceof ReadableStream ? "stream" : body,
      },
      this,
      options,
    );
    try {
      this.#call.submit();
    } catch (thrown) {
      reject(thrown);
    }
  }

  started(thread: PortableThread, id: number): void {
    const { body } = this.#request;
    if (!(body instanceof ReadableStream)) return;
    const reader = body.getReader();
    this.#reader = reader;
    void this.#pump(reader, thread, id);
  }

  readonly head = (status: number, fields: [string, string][]): void => {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => void (this.#body = controller),
      pull: () => {
        for (; this.#owed > 0; this.#owed--) this.#call.credit();
      },
      cancel: () => {
        this.#body = null;
        this.#call.cancel();
      },
    });
    this.#resolve({ status, fields, body });
  };

  readonly chunk = (bytes: Uint8Array): void => {
    const body = this.#body;
    if (body === null) return;
    body.enqueue(bytes);
    // A server whose client has left cancels from inside `enqueue`: then nobody waits for more.
    if (this.#body !== body) return;
    if ((body.desiredSize ?? 0) > 0) this.#call.credit();
    else this.#owed += 1;
  };

  readonly complete = (): void => {
    this.#body?.close();
    this.#body = null;
  };

  ended(): void {
    this.#finish();
  }

  failed(error: AtollError): void {
    this.#finish();
    // After the head only the body can still tell of it.
    this.#body?.error(error);
    this.#body = null;
    this.#reject(error);
  }

  #finish(): void {
    this.#over = true;
    void this.#reader?.cancel().catch(() => {});
  }

  async #pump(
    reader: ReadableStreamDefaultReader<Uint8Array>,
    thread: PortableThread,
    id: number,
  ): Promise<void> {
    try {
      while (!this.#over) {
        const { done, value } = await reader.read();
        if (done) return await thread.send(id, null);
        for (let offset = 0; offset < value.length; offset += CHUNK_BYTES_MAX) {
          await thread.send(id, value.slice(offset, offset + CHUNK_BYTES_MAX));
        }
      }
    } catch {
      await thread.send(id, "the request's body broke off");
    }
  }
}
