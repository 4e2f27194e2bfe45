/**
 * A process of its own for `grant_test.ts`: one call of each kind with the permissions it has.
 */
import process from "node:process";
import { Rig, textOf, utf8 } from "./support.ts";

const [core, engine] = process.argv.slice(2);
const rig = await Rig.open({ core: core!, engine: engine! });
const lines: string[] = [];
const owner = rig.client.addLog((_, text) => lines.push(text));
const inline = await rig.client.callJson(await rig.target("ECHO"), '{"a":"é€😀"}');
const waited = await rig.client.callBytes(await rig.target("PEND"), utf8("later"));
const large = await rig.client.callJson(await rig.target("GROW"), "3000000");
rig.client.callBytes(await rig.target("LOGS"), utf8("1"), { owner });
const { body } = await rig.client.http(await rig.target("STREAM"), {
  head: "POST http://localhost/\n\n",
  body: new Uint8Array(200_000),
});
let streamed = 0;
for await (const chunk of body!) streamed += chunk.length;
const { mapped } = rig.client;
await rig.close();
console.log(JSON.stringify({
  mapped,
  inline: inline.text,
  waited: textOf(waited),
  large: large.text.length,
  streamed,
  log: lines[0],
}));
