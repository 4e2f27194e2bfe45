/** Log lines: formats, levels, fields, and what a hostile text can do (nothing). */
import { deepEqual, equal } from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { AtollError } from "../core/errors.ts";
import { createLogger, type LogOptions } from "./log.ts";
import { redactAll } from "./redaction.ts";

function capture(options: LogOptions = {}) {
  const lines: string[] = [];
  const log = createLogger({
    colour: false,
    now: () => 0,
    write: (text) => void lines.push(text),
    ...options,
  });
  return { log, lines };
}

test("text lines have the level, the message and fields", () => {
  const { log, lines } = capture();
  log.info("listening on http://127.0.0.1:7420");
  log.child({ plugin: "text" }).warn("slow", { ms: 12, why: "two words", nothing: undefined });
  log.debug("not written");
  deepEqual(lines, [
    "atoll: listening on http://127.0.0.1:7420\n",
    'atoll: warning: slow plugin=text ms=12 why="two words"\n',
  ]);
});

test("JSON lines keep their own keys and show errors with causes", () => {
  const { log, lines } = capture({ format: "json", level: "debug" });
  const cause = new AtollError("io", "disk", { path: "x" });
  log.debug("m", { level: "fake", error: new AtollError("build", "no", {}, { cause }), n: 5n });
  deepEqual(JSON.parse(lines[0] ?? ""), {
    time: "1970-01-01T00:00:00.000Z",
    level: "debug",
    message: "m",
    level_: "fake",
    error: { code: "build", message: "no", cause: { code: "io", message: "disk", path: "x" } },
    n: "5",
  });
});

test("a text with line ends and escapes stays one harmless line", () => {
  for (const colour of [false, true]) {
    const { log, lines } = capture({ colour });
    const evil = "a\natoll: forged\x1b[2J\r\u202eb\u0085";
    log.info(evil, { ["k\n"]: evil });
    const line = (lines[0] ?? "").replaceAll("\x1b[0m", "").replaceAll("\x1b[2m", "");
    equal(lines.length, 1);
    equal(line.indexOf("\n"), line.length - 1);
    for (const char of ["\x1b", "\r", "\u202e", "\u0085"]) equal(line.includes(char), false);
  }
});

test("levels are compared, and silent is silent", () => {
  const quiet = capture({ level: "silent" });
  quiet.log.error("x");
  equal(quiet.lines.length, 0);
  equal(quiet.log.enabled("error"), false);
  const { log } = capture({ level: "warn" });
  deepEqual([log.enabled("debug"), log.enabled("info"), log.enabled("warn")], [
    false,
    false,
    true,
  ]);
});

test("a failing sink, a throwing getter and a cycle do not throw", () => {
  const broken = createLogger({
    write: () => {
      throw new Error("EPIPE");
    },
  });
  broken.info("x");
  const { log, lines } = capture({ format: "json" });
  const cycle: Record<string, unknown> = {};
  cycle["self"] = cycle;
  log.info("cycle", { cycle });
  log.info("getter", {
    get bad(): never {
      throw new Error("no");
    },
  });
  log.info("after");
  equal(JSON.parse(lines.at(-1) ?? "").message, "after");
});

test("lines of another isolate show no value that this one knows or was told of", () => {
  redactAll([["s3cr3t-of-another", "[secret TOKEN]"]]);
  const { log, lines } = capture({});
  log.relay("atoll: it said s3cr3t-of-another\n");
  log.info("and s3cr3t-of-another");
  deepEqual(lines, ["atoll: it said [secret TOKEN]\n", "atoll: and [secret TOKEN]\n"]);
});

test("a value that is a part of another one leaves nothing of that", () => {
  redactAll([["s3cr3t-part", "[secret PART]"], ["s3cr3t-part-whole", "[secret WHOLE]"]]);
  const { log, lines } = capture({});
  log.info("it said s3cr3t-part-whole, then s3cr3t-part");
  deepEqual(lines, ["atoll: it said [secret WHOLE], then [secret PART]\n"]);
});
