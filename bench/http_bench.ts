/**
 * How many HTTP requests a second does one core answer from a `wasi:http` component, each in a fresh
 * sandbox?
 *
 * Owns: the question `http`. `GET /http/hello-http/` against `wasmtime serve` with the same
 * component, as it comes and tuned, and against the runtime's HTTP server alone; and what a second
 * worker adds on two cores.
 */
import { fileURLToPath } from "node:url";
import { type ServeOptions, startServer } from "../tests/e2e/support.ts";
import { fixture, fixtureFolder } from "../tests/fixtures/build.ts";
import { runScript } from "../tests/runtimes.ts";
import type { Bench, Contender } from "./harness.ts";
import {
  generatorName,
  type LoadRequest,
  pinnedTo,
  requestsPerSecond,
  startPeer,
} from "./http_load.ts";
import { wasmtimeProgram } from "./peers/install.ts";
import { askScaling } from "./scaling.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const get = (path: string): LoadRequest => ({ method: "GET", path, headers: {} });

/** What makes the biggest difference to `wasmtime serve` for a small component. */
const TUNED = [
  "pooling-allocator=y",
  "pooling-memory-keep-resident=262144",
  "pooling-table-keep-resident=65536",
  "pooling-pagemap-scan=y",
].join(",");

export async function run(bench: Bench): Promise<void> {
  const shape = bench.small ? { connections: 4, seconds: 0.2 } : { connections: 32, seconds: 3 };
  bench.header({
    request: "GET, hello by wasi:http, a Rust component",
    connections: shape.connections,
    generator: generatorName(bench.small),
    "server's core": pinnedTo(0).join(" ") || "not pinned",
    "wasmtime serve, tuned": `-O ${TUNED}`,
  });
  const server: ServeOptions = {
    runtime: bench.runtime,
    plugins: [fixtureFolder("hello-http")],
    args: ["--engine", bench.small ? "auto" : "native", "--log-level", "warn"],
    omit: ["RUST_BACKTRACE"],
  };
  const servers: { url: string; stop(): Promise<unknown> }[] = [];
  const peer = async (name: string, command: readonly string[], ready?: RegExp) => {
    const server = await startPeer(command, ready);
    servers.push(server);
    return await contender(name, server.url, "/");
  };
  try {
    const atoll = await startServer({
      ...server,
      routes: ["/http/hello-http/"],
      prefix: pinnedTo(0),
    });
    servers.push(atoll);
    const peers: Contender[] = [];
    if (!bench.small) {
      const wasmtime = wasmtimeProgram((text) => bench.note(text));
      const component = await fixture("hello-http");
      const serve = (...options: string[]) => [
        ...[wasmtime, "serve", "-S", "cli", "--addr", "127.0.0.1:0"],
        ...options,
        component,
      ];
      const ready = /Serving HTTP on (http:\/\/\S+)/;
      peers.push(await peer("wasmtime-serve", serve(), ready));
      peers.push(await peer("wasmtime-serve-tuned", serve("-O", TUNED), ready));
    }
    const script = here("./peers/bare_http.ts");
    peers.push(await peer("bare-http", runScript(bench.runtime, script)));
    await bench.ask({
      case: "hello",
      unit: "req/s",
      better: "higher",
      about: "a fresh instance a request",
      atoll: await contender("atoll", atoll.url, "/http/hello-http/"),
      peers,
    });
  } finally {
    for (const server of servers) await server.stop();
  }
  await askScaling(bench, {
    server: { ...server, routes: ["/http/hello-http/"] },
    request: get("/http/hello-http/"),
    shape,
    check: (url) => checked(`${url}/http/hello-http/`),
  });

  async function contender(name: string, url: string, path: string): Promise<Contender> {
    await checked(url + path);
    return { name, measure: () => requestsPerSecond(url, get(path), shape, bench.small) };
  }
}

/** One request before the load, so that a wrong answer is not taken for a fast one. */
async function checked(url: string): Promise<void> {
  const response = await fetch(url);
  const text = await response.text();
  if (response.status !== 200 || text !== "hello") {
    throw new Error(`${url} answered ${response.status}: ${text}`);
  }
}
