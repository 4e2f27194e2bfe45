/**
 * A worker isolate for `tickets_test.ts`: opens a client of its own and does what it is told.
 */
import { parentPort, workerData } from "node:worker_threads";
import { Rig } from "./support.ts";

const { core, engine, job } = workerData as { core: string; engine: string; job: string };
const rig = await Rig.open({ core, engine });
const say = (text: string): void => parentPort!.postMessage(text);

if (job === "hold") {
  const hold = await rig.target("HOLD");
  // Nobody waits for these: the isolate is ended.
  for (let i = 0; i < 50; i++) void rig.client.callJson(hold, "{}");
  say("50 in flight");
} else if (job === "busy") {
  const echo = await rig.target("ECHO");
  say("busy");
  // Turns of the event loop let the message out; most of the time is spent inside calls.
  while (true) {
    for (let i = 0; i < 1_000; i++) rig.client.callJson(echo, '{"busy":true}');
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
} else {
  const echo = await rig.target("ECHO");
  const pend = await rig.target("PEND");
  let right = 0;
  for (let i = 0; i < 10_000; i++) {
    const text = `{"i":${i}}`;
    const reply = i % 10 === 0
      ? await rig.client.callBytes(pend, new TextEncoder().encode(text))
      : await rig.client.callJson(echo, text);
    const got = reply.bytes ? new TextDecoder().decode(reply.bytes) : reply.text;
    if (got === text) right++;
  }
  await rig.close();
  say(`${right} right`);
}
