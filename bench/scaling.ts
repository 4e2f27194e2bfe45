/**
 * Does a second JavaScript worker answer as many requests again?
 *
 * Owns: the case `two-workers` of the benches over HTTP: the same server with two workers and with
 * one, both free to use two cores. Must not know which request it is.
 */
import { type ServeOptions, startServer } from "../tests/e2e/support.ts";
import type { Bench, Contender } from "./harness.ts";
import { type LoadRequest, type LoadShape, pinnedToTwo, requestsPerSecond } from "./http_load.ts";

export interface Scaling {
  /** How the server is started, but for its workers. */
  readonly server: ServeOptions;
  readonly request: LoadRequest;
  readonly shape: LoadShape;
  /** Throws when the server answers wrongly. */
  readonly check: (url: string) => Promise<unknown>;
}

/** Asks it. Each server rests while the other one is measured. */
export async function askScaling(bench: Bench, scaling: Scaling): Promise<void> {
  const { server, request, shape, check } = scaling;
  const servers: { stop(): Promise<unknown> }[] = [];
  const contender = async (name: string, workers: number): Promise<Contender> => {
    const started = await startServer({
      ...server,
      args: [...(server.args ?? []), "--workers", String(workers)],
      prefix: pinnedToTwo(),
    });
    servers.push(started);
    await check(started.url);
    const measure = () => requestsPerSecond(started.url, request, shape, bench.small, 2);
    return { name, measure };
  };
  try {
    await bench.ask({
      case: "two-workers",
      unit: "req/s",
      better: "higher",
      about: `on ${pinnedToTwo().length === 0 ? "all cores" : "two cores"}, a fresh instance each`,
      atoll: await contender("atoll", 2),
      peers: [await contender("one-worker", 1)],
    });
  } finally {
    for (const each of servers) await each.stop();
  }
}
