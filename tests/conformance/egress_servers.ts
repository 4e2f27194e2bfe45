/**
 * Servers that guests send requests to: one over HTTP and one over HTTPS, with the certificates of
 * `tests/fixtures/tls`. Must not know what is tested.
 */
import { readFileSync } from "node:fs";
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const certificates = fileURLToPath(new URL("../fixtures/tls", import.meta.url));

/** The authority that has signed the server's certificate, which is for `localhost`. */
export const CA_FILE = join(certificates, "ca.pem");

/** What a server was asked. */
export interface Received {
  /** `GET /path?query`. */
  readonly line: string;
  readonly fields: IncomingMessage["headers"];
  /** The client's port: the same one for the same connection. */
  readonly from: number | undefined;
}

export class Servers {
  /** In the order of their arrival, both servers together. */
  readonly received: Received[] = [];
  readonly #servers: readonly Server[];
  readonly #hung: ((gone: void) => void)[] = [];

  private constructor(servers: readonly Server[]) {
    this.#servers = servers;
  }

  static async start(): Promise<Servers> {
    const held: { listener: RequestListener } = { listener: () => {} };
    const listener: RequestListener = (request, response) => held.listener(request, response);
    const plain = createServer(listener);
    const tls = createTlsServer({
      cert: readFileSync(join(certificates, "server.pem")),
      key: readFileSync(join(certificates, "server.key")),
    }, listener);
    const servers = new Servers([plain, tls]);
    held.listener = (request, response) => servers.#answer(request, response);
    for (const server of [plain, tls]) {
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    }
    return servers;
  }

  get httpPort(): number {
    return portOf(this.#servers[0]);
  }

  get httpsPort(): number {
    return portOf(this.#servers[1]);
  }

  /** When the next client of `/hang` has gone. */
  nextHungUp(): Promise<void> {
    return new Promise((resolve) => this.#hung.push(resolve));
  }

  async close(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { method, url = "", headers } = request;
    this.received.push({
      line: `${method} ${url}`,
      fields: headers,
      from: request.socket.remotePort,
    });
    const { pathname, searchParams } = new URL(url, "http://server");
    const n = Number(searchParams.get("n") ?? "0");
    switch (pathname) {
      case "/redirect":
        response.writeHead(302, { location: searchParams.get("to") ?? "" }).end();
        break;
      case "/fields":
        response.writeHead(200, { "x-long": "x".repeat(n) }).end();
        break;
      case "/mirror":
        response.writeHead(200, { "x-authorization": headers.authorization ?? "" }).end();
        break;
      case "/bytes":
        response.writeHead(200, { "content-length": n });
        void write(response, n);
        break;
      case "/chunks":
        response.writeHead(200);
        void write(response, n);
        break;
      case "/echo":
        response.writeHead(200);
        request.pipe(response);
        break;
      case "/hang":
        response.on("close", () => this.#hung.shift()?.());
        if (n > 0) response.writeHead(200, { "content-length": n }).write("begun");
        break;
      default: {
        const body: Uint8Array[] = [];
        request.on("data", (piece) => body.push(piece));
        request.on("end", () => {
          const text = Buffer.concat(body).toString();
          response.end(JSON.stringify({ line: `${method} ${url}`, fields: headers, text }));
        });
      }
    }
  }
}

function portOf(server: Server | undefined): number {
  return (server?.address() as AddressInfo).port;
}

async function write(response: ServerResponse, bytes: number): Promise<void> {
  const piece = new Uint8Array(64 * 1024).fill(120);
  for (let left = bytes; left > 0; left -= piece.length) {
    if (response.destroyed) return;
    if (!response.write(left < piece.length ? piece.subarray(0, left) : piece)) {
      await new Promise<void>((resolve) => {
        const goOn = () => {
          response.off("drain", goOn).off("close", goOn);
          resolve();
        };
        response.on("drain", goOn).on("close", goOn);
      });
    }
  }
  response.end();
}
