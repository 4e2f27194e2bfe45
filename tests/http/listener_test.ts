/** The listener of the runtime: ports, errors, stopping. */
import assert from "node:assert/strict";
import { AtollError } from "../../src/core/errors.ts";
import { OriginGuard } from "../../src/http/origin.ts";
import {
  listen,
  type ListenOptions,
  reachableHost,
  refuseTaken,
} from "../../src/server/listeners/listener.ts";
import { test } from "../harness.ts";

const options = (fetch: ListenOptions["fetch"], port = 0): ListenOptions => ({
  host: "127.0.0.1",
  port,
  fetch,
  onError: () => new Response("caught", { status: 500 }),
});

test("a port that is taken is a clear error", async () => {
  const first = await listen(options(() => new Response("first")));
  await assert.rejects(
    listen(options(() => new Response("second"), first.port)),
    (error) =>
      error instanceof AtollError && error.code === "address_in_use" &&
      error.message.includes(`127.0.0.1:${first.port}`) && /--port/.test(error.message),
  );
  const answer = await fetch(`http://127.0.0.1:${first.port}/`);
  assert.equal(await answer.text(), "first");
  await first.stop(0);
});

test("listeners share a port that is theirs, and a port of others is refused before", async () => {
  const shared = { ...options(() => new Response("shared")), shared: true };
  const first = await listen(shared);
  const { port } = first;
  const second = await listen({ ...shared, port });
  assert.equal(second.port, port);
  const taken = (error: unknown) =>
    error instanceof AtollError && error.code === "address_in_use" &&
    error.message.includes(`127.0.0.1:${port}`);
  await assert.rejects(refuseTaken("127.0.0.1", port), taken);
  await assert.rejects(listen(options(() => new Response(), port)), taken);
  await first.stop(0);
  // The other one goes on.
  const answer = await fetch(`http://127.0.0.1:${port}/`);
  assert.equal(await answer.text(), "shared");
  await second.stop(0);
  await refuseTaken("127.0.0.1", port);
  await assert.rejects(
    refuseTaken("192.0.2.1", port),
    (error) => error instanceof AtollError && error.code === "io",
  );
});

test("an address that is not of this machine is an error", async () => {
  await assert.rejects(
    listen({ ...options(() => new Response()), host: "192.0.2.1" }),
    (error) => error instanceof AtollError && error.code === "io",
  );
});

test("a listener on every address tells one that can be asked, and that one is served", async () => {
  const guard = new OriginGuard({ host: "0.0.0.0", allowedHosts: [], allowedOrigins: [] });
  const answer = (request: Request) => new Response(guard.refusal(request, null));
  const listener = await listen({ ...options(answer), host: "0.0.0.0" });
  assert.equal(listener.host, "127.0.0.1");
  const response = await fetch(`http://${listener.host}:${listener.port}/`);
  assert.equal(await response.text(), "");
  await listener.stop(0);
  assert.equal(reachableHost("::"), "::1");
  assert.ok(guard.hostAllowed("[::1]:80"));
  assert.equal(reachableHost("192.0.2.7"), "192.0.2.7");
});

test("what the handler throws becomes the response of onError", async () => {
  const listener = await listen(options((request) => {
    if (request.url.endsWith("/later")) return Promise.reject(new Error("x"));
    throw new Error("x");
  }));
  for (const path of ["/now", "/later"]) {
    const answer = await fetch(`http://127.0.0.1:${listener.port}${path}`);
    assert.equal(answer.status, 500);
    assert.equal(await answer.text(), "caught");
  }
  await listener.stop(0);
});

test("A25: stopping refuses new connections and lets responses under way end", async () => {
  const started = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const listener = await listen(options(async () => {
    started.resolve();
    await release.promise;
    return new Response("whole");
  }));
  const url = `http://127.0.0.1:${listener.port}/`;
  const answer = fetch(url);
  await started.promise;
  const stopped = listener.stop(60_000);
  await assert.rejects(fetch(url));
  release.resolve();
  assert.equal(await (await answer).text(), "whole");
  await stopped;
});

/** A server that is answering for ever; `release` ends the handler after the test. */
async function stuck() {
  const started = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const listener = await listen(options(async () => {
    started.resolve();
    await released.promise;
    return new Response("late");
  }));
  const answer = fetch(`http://127.0.0.1:${listener.port}/`).then((response) => response.text());
  await started.promise;
  return { listener, answer, release: released.resolve };
}

test("A25: stopping ends after the grace time, whatever still goes on", async () => {
  const { listener, answer, release } = await stuck();
  // Bun has cut the connection, Deno leaves it to the end of the process.
  const ended = answer.then((text) => assert.equal(text, "late"), () => {});
  await listener.stop(20);
  release();
  await ended;
});

test("A25: stopping without grace cuts connections", async () => {
  const { listener, answer, release } = await stuck();
  const cut = assert.rejects(answer);
  await listener.stop(0);
  await cut;
  release();
});
