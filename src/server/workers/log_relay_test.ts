import assert from "node:assert/strict";
import { test } from "../../../tests/harness.ts";
import { lineWritten, LogSender } from "./log_relay.ts";

test("a worker drops lines that nobody writes, and says how many once there is room", () => {
  const shared = new SharedArrayBuffer(4);
  const sent: string[] = [];
  const sender = new LogSender(
    shared,
    (text) => sent.push(text),
    (lines) => sender.write(`${lines} lost\n`),
  );
  const line = `${"x".repeat(99_999)}\n`;
  for (let i = 0; i < 13; i++) sender.write(line);
  assert.equal(sent.length, 10, "ten of 100,000 are in a MiB, eleven are not");
  for (const text of sent) lineWritten(shared, text);
  sender.write("next\n");
  assert.deepEqual(sent.slice(10), ["3 lost\n", "next\n"]);
  for (const text of sent.slice(10)) lineWritten(shared, text);
  assert.equal(new Int32Array(shared)[0], 0);
});
