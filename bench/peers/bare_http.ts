/**
 * A peer: the runtime's own HTTP server with nothing behind. It reads a body when there is one and
 * answers fixed bytes, so what it costs is what HTTP costs.
 *
 * Owns: one process of the benches. Arguments: the answer's text, its media type.
 */
import process from "node:process";
import { listen } from "../../src/server/listeners/listener.ts";

const [text = "hello", type = "text/plain"] = process.argv.slice(2);
const init = { headers: { "content-type": type } };

const listener = await listen({
  host: "127.0.0.1",
  port: 0,
  fetch: (request) =>
    request.body === null
      ? new Response(text, init)
      : request.text().then(() => new Response(text, init)),
  onError: (error) => new Response(String(error), { status: 500 }),
});
process.stderr.write(`listening on http://127.0.0.1:${listener.port}\n`);
