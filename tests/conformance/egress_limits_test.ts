/**
 * HTTP requests of plugins: bodies, sizes, times and connections of those that are granted.
 */
import assert from "node:assert/strict";
import { test } from "../harness.ts";
import { type Guest, load, plain, tls, withGuest, withServers } from "./egress_guest.ts";
import { call, ENGINES, failure } from "./support.ts";

if (ENGINES.some((engine) => engine.kind === "native")) {
  test("egress: bodies stream both ways at once", () =>
    withServers((servers) =>
      withGuest({ http: [plain(servers), tls(servers)] }, async (guest) => {
        const bytes = 8 * 1024 * 1024;
        const plainUrl = `http://localhost:${servers.httpPort}`;
        const secure = `https://localhost:${servers.httpsPort}`;
        assert.equal(await guest.run("download", { url: `${plainUrl}/chunks?n=${bytes}` }), bytes);
        assert.equal(await guest.run("download", { url: `${secure}/bytes?n=${bytes}` }), bytes);
        assert.equal(await guest.run("upload", { url: `${plainUrl}/echo`, bytes }), bytes);
      }, servers)
    ));

  test("egress: what a call sends and receives is one budget, named when it is used up", () =>
    withServers((servers) =>
      withGuest({
        http: [plain(servers)],
        limits: { egressBytes: 300_000, connections: 3 },
      }, async ({ component }) => {
        const base = `http://localhost:${servers.httpPort}`;
        const run = (name: string, args: unknown) => call(component, name, args);
        const fits = await run("download", { url: `${base}/chunks?n=200000` });
        assert.equal(fits.json, "200000");
        const error = await failure("limit", () =>
          run("download", { url: `${base}/chunks?n=100000000` }));
        assert.deepEqual(
          [error.data["limit"], error.data["value"], error.data["key"]],
          ["egress", 300_000, "limits.egressBytes"],
        );
        const sent = await failure("limit", () =>
          run("upload", { url: `${base}/echo`, bytes: 100_000_000 }));
        assert.equal(sent.data["key"], "limits.egressBytes");
        const few = await run("at-once", { url: `${base}/chunks?n=100000`, count: 2 });
        assert.equal(few.json, "2");
        const many = await failure("limit", () =>
          run("at-once", { url: `${base}/hang?n=10`, count: 4 }));
        assert.deepEqual(
          [many.data["limit"], many.data["value"], many.data["key"]],
          ["connections", 3, "limits.connections"],
        );
      }, servers)
    ));

  test("egress: fields of responses count as those of the guest's own messages do", () =>
    withServers((servers) =>
      withGuest({ http: [plain(servers)], limits: { fieldBytes: 1_000 } }, async (guest) => {
        const url = `http://localhost:${servers.httpPort}/fields`;
        assert.notEqual(typeof await guest.fetch(`${url}?n=6000`), "string");
        const error = await failure("limit", () => guest.fetch(`${url}?n=9000`));
        assert.equal(error.data["key"], "limits.fieldBytes");
      }, servers)
    ));

  test("egress: a rule bounds the sizes and the times of its requests", () =>
    withServers((servers) =>
      withGuest({
        http: [
          plain(servers, { path: "/hang", timeoutMs: 200 }),
          plain(servers, { requestBytes: 10, responseBytes: 1_000 }),
        ],
      }, async (guest) => {
        const base = `http://localhost:${servers.httpPort}`;
        const body = "0123456789x";
        assert.match(
          String(await guest.fetch(`${base}/echo`, { method: "POST", body })),
          /HttpRequestBodySize\(Some\(10\)\)/,
        );
        for (const path of ["/bytes?n=1001", "/chunks?n=1001"]) {
          assert.match(
            String(await guest.fetch(base + path)),
            /HttpResponseBodySize\(Some\(1000\)\)/,
          );
        }
        const whole = await guest.fetch(`${base}/bytes?n=1000`);
        assert.ok(typeof whole !== "string" && whole.body.length === 1000, String(whole));
        const late = "error: ErrorCode::ConnectionReadTimeout";
        assert.equal(await guest.fetch(`${base}/hang`), late);
        assert.equal(await guest.fetch(`${base}/hang?n=10`), late);
      }, servers)
    ));

  test("egress: the guest's own times hold where they are shorter", () =>
    withServers((servers) =>
      withGuest({ http: [plain(servers)] }, async (guest) => {
        const base = `http://localhost:${servers.httpPort}`;
        const late = "error: ErrorCode::ConnectionReadTimeout";
        assert.equal(await guest.fetch(`${base}/hang`, { first_byte_ms: 50 }), late);
        assert.equal(await guest.fetch(`${base}/hang?n=10`, { between_bytes_ms: 50 }), late);
      }, servers)
    ));

  test("egress: a connection is used again by the plugin's next call, not by another plugin's", () =>
    withServers((servers) =>
      withGuest({ http: [plain(servers)] }, async (guest, _, sandbox) => {
        const url = `http://localhost:${servers.httpPort}/`;
        const ports = async (from: Guest, times: number) => {
          const before = servers.received.length;
          for (let time = 0; time < times; time++) {
            assert.notEqual(typeof await from.fetch(url), "string");
            // The connection is free a moment after its response was read.
            await new Promise((resolve) => setTimeout(resolve, 50));
          }
          return new Set(servers.received.slice(before).map(({ from }) => from));
        };
        const own = await ports(guest, 5);
        assert.ok(own.size < 5, "some were used again");
        const other = await ports(await load(sandbox, { http: [plain(servers)] }), 3);
        for (const port of other) assert.ok(!own.has(port));
      }, servers)
    ));

  test("egress: the end of a call is the end of its connections", () =>
    withServers((servers) =>
      withGuest({ http: [plain(servers)] }, async (guest) => {
        const base = `http://localhost:${servers.httpPort}`;
        for (const path of ["/hang", "/hang?n=10"]) {
          const gone = servers.nextHungUp();
          const cancel = new AbortController();
          const before = servers.received.length;
          const ask = { method: "GET", url: base + path, fields: [] };
          const cancelled = failure("cancelled", () =>
            call(guest.component, "fetch", { ask }, { signal: cancel.signal }));
          while (servers.received.length === before) {
            await new Promise((resolve) =>
              setTimeout(resolve, 5)
            );
          }
          cancel.abort();
          await cancelled;
          await gone;
        }
        const gone = servers.nextHungUp();
        assert.equal(await guest.run("leave", { url: `${base}/hang?n=10` }), 200);
        await gone;
      }, servers)
    ));
}
