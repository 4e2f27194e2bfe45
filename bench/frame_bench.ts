/**
 * What does it cost to read a frame where it lies?
 *
 * Owns: the cases native, typescript and prefetch. Native: a frame with its header check, 64 of them in
 * turn, beside the same content as an archive of rkyv, validated by bytecheck (`checked`, which is what
 * a peer's bytes need) or trusted. TypeScript: header, trace context, deadline and a view of the
 * payload, beside msgpackr unpacking the same content with shared structures, its fastest way; both
 * sides then look at every field. Prefetch: frames in slots all over a large arena, and one word of
 * each call in the pool, with `__builtin_prefetch` and without.
 */
import { Packr } from "msgpackr";
import { FLAG, FRAME_BYTES, KIND, LEVEL } from "../ffi/abi.gen.ts";
import { deadlineExtension, traceExtension } from "../src/wire/extensions.ts";
import { FrameReader, writeHeader } from "../src/wire/frame.ts";
import { type Bench, type Contender, pin } from "./harness.ts";
import { byProgram, coreProgram, rustPeer } from "./native/programs.ts";

const PROCESSOR = 0;
const FRAMES = 64;
const SLOT_BYTES = 256;
const PAYLOAD_BYTES = 64;
const CLOCK_REALTIME = 2;

export async function run(bench: Bench): Promise<void> {
  const operations = bench.small ? 20_000 : 20_000_000;
  const reads = bench.small ? 5_000 : 1_000_000;
  bench.header({
    "frames a round": `${operations} native, ${reads} in TypeScript`,
    payload: `${PAYLOAD_BYTES} bytes`,
    pinned: `to processor ${PROCESSOR}`,
  });
  const program = coreProgram("frame");
  const place = bench.small ? {} : { processor: PROCESSOR };
  const native = (name: string, label: string): Contender =>
    byProgram(label, program, [name, String(operations)], place);
  const rkyv = (name: string): Contender =>
    byProgram(`rkyv ${name}`, rustPeer("frame"), [name, String(operations)], place);
  await bench.ask({
    case: "native",
    unit: "ns",
    better: "lower",
    about: "a frame read in place with its header check, in C",
    atoll: native("native", "atoll"),
    peers: bench.small ? [] : [rkyv("checked"), rkyv("trusted")],
  });
  const bound = bench.small ? false : pin(PROCESSOR);
  await bench.ask({
    case: "typescript",
    unit: "ns",
    better: "lower",
    about: "header, trace context, deadline and payload, as a view",
    atoll: inFrames(reads),
    peers: [unpacked(reads)],
  });
  if (bound) pin(null);
  await bench.ask({
    case: "prefetch",
    unit: "ns",
    better: "lower",
    about: "a batch of frames in slots all over the arena, 6 ahead",
    atoll: native("scattered-prefetch", "with prefetch"),
    peers: [native("scattered", "without")],
  });
  await bench.ask({
    case: "prefetch-pool",
    unit: "ns",
    better: "lower",
    about: "one word of each call in the pool, 16 ahead",
    atoll: native("pool-prefetch", "with prefetch"),
    peers: [native("pool", "left to the hardware")],
  });
}

const traceId = (i: number): Uint8Array => new Uint8Array(16).fill(i + 1);
const spanId = (i: number): Uint8Array => new Uint8Array(8).fill(i + 2);
const payload = (i: number): Uint8Array => new Uint8Array(PAYLOAD_BYTES).fill(i);
const atNs = (i: number): bigint => 1_800_000_000_000_000_000n + BigInt(i);

function inFrames(reads: number): Contender {
  const arena = new ArrayBuffer(FRAMES * SLOT_BYTES);
  const bytes = new Uint8Array(arena);
  for (let i = 0; i < FRAMES; i++) {
    const at = i * SLOT_BYTES;
    const extensions = [
      traceExtension(traceId(i), spanId(i), 1),
      deadlineExtension({ clock: CLOCK_REALTIME, atNs: atNs(i) }),
    ];
    let end = at + FRAME_BYTES;
    for (const one of extensions) {
      bytes.set(one, end);
      end += one.length;
    }
    bytes.set(payload(i), end);
    const header = new Uint32Array(arena, at, FRAME_BYTES / 4);
    const words = (end - at - FRAME_BYTES) / 8;
    writeHeader(header, KIND.CALL, FLAG.JSON, words, i, 7, i * 3, 1_000_000, PAYLOAD_BYTES);
  }
  const reader = new FrameReader(arena);
  return timed("atoll", reads, (i) => {
    if (reader.read((i % FRAMES) * SLOT_BYTES, SLOT_BYTES, LEVEL.STRUCTURE) !== 0) return NaN;
    if (!reader.traced) return NaN;
    const view = reader.payload;
    return reader.kind + reader.flags + reader.requestLow + reader.requestHigh + reader.target +
      reader.budgetUs + (reader.traceWord(0) & 0xff) + (reader.traceWord(5) >>> 24) +
      reader.traceFlags + reader.deadlineClock + reader.deadlineMs + view[0]! + view.length;
  });
}

interface Message {
  readonly kind: number;
  readonly flags: number;
  readonly requestLow: number;
  readonly requestHigh: number;
  readonly target: number;
  readonly budgetUs: number;
  readonly trace: { traceId: Uint8Array; spanId: Uint8Array; flags: number };
  readonly deadline: { clock: number; ms: number };
  readonly payload: Uint8Array;
}

function unpacked(reads: number): Contender {
  const packr = new Packr({ structures: [] });
  const packed = Array.from({ length: FRAMES }, (_, i): Uint8Array => {
    const message: Message = {
      kind: KIND.CALL,
      flags: FLAG.JSON,
      requestLow: i,
      requestHigh: 7,
      target: i * 3,
      budgetUs: 1_000_000,
      trace: { traceId: traceId(i), spanId: spanId(i), flags: 1 },
      deadline: { clock: CLOCK_REALTIME, ms: Number(atNs(i)) / 1e6 },
      payload: payload(i),
    };
    return new Uint8Array(packr.pack(message));
  });
  return timed("msgpackr", reads, (i) => {
    const head = packr.unpack(packed[i % FRAMES]!) as Message;
    const { trace, deadline, payload: view } = head;
    return head.kind + head.flags + head.requestLow + head.requestHigh + head.target +
      head.budgetUs + trace.traceId[0]! + trace.spanId[7]! + trace.flags + deadline.clock +
      deadline.ms + view[0]! + view.length;
  });
}

/** Nanoseconds a read; what is read is summed up, and must be a number. */
function timed(name: string, reads: number, read: (i: number) => number): Contender {
  const round = (): void => {
    let sum = 0;
    for (let i = 0; i < reads; i++) sum += read(i);
    if (!(sum > 0)) throw new Error(`${name} read something else`);
  };
  let warm = false;
  return {
    name,
    measure: () => {
      if (!warm) round();
      warm = true;
      const begin = performance.now();
      round();
      return (performance.now() - begin) * 1e6 / reads;
    },
  };
}
