/**
 * A closed-loop HTTP/1.1 load generator: connections that send a request, wait for the whole answer
 * and send it again. For machines without wrk and for the small benches.
 *
 * Owns: one process. Reads a {@link LoadOrder} as JSON from its first argument, prints a
 * {@link LoadReport} as JSON. Must not know what is asked.
 */
import { connect, type Socket } from "node:net";
import process from "node:process";

export interface LoadOrder {
  readonly host: string;
  readonly port: number;
  /** The request as it goes over the wire, in Latin-1. */
  readonly request: string;
  readonly connections: number;
  readonly seconds: number;
}

export interface LoadReport {
  readonly requests: number;
  readonly seconds: number;
  /** Answers whose status was not 200. */
  readonly failed: number;
}

/** Sends one request after the other on one connection and counts the answers. */
class Connection {
  requests = 0;
  failed = 0;
  #received = "";

  constructor(readonly socket: Socket, readonly request: string) {
    socket.setNoDelay(true);
    socket.on("data", (chunk) => this.#take(chunk.toString("latin1")));
  }

  start(): void {
    this.socket.write(this.request, "latin1");
  }

  #take(text: string): void {
    this.#received += text;
    const length = answerLength(this.#received);
    if (length === null || this.#received.length < length) return;
    if (!this.#received.startsWith("HTTP/1.1 200")) this.failed++;
    this.#received = this.#received.slice(length);
    this.requests++;
    this.start();
  }
}

/** Length of the answer at the beginning of a text, or null when that is not known yet. */
export function answerLength(text: string): number | null {
  const head = text.indexOf("\r\n\r\n");
  if (head === -1) return null;
  const fields = text.slice(0, head);
  const declared = /\r\ncontent-length: *(\d+)/i.exec(fields)?.[1];
  if (declared !== undefined) return head + 4 + Number(declared);
  if (!/\r\ntransfer-encoding: *chunked/i.test(fields)) return head + 4;
  if (text.startsWith("0\r\n\r\n", head + 4)) return head + 9;
  const end = text.indexOf("\r\n0\r\n\r\n", head + 4);
  return end === -1 ? null : end + 7;
}

/** Runs an order. Rejects when a connection breaks. */
export async function generateLoad(order: LoadOrder): Promise<LoadReport> {
  const broken = Promise.withResolvers<never>();
  const connections = await Promise.all(
    Array.from({ length: order.connections }, () => open(order, broken.reject)),
  );
  const start = performance.now();
  for (const connection of connections) connection.start();
  const ended = new Promise<void>((resolve) => setTimeout(resolve, order.seconds * 1_000));
  await Promise.race([ended, broken.promise]);
  const seconds = (performance.now() - start) / 1_000;
  for (const { socket } of connections) {
    socket.removeAllListeners("close");
    socket.destroy();
  }
  return {
    requests: connections.reduce((sum, one) => sum + one.requests, 0),
    seconds,
    failed: connections.reduce((sum, one) => sum + one.failed, 0),
  };
}

function open(order: LoadOrder, onBroken: (error: Error) => void): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const socket = connect(order.port, order.host);
    socket.on("connect", () => resolve(new Connection(socket, order.request)));
    socket.on("error", (error) => {
      reject(error);
      onBroken(error);
    });
    socket.on("close", () => onBroken(new Error("the server closed a connection")));
  });
}

if (import.meta.main) {
  const report = await generateLoad(JSON.parse(process.argv[2] ?? "") as LoadOrder);
  process.stdout.write(`${JSON.stringify(report)}\n`);
  process.exit(0);
}
