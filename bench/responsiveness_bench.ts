/**
 * Bench `responsiveness`: how late the event loop's timers are while guests spin, and whether
 * another plugin still answers. Aim: p99 at most 5 ms with 100 spinning calls a second.
 *
 * Runs the native engine in this process, as `serve` does, because a delay can only be seen from
 * inside the loop that has it. The peer is the same loop with nothing to do.
 */
import { fixtureBytes } from "../tests/fixtures/build.ts";
import { DEFAULT_LIMITS } from "../src/core/limits.ts";
import { openNativeSandbox } from "../src/sandbox/native.ts";
import type { LoadedComponent, Sandbox } from "../src/sandbox/sandbox.ts";
import { buildNative, cacheFolder } from "../native/build/build.ts";
import { type Bench, percentile, type Sample } from "./harness.ts";

const SPINS_PER_SECOND = 100;
const SECONDS = 5;
const SECONDS_SMALL = 0.5;
const TICK_MS = 1;

export async function run(bench: Bench): Promise<void> {
  const seconds = bench.small ? SECONDS_SMALL : SECONDS;
  bench.header({ "spinning calls a second": SPINS_PER_SECOND, "seconds a round": seconds });
  const sandbox = await openNativeSandbox({
    libraries: await buildNative(),
    engine: { instances: 1000, workerThreads: 0 },
    cacheDir: cacheFolder(),
  });
  try {
    const guests = await loadGuests(sandbox);
    const seen = {
      ended: 0,
      cancelled: 0,
      overloaded: 0,
      other: new Map<string, number>(),
      answered: 0,
    };
    await bench.ask({
      case: "spinning",
      about: "lateness of a 1 ms timer, p99",
      unit: "ms",
      better: "lower",
      atoll: { name: "100 spins a second", measure: () => spinning(guests, seconds, seen) },
      peers: [{ name: "idle", measure: () => lateness(seconds) }],
    });
    const others = [...seen.other].map(([code, count]) => `${code} ${count}`).join(", ");
    bench.note(
      `  spins: ${seen.ended} ended at their limit, ${seen.cancelled} cancelled at the end of a round, ` +
        `${seen.overloaded} refused as overloaded` +
        `${others === "" ? "" : `, ${others}`}; other plugin: ${seen.answered} calls answered`,
    );
  } finally {
    await sandbox.close();
  }
}

interface Guests {
  readonly hostile: LoadedComponent;
  readonly spin: number;
  readonly text: LoadedComponent;
  readonly analyse: number;
}

interface Seen {
  ended: number;
  cancelled: number;
  overloaded: number;
  answered: number;
  readonly other: Map<string, number>;
}

async function loadGuests(sandbox: Sandbox): Promise<Guests> {
  const load = async (id: "hostile" | "text") =>
    await sandbox.load({ id, bytes: await fixtureBytes(id), limits: DEFAULT_LIMITS });
  const [hostile, text] = await Promise.all([load("hostile"), load("text")]);
  const index = (component: LoadedComponent, name: string) =>
    component.functions.findIndex((func) => func.name === name);
  return { hostile, spin: index(hostile, "spin"), text, analyse: index(text, "analyse") };
}

/** Lateness while guests spin; what still spins after a round is cancelled, so that rounds do not meet. */
async function spinning(guests: Guests, seconds: number, seen: Seen): Promise<Sample> {
  const running: Promise<void>[] = [];
  const over = new AbortController();
  const spin = async () => {
    try {
      await guests.hostile.call(guests.spin, "{}", { signal: over.signal });
    } catch (thrown) {
      const code = (thrown as { code?: string }).code ?? "unknown";
      if (code === "limit") seen.ended++;
      else if (code === "overloaded") seen.overloaded++;
      else if (code === "cancelled") seen.cancelled++;
      else seen.other.set(code, (seen.other.get(code) ?? 0) + 1);
    }
  };
  const timer = setInterval(() => {
    running.push(spin());
    running.push((async () => {
      await guests.text.call(guests.analyse, '{"input":"still here"}');
      seen.answered++;
    })());
  }, 1000 / SPINS_PER_SECOND);
  try {
    return await lateness(seconds);
  } finally {
    clearInterval(timer);
    over.abort();
    await Promise.all(running);
  }
}

/** How many milliseconds a timer of one millisecond comes too late, over some seconds. */
function lateness(seconds: number): Promise<Sample> {
  return new Promise((resolve) => {
    const late: number[] = [];
    const end = performance.now() + seconds * 1000;
    let due = performance.now() + TICK_MS;
    const tick = () => {
      const now = performance.now();
      late.push(Math.max(0, now - due));
      if (now >= end) {
        late.sort((a, b) => a - b);
        resolve({
          value: percentile(late, 0.99),
          percentiles: {
            p50: percentile(late, 0.5),
            p99: percentile(late, 0.99),
            max: late.at(-1) ?? 0,
          },
        });
        return;
      }
      due = performance.now() + TICK_MS;
      setTimeout(tick, TICK_MS);
    };
    setTimeout(tick, TICK_MS);
  });
}
