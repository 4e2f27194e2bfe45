/**
 * A component of WASI 0.3 on the native engine, and that the portable one says why it does not run it.
 */
import assert from "node:assert/strict";
import type { GuestLog, LoadedComponent, SandboxRequest } from "../../src/sandbox/sandbox.ts";
import { test } from "../harness.ts";
import { Bench, call, ENGINES, failure, ok, textOf } from "./support.ts";

const PATIENT = { wallMs: 40_000, cpuMs: 20_000 };

const encoder = new TextEncoder();

function request(path: string, more: Partial<SandboxRequest> = {}): SandboxRequest {
  return { method: "GET", url: `http://localhost:8080${path}`, fields: [], body: null, ...more };
}

/** A body of so many pieces, and how many of them were asked for. */
function pieces(count: number, piece: Uint8Array) {
  const taken = { count: 0 };
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (taken.count === count) return controller.close();
      taken.count++;
      controller.enqueue(piece);
    },
  }, { highWaterMark: 0 });
  return { body, taken };
}

async function lengthOf(body: ReadableStream<Uint8Array> | Uint8Array | null): Promise<number> {
  if (!(body instanceof ReadableStream)) return body?.length ?? 0;
  let length = 0;
  for await (const chunk of body) length += chunk.length;
  return length;
}

for (const engine of ENGINES) {
  const bench = new Bench(engine);
  const check = (name: string, body: () => Promise<void>) =>
    test(`${engine.kind}: WASI 0.3: ${name}`, body);

  if (engine.kind === "portable") {
    check("it is refused with what it needs", async () => {
      const { message } = await failure("component", () => bench.load("wasi3"));
      assert.match(message, /wasi:http\/types@0\.3\.0/);
      assert.match(message, /WASI 0\.3 takes the native engine/);
    });
    test(`${engine.kind}: WASI 0.3: the end`, () => bench.close());
    continue;
  }

  check("asynchronous functions are called like others", async () => {
    const wasi3 = await bench.fixture("wasi3", PATIENT);
    const greeting = { text: "Hello, Zoë!", length: 11 };
    assert.deepEqual(await ok(wasi3, "greet", { name: "Zoë", ms: 0 }), greeting);
    assert.deepEqual(await ok(wasi3, "greet", { name: "Zoë", ms: 30 }), greeting);
    const refused = await call(wasi3, "greet", { name: "", ms: 0 });
    assert.deepEqual([refused.kind, refused.json], ["error", '"nobody is there"']);
  });

  check("a function waits for many things at once, and its caller for many functions", async () => {
    const wasi3 = await bench.fixture("wasi3", PATIENT);
    // One after the other they wait for 50 seconds, longer than a call may last.
    const calls = Array.from(
      { length: 20 },
      () => ok(wasi3, "wait-together", { times: 50, ms: 1_000 }),
    );
    assert.deepEqual(await Promise.all(calls), Array.from({ length: 20 }, () => 50));
  });

  check("its limits are those of other functions", async () => {
    const few = await bench.fixture("wasi3", { ...PATIENT, resources: 20 });
    const { data } = await failure("limit", () => ok(few, "wait-together", { times: 50, ms: 1 }));
    assert.deepEqual([data.limit, data.value], ["resources", 20]);
    const short = await bench.fixture("wasi3", { wallMs: 100 });
    const late = await failure("limit", () => ok(short, "greet", { name: "A", ms: 10_000 }));
    assert.equal(late.data.limit, "wall");
  });

  check("output goes to the log, and the environment is what is granted", async () => {
    const lines: GuestLog[] = [];
    const env = { LANG: "cs_CZ" };
    const wasi3 = await bench.load("wasi3", PATIENT, {
      onLog: (line) => void lines.push(line),
      grants: { env },
    });
    await ok(wasi3, "note", { line: "written by 0.3" });
    assert.deepEqual(await ok(wasi3, "environment"), [["LANG", "cs_CZ"]]);
    // By then all lines have come.
    await wasi3.unload();
    assert.deepEqual(lines.map(({ stream, text }) => [stream, text]), [
      ["stdout", "written by 0.3"],
    ]);
  });

  check("HTTP: a handler answers, and trailers are dropped", async () => {
    const wasi3 = await bench.fixture("wasi3", PATIENT);
    assert.ok(wasi3.http);
    const hello = await wasi3.handle(request("/"));
    assert.equal(hello.status, 200);
    assert.deepEqual(hello.fields, [["content-type", "text/plain"]]);
    assert.equal(await textOf(hello), "hello from 0.3");
    assert.equal((await wasi3.handle(request("/nowhere"))).status, 404);
    assert.equal(await textOf(await wasi3.handle(request("/trailers"))), "body");
  });

  for (const path of ["/echo", "/pass"]) {
    check(`HTTP: ${path} gives a body back, whole and streamed`, async () => {
      const wasi3 = await bench.fixture("wasi3", PATIENT);
      const whole = request(path, { method: "POST", body: encoder.encode("grüß dich") });
      assert.equal(await textOf(await wasi3.handle(whole)), "grüß dich");
      const { body } = pieces(40, new Uint8Array(100_000));
      const streamed = await wasi3.handle(request(path, { method: "POST", body }));
      assert.equal(await lengthOf(streamed.body), 4_000_000);
    });
  }

  check("HTTP: a guest reads no faster than its client", async () => {
    const wasi3 = await bench.fixture("wasi3", PATIENT);
    const { body, taken } = pieces(1_000, new Uint8Array(64 * 1024));
    const response = await wasi3.handle(request("/echo", { method: "POST", body }));
    assert.ok(response.body instanceof ReadableStream);
    const reader = response.body.getReader();
    await reader.read();
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.ok(taken.count < 200, `${taken.count} pieces were taken`);
    await reader.cancel();
  });

  check("HTTP: 64 MB of a body take no more memory than the guest's own", async () => {
    const wasi3 = await bench.fixture("wasi3", { ...PATIENT, memoryBytes: 4 * 1024 * 1024 });
    const { body } = await wasi3.handle(request(`/stream?${64 * 1024 * 1024}`));
    assert.equal(await lengthOf(body), 64 * 1024 * 1024);
  });

  check("HTTP: what goes wrong is told, and the next request is served", async () => {
    const wasi3 = await bench.fixture("wasi3", PATIENT);
    const { message } = await failure("trap", () => wasi3.handle(request("/error")));
    assert.match(message, /on purpose/);
    const denied = await failure("trap", () => wasi3.handle(request("/send")));
    assert.match(denied.message, /HttpRequestDenied/);
    await failure("trap", async () => await lengthOf((await wasi3.handle(request("/cut"))).body));
    const { data } = await failure("limit", () => wasi3.handle(request("/fields")));
    assert.ok(data.limit === "fields" || data.limit === "resources", String(data.limit));
    await served(wasi3);
  });

  check("HTTP: a client that goes away ends the request", async () => {
    const wasi3 = await bench.fixture("wasi3", PATIENT);
    const { body } = await wasi3.handle(request(`/stream?${1024 * 1024 * 1024}`));
    assert.ok(body instanceof ReadableStream);
    const reader = body.getReader();
    await reader.read();
    await reader.cancel();
    await served(wasi3);
  });

  test(`${engine.kind}: WASI 0.3: the end`, () => bench.close());
}

async function served(component: LoadedComponent): Promise<void> {
  assert.equal(await textOf(await component.handle(request("/"))), "hello from 0.3");
}
