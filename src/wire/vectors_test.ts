/** The frames of `tests/corpus/wire`, read by the codec in TypeScript. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { FAULT, LEVEL } from "../../ffi/abi.gen.ts";
import { test } from "../../tests/harness.ts";
import { FrameReader } from "./frame.ts";

const CORPUS = new URL("../../tests/corpus/wire/", import.meta.url);

interface Vector {
  readonly level: number;
  readonly remote: boolean;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly fault: string;
  /** What is read, in the words of the file. */
  readonly read: readonly string[];
}

function vector(text: string): Vector {
  let level = "";
  let remote = false;
  let hex = "";
  let fault = "none";
  const read: string[] = [];
  for (const line of text.split("\n")) {
    const [key = "", ...values] = line.split(" ");
    if (key === "" || key === "#") continue;
    if (key === "level") level = values[0]!;
    else if (key === "remote") remote = true;
    else if (key === "hex") hex += values[0] ?? "";
    else if (key === "fault") fault = values[0]!;
    else read.push(line);
  }
  const digits = hex.match(/../g) ?? [];
  return {
    level: LEVEL[level.toUpperCase() as keyof typeof LEVEL],
    remote,
    bytes: Uint8Array.from(digits, (pair) => parseInt(pair, 16)),
    fault,
    read,
  };
}

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** What a reader says, in the words of the files. */
function words(reader: FrameReader): string[] {
  const { trace, deadline } = reader;
  const lines = [
    `kind ${reader.kind}`,
    `flags ${reader.flags}`,
    `request_id ${reader.requestId}`,
    `target ${reader.target}`,
    `budget_us ${reader.budgetUs}`,
    `length ${reader.length}`,
  ];
  if (trace) lines.push(`trace ${hex(trace.traceId)} ${hex(trace.spanId)} ${trace.flags}`);
  if (deadline) lines.push(`deadline ${deadline.clock} ${deadline.atNs}`);
  for (let i = 0; i < reader.partsCount; i++) {
    const { segment, slot, offset, length } = reader.part(i);
    lines.push(`part ${segment} ${slot} ${offset} ${length}`);
  }
  lines.push(`payload ${hex(reader.payload)}`.trim());
  return lines;
}

const names = new Map(Object.entries(FAULT).map(([name, fault]) => [fault, name.toLowerCase()]));

test("A26: each frame of tests/corpus/wire is read, or refused for its reason", () => {
  const files = readdirSync(CORPUS).filter((name) => name.endsWith(".frame"));
  assert.ok(files.length >= 88);
  for (const file of files) {
    const { level, remote, bytes, fault, read } = vector(
      readFileSync(new URL(file, CORPUS), "utf8"),
    );
    const reader = new FrameReader(bytes.buffer);
    const found = reader.read(0, bytes.length, level, remote);
    assert.equal(names.get(found as 0), fault, file);
    if (fault === "none") assert.deepEqual(words(reader), read, file);
  }
});
