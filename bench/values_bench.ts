/**
 * What does it cost to bring values across the boundary?
 *
 * Owns: the cases bytes, answer, text, lists and records, each as the time above a call that brings
 * nothing, of an instance that is kept. The guest (`tests/fixtures/wat/values.wat`) does nothing with
 * what it gets. 64 KB cross in two copies, into the arena and into the guest's memory, so the peer of
 * bytes copies them twice; an answer's bytes are copied into JavaScript's own memory besides. Lists of
 * lists go as MessagePack and become one value a byte, records as JSON, whose peer makes the text and
 * reads it again.
 */
import { readFileSync } from "node:fs";
import { Engine, type Instance } from "../ffi/mod.ts";
import { buildNative, findNative } from "../native/build/build.ts";
import { fixture } from "../tests/fixtures/build.ts";
import { type Bench, type Contender, pin } from "./harness.ts";

const BYTES = 64 * 1024;
const LISTS = 64;
const RECORDS = 500;
const PROCESSOR = 0;
/** The clock of a runtime may be this coarse over a whole round: no difference is less. */
const LEAST_US = 0.001;

export async function run(bench: Bench): Promise<void> {
  const calls = bench.small ? 50 : 4_000;
  const engine = await Engine.open({ libraries: await findNative() ?? await buildNative() });
  try {
    const component = await engine.load(readFileSync(await fixture("values")), { id: "values" });
    const instance = await component.instantiate();
    bench.header({
      "calls a round": calls,
      payload: `${BYTES} bytes; ${LISTS} lists of ${BYTES / LISTS}; ${RECORDS} records`,
      pinned: `to processor ${PROCESSOR}`,
    });
    const bound = bench.small ? false : pin(PROCESSOR);
    if (!bench.small && !bound) bench.note("  taskset is missing: nothing is pinned");
    await askPlain(bench, instance, calls);
    await askStructured(bench, instance, Math.ceil(calls / 40));
    if (bound) pin(null);
  } finally {
    await engine.close();
  }
}

/** Values that cross as their own bytes. */
async function askPlain(bench: Bench, instance: Instance, calls: number): Promise<void> {
  const none = new Uint8Array(0);
  const payload = new Uint8Array(BYTES).fill(97);
  const bytes = (name: string, data: Uint8Array) => () => instance.callBytes(name, data);
  const copies = twoCopies(calls);
  const ask = (name: string, about: string, full: Call, empty: Call) =>
    bench.ask({
      case: name,
      unit: "us",
      better: "lower",
      about,
      atoll: above("atoll", calls, full, empty),
      peers: [copies],
    });
  const take = bytes("take-bytes", payload);
  await ask("bytes", "a list<u8> of 64 KB in", take, bytes("take-bytes", none));
  await ask("answer", "a list<u8> of 64 KB out", bytes("echo-bytes", payload), take);
  await ask("text", "a string of 64 KB in", bytes("take-text", payload), bytes("take-text", none));
}

/** Values that cross as a format. */
async function askStructured(bench: Bench, instance: Instance, calls: number): Promise<void> {
  const part = new Uint8Array(BYTES / LISTS).fill(97);
  const lists = Array.from({ length: LISTS }, () => part);
  await bench.ask({
    case: "lists",
    unit: "us",
    better: "lower",
    about: `a list<list<u8>> of ${LISTS} times ${part.length} bytes in`,
    atoll: above(
      "atoll",
      calls,
      () => instance.call("take-lists", { data: lists }),
      () => instance.call("take-lists", { data: [] }),
    ),
    peers: [twoCopies(calls * 10)],
  });
  const data = Array.from(
    { length: RECORDS },
    (_, i) => ({ name: `item ${i}`, count: i, price: i + 0.5 }),
  );
  await bench.ask({
    case: "records",
    unit: "us",
    better: "lower",
    about: `${RECORDS} records as JSON in`,
    atoll: above(
      "atoll",
      calls,
      () => instance.callJson("take-records", JSON.stringify({ data })),
      () => instance.callJson("take-records", JSON.stringify({ data: [] })),
    ),
    peers: [above(
      "text made and read",
      calls,
      () => JSON.parse(JSON.stringify({ data })),
      () => JSON.parse(JSON.stringify({ data: [] })),
    )],
  });
}

/** Something to be done; a call that does not end inline gives a promise. */
type Call = () => unknown;

/** Microseconds of one thing above another, both done in every round. */
function above(name: string, calls: number, full: Call, empty: Call): Contender {
  let warm = false;
  return {
    name,
    measure: async () => {
      if (!warm) await timed(calls, full);
      warm = true;
      const base = await timed(calls, empty);
      return Math.max(await timed(calls, full) - base, LEAST_US);
    },
  };
}

async function timed(calls: number, call: Call): Promise<number> {
  const begin = performance.now();
  for (let i = 0; i < calls; i++) {
    const pending = call();
    if (pending instanceof Promise) await pending;
  }
  return (performance.now() - begin) * 1000 / calls;
}

/** The same bytes from one buffer to the next and to a third. */
function twoCopies(calls: number): Contender {
  const [from, over, to] = [0, 1, 2].map((byte) => new Uint8Array(BYTES).fill(byte));
  return {
    name: "two copies",
    measure: () =>
      timed(calls, () => {
        over!.set(from!);
        to!.set(over!);
      }),
  };
}
