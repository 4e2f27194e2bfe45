/** What the host keeps for a guest that builds requests and fields, counted. */
import assert from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { DEFAULT_LIMITS, type Limits } from "../core/limits.ts";
import { CallGuard, GuestEnded } from "./portable_guard.ts";
import type { Fields } from "./portable_http_fields.ts";
import { httpImports } from "./portable_http_types.ts";
import { SHARED_WORDS } from "./portable_protocol.ts";

interface Request extends Disposable {
  setMethod(method: { tag: string; val?: string }): void;
  setPathWithQuery(path: string | undefined): void;
  pathWithQuery(): string | undefined;
  setScheme(scheme: { tag: string; val?: string } | undefined): void;
  setAuthority(authority: string | undefined): void;
}

interface Types {
  readonly Fields: new () => Fields;
  readonly OutgoingRequest: new (fields: Fields) => Request;
}

function host(limits: Partial<Limits> = {}): { guard: CallGuard; types: Types } {
  const shared = new SharedArrayBuffer(SHARED_WORDS * 4);
  const guard = new CallGuard(1, { ...DEFAULT_LIMITS, ...limits }, 60_000, shared);
  return { guard, types: httpImports(guard)["wasi:http/types"] as unknown as Types };
}

/** Runs until the guard ends it; gives how often it ran. */
function timesUntilEnd(guard: CallGuard, limit: string, most: number, run: () => void): number {
  for (let times = 0; times < most; times++) {
    try {
      run();
    } catch (thrown) {
      if (!(thrown instanceof GuestEnded)) throw thrown;
      assert.deepEqual(guard.stopped, { kind: "limit", limit });
      return times;
    }
  }
  return assert.fail(`it was not ended within ${most} times`);
}

test("portable http: texts of outgoing requests are refused where too long or malformed", () => {
  const { types } = host({ fieldBytes: 1_000 });
  const request = new types.OutgoingRequest(new types.Fields());
  const long = "x".repeat(1_001);
  const refused = (run: () => void) => {
    try {
      run();
    } catch (thrown) {
      // The error side of `result`, which has no value.
      return assert.equal(thrown, undefined);
    }
    assert.fail("it was taken");
  };
  refused(() => request.setPathWithQuery(`/${long}`));
  refused(() => request.setPathWithQuery("/a b"));
  refused(() => request.setAuthority(long));
  refused(() => request.setAuthority("a\r\nb"));
  refused(() => request.setMethod({ tag: "other", val: long }));
  refused(() => request.setMethod({ tag: "other", val: "GET /" }));
  refused(() => request.setScheme({ tag: "other", val: long }));
  refused(() => request.setScheme({ tag: "other", val: "a:b" }));
  request.setMethod({ tag: "other", val: "PURGE" });
  request.setScheme({ tag: "other", val: "coap+tcp" });
  request.setAuthority("example.org:8080");
  request.setPathWithQuery("/a?b=ü");
  assert.equal(request.pathWithQuery(), "/a?b=ü");
  request.setPathWithQuery(undefined);
  assert.equal(request.pathWithQuery(), undefined);
});

test("portable http: what is kept for a guest counts as its memory", () => {
  const limits = {
    memoryBytes: 4 * 1024 * 1024,
    fieldBytes: 128 * 1024,
    resources: 100_000,
    cpuMs: 60_000,
  };
  const path = `/${"x".repeat(100_000)}`;
  const first = host(limits);
  const times = timesUntilEnd(first.guard, "memory", 1_000, () => {
    new first.types.OutgoingRequest(new first.types.Fields()).setPathWithQuery(path);
  });
  assert.ok(times >= 15 && times < 25, String(times));

  const second = host(limits);
  timesUntilEnd(second.guard, "memory", 1_000, () => {
    new second.types.Fields().append("x", new Uint8Array(100_000).fill(0x61));
  });

  // Names of a byte without a value are not free.
  const third = host(limits);
  timesUntilEnd(third.guard, "memory", 50_000, () => {
    const fields = new third.types.Fields();
    for (let i = 0; i < 1_000; i++) fields.append("x", new Uint8Array(0));
  });
});

test("portable http: what a guest lets go of or replaces is not kept", () => {
  const { guard, types } = host({ memoryBytes: 1024 * 1024, resources: 10, cpuMs: 60_000 });
  const path = `/${"x".repeat(100_000)}`;
  const kept = new types.OutgoingRequest(new types.Fields());
  const fields = new types.Fields();
  for (let i = 0; i < 100; i++) {
    kept.setPathWithQuery(path);
    fields.set("x", [new Uint8Array(100_000).fill(0x61)]);
    const request = new types.OutgoingRequest(new types.Fields());
    request.setPathWithQuery(path);
    request[Symbol.dispose]();
  }
  assert.equal(guard.stopped, null);
});
