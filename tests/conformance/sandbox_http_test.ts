/**
 * What every engine does with a component's `wasi:http` handler.
 */
import assert from "node:assert/strict";
import { type AccessAccount, denialText } from "../../src/core/access.ts";
import { AtollError } from "../../src/core/errors.ts";
import type { SandboxRequest } from "../../src/sandbox/sandbox.ts";
import { test } from "../harness.ts";
import { Bench, ENGINES, failure, PATIENT, textOf, timeTo } from "./support.ts";

function request(path: string, more: Partial<SandboxRequest> = {}): SandboxRequest {
  return { method: "GET", url: `http://localhost:8080${path}`, fields: [], body: null, ...more };
}

const encoder = new TextEncoder();

const QUICK = { wallMs: 1_500, cpuMs: 300 };

/** Paths of `hostile-http` that end before an answer, and the limit that ends them. */
const HOSTILE = [
  ["/spin", "cpu"],
  ["/park", "wall"],
  ["/grow", "memory"],
  ["/fields-made", "resources"],
] as const;

for (const engine of ENGINES) {
  const bench = new Bench(engine);
  const check = (name: string, body: () => Promise<void>) => test(`${engine.kind}: ${name}`, body);

  check("HTTP: a handler answers with status, fields and body", async () => {
    const hello = await bench.fixture("hello-http");
    const response = await hello.handle(request("/"));
    assert.equal(response.status, 200);
    assert.equal((await textOf(response)).trim(), "hello");
    const type = response.fields.find(([name]) => name === "content-type");
    assert.match(type?.[1] ?? "", /^text\/plain/);
    const missing = await (await bench.fixture("hostile-http", PATIENT)).handle(
      request("/nowhere"),
    );
    assert.equal(missing.status, 404);
    assert.equal(await textOf(missing), "");
  });

  check("HTTP: a request of the guest's own is denied", async () => {
    const hostile = await bench.fixture("hostile-http", PATIENT);
    const response = await hostile.handle(request("/outgoing"));
    assert.equal(await textOf(response), "Some(ErrorCode::HttpRequestDenied)");
  });

  if (engine.kind === "native") {
    check("HTTP: who is told of accesses learns which grant would have allowed it", async () => {
      const told: AccessAccount[] = [];
      const { promise, resolve } = Promise.withResolvers<void>();
      const onAccess = (account: AccessAccount) => {
        told.push(account);
        resolve();
      };
      const hostile = await bench.load("hostile-http", PATIENT, { onAccess });
      await textOf(await hostile.handle(request("/outgoing")));
      await promise;
      await hostile.unload();
      assert.deepEqual(told, [{
        capability: "http",
        asked: "POST https://api.example.com:8443/v1",
        allowed: false,
        grant: {
          http: [{
            scheme: "https",
            host: "api.example.com",
            port: 8443,
            methods: ["POST"],
            path: "/v1",
          }],
        },
      }]);
      assert.equal(
        denialText("a", told[0]!),
        'plugin "a" was denied http (POST https://api.example.com:8443/v1); allowed by ' +
          '{"pluginSettings":{"a":{"grants":{"http":[{"scheme":"https",' +
          '"host":"api.example.com","port":8443,"methods":["POST"],"path":"/v1"}]}}}}',
      );
    });

    check("HTTP: a handler sees the granted environment, another one nothing", async () => {
      const env = { LANG: "de_DE", TOKEN: "t" };
      const granted = await bench.load("hostile-http", PATIENT, { grants: { env } });
      const shown = () => Promise.resolve(granted.handle(request("/environment"))).then(textOf);
      assert.equal(await shown(), "LANG=de_DE\nTOKEN=t\n");
      assert.equal(await shown(), "LANG=de_DE\nTOKEN=t\n");
      const other = await bench.fixture("hostile-http", PATIENT);
      assert.equal(await textOf(await other.handle(request("/environment"))), "");
      await granted.unload();
    });
  }

  check("HTTP: a request's body arrives, whole or streamed", async () => {
    const hello = await bench.fixture("hello-http");
    const whole = await hello.handle(
      request("/echo", { method: "POST", body: encoder.encode("grüß dich") }),
    );
    assert.equal(await textOf(whole), "grüß dich");
    const piece = encoder.encode("0123456789".repeat(10_000));
    let left = 20;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (left-- > 0) controller.enqueue(piece);
        else controller.close();
      },
    });
    const streamed = await hello.handle(request("/echo", { method: "POST", body }));
    assert.equal((await textOf(streamed)).length, 20 * piece.length);
  });

  check("HTTP: a body without end is read as far as one likes", async () => {
    const hostile = await bench.fixture("hostile-http", PATIENT);
    const { body } = await hostile.handle(request("/forever"));
    assert.ok(body instanceof ReadableStream);
    const reader = body.getReader();
    let bytes = 0;
    while (bytes < 1_000_000) bytes += (await reader.read()).value?.length ?? 0;
    await reader.cancel();
    assert.equal(await textOf(await hostile.handle(request("/ok"))), "ok");
  });

  check("HTTP: a slow body arrives while the guest runs", async () => {
    const hostile = await bench.fixture("hostile-http", PATIENT);
    assert.equal(
      await textOf(await hostile.handle(request("/slow-body?n=3"))),
      "slow\nslow\nslow\n",
    );
  });

  for (const [path, limit] of HOSTILE) {
    check(`A18: HTTP: ${path} ends at its limit of ${limit}`, async () => {
      const hostile = await bench.fixture("hostile-http", timeTo(limit));
      const { data, message } = await failure("limit", () => hostile.handle(request(path)));
      assert.equal(data.limit, limit, message);
      assert.equal(await textOf(await hostile.handle(request("/ok"))), "ok");
    });
  }

  check("A17: 40,000 header fields are the guest's error, the host lives", async () => {
    const hostile = await bench.fixture("hostile-http", PATIENT);
    for (const path of ["/fields?n=40000", "/big-header?n=1048576"]) {
      // Refused to the guest, which goes on without them, or the end of the call.
      const bytes = await Promise.resolve(hostile.handle(request(path))).then(
        ({ fields }) => fields.reduce((sum, [name, value]) => sum + name.length + value.length, 0),
        (thrown) => {
          assert.ok(thrown instanceof AtollError, String(thrown));
          assert.ok(["limit", "trap"].includes(thrown.code), thrown.message);
          assert.match(thrown.message, /field|data in one call of the host/);
          return 0;
        },
      );
      assert.ok(bytes <= 128 * 1024, `${bytes} bytes of fields`);
      assert.equal(await textOf(await hostile.handle(request("/ok"))), "ok");
    }
  });

  check("HTTP: an argument that is larger than any limit is not even copied", async () => {
    const hostile = await bench.load("hostile-http", { ...PATIENT, outputBytes: 1_000 });
    const large = request("/big-header?n=4194304");
    // One engine counts each call of the host by itself, the other all of them with the output.
    const { limit } = (await failure("limit", () => hostile.handle(large))).data;
    assert.equal(limit, hostile.engine === "native" ? "hostCall" : "output");
    assert.equal(await textOf(await hostile.handle(request("/ok"))), "ok");
    await hostile.unload();
  });

  check("HTTP: a guest that does not answer is an error", async () => {
    const hostile = await bench.fixture("hostile-http", PATIENT);
    for (const path of ["/trap", "/early"]) {
      await failure("trap", () => hostile.handle(request(path)));
    }
  });

  for (
    const [path, code] of [["/cut-body", "trap"], ["/stuck-body", "limit"], [
      "/spin-body",
      "limit",
    ], ["/empty-body", "limit"]] as const
  ) {
    check(`HTTP: ${path}: a body that breaks off is an error of its stream`, async () => {
      const hostile = await bench.fixture("hostile-http", QUICK);
      // What has not left the engine when the guest traps need not be sent at all.
      const { message } = await failure(code, async () => {
        return await textOf(await hostile.handle(request(path)));
      });
      if (code === "limit") assert.match(message, /limits\./);
      assert.equal(await textOf(await hostile.handle(request("/ok"))), "ok");
    });
  }

  check("HTTP: what a guest does after its answer cannot hold the answer back", async () => {
    const hostile = await bench.fixture("hostile-http", timeTo("cpu"));
    assert.equal(await textOf(await hostile.handle(request("/after-response"))), "answered");
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(100_000)),
    });
    const unread = await hostile.handle(request("/unread", { method: "POST", body }));
    assert.equal(await textOf(unread), "not read");
  });

  check("HTTP: a client that goes away ends the call", async () => {
    const hostile = await bench.fixture("hostile-http", PATIENT);
    const controller = new AbortController();
    const ended = failure("cancelled", () => {
      return hostile.handle(request("/park"), { signal: controller.signal });
    });
    setTimeout(() => controller.abort(), 30);
    await ended;
    await failure("deadline", () => hostile.handle(request("/park"), { budgetMs: 50 }));
    await bench.close();
  });
}
