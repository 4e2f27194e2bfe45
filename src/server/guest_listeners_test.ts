import { deepEqual } from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import type { GuestLog } from "../sandbox/sandbox.ts";
import { createLogger } from "../telemetry/log.ts";
import { writeGuestLine } from "./guest_listeners.ts";

test("a guest's line has its level, and says where it is from", () => {
  const lines: string[] = [];
  const write = (text: string) => void lines.push(text.trimEnd());
  const log = createLogger({ level: "debug", format: "text", write });
  const say = (line: Partial<GuestLog>) =>
    writeGuestLine(log, "p", { stream: "stdout", level: "info", text: "hi", lost: 0, ...line });
  say({});
  say({ stream: "stderr", level: "warn", text: "a\nb\x1b[2J", lost: 3, traceId: "ab" });
  say({ stream: "logging", level: "trace", context: "db query" });
  say({ stream: "logging", level: "debug" });
  say({ stream: "logging", level: "critical", context: "c" });
  deepEqual(lines, [
    "atoll: hi plugin=p stream=stdout",
    "atoll: warning: a\\nb\\x1b[2J plugin=p stream=stderr lost=3 traceId=ab",
    'atoll: debug: hi plugin=p stream=logging guestLevel=trace context="db query"',
    "atoll: debug: hi plugin=p stream=logging",
    "atoll: error: hi plugin=p stream=logging guestLevel=critical context=c",
  ]);
});
