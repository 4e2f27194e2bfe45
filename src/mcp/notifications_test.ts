import assert from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { redactFromLogs } from "../telemetry/redaction.ts";
import { CallNotifications } from "./notifications.ts";

test("what a client is told of a call shows no secret", () => {
  redactFromLogs("TOKEN", "another-s3cr3t");
  const sent: string[] = [];
  const notifier = { waiting: 0, send: (text: string) => void sent.push(text) };
  const told = new CallNotifications(notifier, { level: "debug", token: 7 }, "p", 10_000);
  told.log({ stream: "stdout", level: "info", text: "got another-s3cr3t", lost: 0 });
  told.progress({ progress: 1, message: "at another-s3cr3t" });
  assert.deepEqual(sent.map((text) => JSON.parse(text).params), [
    { level: "info", logger: "p", data: "got [secret TOKEN]" },
    { progressToken: 7, progress: 1, message: "at [secret TOKEN]" },
  ]);
});
