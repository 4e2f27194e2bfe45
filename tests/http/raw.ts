/**
 * HTTP/1.1 by hand: requests that no client library would send.
 *
 * Owns: a TCP connection and the text that goes over it. Must not know what the text means.
 */
import { connect } from "node:net";

export interface RawAnswer {
  /** Of the first response; null when the connection was closed without one. */
  readonly status: number | null;
  readonly text: string;
}

/** Sends a text, waits until the server closes the connection, gives what came back. */
export function rawExchange(port: number, text: string): Promise<RawAnswer> {
  return new Promise((resolve) => {
    let received = "";
    const socket = connect(port, "127.0.0.1");
    socket.on("data", (chunk) => received += chunk.toString("latin1"));
    // A reset after the response is the server's way to stop reading.
    socket.on("error", () => {});
    socket.on("close", () => {
      const status = /^HTTP\/1\.1 (\d{3})/.exec(received)?.[1];
      resolve({ status: status === undefined ? null : Number(status), text: received });
    });
    socket.write(text, "latin1");
  });
}

/** A request's text: start line, fields, body. The connection closes after the response. */
export function rawRequest(start: string, fields: readonly string[], body = ""): string {
  return [`${start} HTTP/1.1`, ...fields, "Connection: close", "", body].join("\r\n");
}
