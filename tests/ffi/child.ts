/**
 * A process of its own for `wake_test.ts` and `grant_test.ts`: does what its argument says.
 */
import process from "node:process";
import { Rig } from "./support.ts";

const job = process.argv[2];
const rig = await Rig.open();

if (job === "idle") {
  console.log("open");
} else if (job === "pending") {
  const hold = await rig.target("HOLD");
  const call = rig.client.callJson(hold, "{}");
  console.log("waiting");
  // The release comes while only the call keeps the process alive.
  const release = setTimeout(() => void rig.release(1), 300);
  if (typeof release === "object") release.unref();
  await call;
  console.log("replied");
} else if (job === "exit") {
  const hold = await rig.target("HOLD");
  const pend = await rig.target("PEND");
  for (let i = 0; i < 20; i++) void rig.client.callJson(hold, "{}");
  for (let i = 0; i < 200; i++) void rig.client.callJson(pend, "{}");
  process.exit(7);
} else if (job === "listener") {
  process.on("uncaughtException", (error) => console.log(`caught ${error.message}`));
  const logs = await rig.target("LOGS");
  const pend = await rig.target("PEND");
  const echo = await rig.target("ECHO");
  const owner = rig.client.addLog(() => {
    rig.client.callJson(echo, "{}");
    throw new Error("broken listener");
  });
  rig.client.callBytes(logs, new TextEncoder().encode("1"), { owner });
  await rig.client.callJson(pend, "{}");
  console.log("replied");
  await new Promise((resolve) => setTimeout(resolve, 50));
  await rig.close();
}
