import assert from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { OriginGuard, type OriginOptions } from "./origin.ts";

const guard = (options: Partial<OriginOptions> = {}) =>
  new OriginGuard({ host: "127.0.0.1", allowedHosts: [], allowedOrigins: [], ...options });

test("A2: loopback names are served, with and without a port", () => {
  for (const host of ["localhost", "localhost:1", "LOCALHOST:80", "127.0.0.1:8080", "[::1]:9"]) {
    assert.ok(guard().hostAllowed(host), host);
  }
});

test("A2: names that only look like loopback are refused", () => {
  const hosts = [
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example",
    "localhost@evil.example",
    "localhost:80@evil.example",
    "localhost:80:80",
    "localhost, evil.example",
    "localhost ",
    "local%68ost",
    "127.0.0.1/evil",
    "0.0.0.0",
    "[::1].evil.example",
    "[::2]",
    "",
    "localhost:999999",
  ];
  for (const host of hosts) assert.ok(!guard().hostAllowed(host), host);
});

test("A2: the address that is listened on and configured names are served", () => {
  assert.ok(guard({ host: "192.0.2.7" }).hostAllowed("192.0.2.7:80"));
  assert.ok(guard({ host: "2001:db8::1" }).hostAllowed("[2001:db8::1]:80"));
  assert.ok(!guard({ host: "0.0.0.0" }).hostAllowed("0.0.0.0:80"));
  const named = guard({ allowedHosts: ["Tools.example", "strict.example:8443"] });
  assert.ok(named.hostAllowed("tools.example:1"));
  assert.ok(named.hostAllowed("strict.example:8443"));
  assert.ok(!named.hostAllowed("strict.example:8444"));
  assert.ok(!named.hostAllowed("a.tools.example"));
  assert.ok(guard({ allowedHosts: ["*"] }).hostAllowed("any.example"));
});

test("A1: pages of foreign origins are refused, null too", () => {
  const origins = [
    "null",
    "https://evil.example",
    "http://localhost.evil.example",
    "http://localhost@evil.example",
    "file://",
    "chrome-extension://abc",
    "http://",
    "",
  ];
  for (const origin of origins) assert.ok(!guard().originAllowed(origin), origin);
});

test("A1: pages of loopback, of a served name and of an allowed origin may call", () => {
  const some = guard({ allowedHosts: ["tools.example"], allowedOrigins: ["https://app.example"] });
  const origins = [
    "http://localhost:5173",
    "http://127.0.0.1",
    "http://[::1]:3",
    "https://tools.example",
    "https://APP.example",
  ];
  for (const origin of origins) assert.ok(some.originAllowed(origin), origin);
  assert.ok(!some.originAllowed("http://app.example"));
  assert.ok(guard({ allowedOrigins: ["*"] }).originAllowed("null"));
});
