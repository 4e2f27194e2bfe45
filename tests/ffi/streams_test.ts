import assert from "node:assert/strict";
import { CHUNK_BYTES_MAX, STATUS, STREAM_WINDOW } from "../../ffi/abi.gen.ts";
import { test, until } from "../harness.ts";
import { type Rig, utf8, withRig } from "./support.ts";

const HEAD = "POST http://localhost/ HTTP\n\n";

/** A stream of `count` chunks that says how many were asked for. */
function counted(count: number, size: number): {
  stream: ReadableStream<Uint8Array>;
  pulled(): number;
  cancelled(): boolean;
} {
  let pulled = 0;
  let cancelled = false;
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (pulled === count) return controller.close();
      controller.enqueue(new Uint8Array(size).fill(pulled++));
    },
    cancel() {
      cancelled = true;
    },
  }, { highWaterMark: 0 });
  return { stream, pulled: () => pulled, cancelled: () => cancelled };
}

async function bytesOf(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(
    await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>)
      .arrayBuffer(),
  );
}

for (const mapped of [true, false]) {
  const way = mapped ? "mapped" : "copied";

  test(`a streamed body goes to the engine and comes back (${way})`, async () => {
    await withRig(async (rig) => {
      const target = await rig.target("STREAM");
      // Chunks of every kind: small, empty, a window full, larger than a frame.
      const sizes = [1, 0, 4_064, 4_065, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1, 300_000, 7];
      const parts = sizes.map((size, i) => new Uint8Array(size).fill(i + 1));
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          for (const part of parts) controller.enqueue(part);
          controller.close();
        },
      });
      const reply = await rig.client.http(target, { head: HEAD, body });
      assert.equal(reply.status, STATUS.OK);
      assert.equal(
        new TextDecoder().decode(reply.first),
        "200\ncontent-type:text/plain\n\n",
      );
      const expected = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
      let at = 0;
      for (const part of parts) {
        expected.set(part, at);
        at += part.length;
      }
      assert.deepEqual(await bytesOf(reply.body!), expected);
      await until(() => rig.client.inFlight === 0);
      assert.equal(rig.client.stats().extentsUsed, 0);
    }, { mapped });
  });

  test(`a large array is sent as a stream (${way})`, async () => {
    await withRig(async (rig) => {
      const target = await rig.target("STREAM");
      const body = new Uint8Array(1_000_000).map((_, i) => i * 7);
      const reply = await rig.client.http(target, { head: HEAD, body });
      assert.deepEqual(await bytesOf(reply.body!), body);
      await until(() => rig.client.inFlight === 0);
    }, { mapped });
  });

  test(`a reader that is slow holds the guest back (${way})`, async () => {
    await withRig(async (rig) => {
      const target = await rig.target("WRITER");
      const head = "40";
      const reply = await rig.client.http(target, { head, body: null });
      const reader = reply.body!.getReader();
      for (let i = 0; i < 40; i++) {
        // Long enough for the writer to run ahead, if it could.
        if (i < 5) await new Promise((resolve) => setTimeout(resolve, 10));
        const used = rig.client.stats().slotsUsed[5]!;
        assert.ok(used <= STREAM_WINDOW + 1, `${used} chunks wait`);
        const { value } = await reader.read();
        assert.equal(value?.length, CHUNK_BYTES_MAX);
        assert.ok(value?.every((byte) => byte === i), `chunk ${i}`);
      }
      assert.equal((await reader.read()).done, true);
      await until(() => rig.client.inFlight === 0);
    }, { mapped });
  });
}

test("a guest that takes nothing holds the source back", async () => {
  await withRig(async (rig) => {
    const target = await rig.target("STREAM");
    const source = counted(100, CHUNK_BYTES_MAX);
    const reply = await rig.client.http(target, { head: HEAD, body: source.stream });
    // Nobody reads the response: the guest is stuck with its window, and so is the source.
    await new Promise((resolve) => setTimeout(resolve, 50));
    const seen = source.pulled();
    assert.ok(seen <= 4 * STREAM_WINDOW, `${seen} chunks were taken from the source`);
    assert.equal((await bytesOf(reply.body!)).length, 100 * CHUNK_BYTES_MAX);
    assert.equal(source.pulled(), 100);
    await until(() => rig.client.inFlight === 0);
  });
});

test("a reader that goes away ends the call and lets go of the source", async () => {
  await withRig(async (rig) => {
    const source = counted(1_000, 1_000);
    const target = await rig.target("STREAM");
    const reply = await rig.client.http(target, { head: HEAD, body: source.stream });
    const reader = reply.body!.getReader();
    await reader.read();
    await reader.cancel();
    await until(() => rig.client.inFlight === 0);
    await until(source.cancelled);
  });
});

test("a source that breaks cancels the call; the reader sees an error, not an end", async () => {
  await withRig(async (rig) => {
    let pulls = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (pulls++ < 3) controller.enqueue(utf8("part"));
        else controller.error(new Error("the client went away"));
      },
    });
    const target = await rig.target("STREAM");
    const reply = await rig.client.http(target, { head: HEAD, body });
    await assert.rejects(bytesOf(reply.body!), { code: "cancelled" });
    await until(() => rig.client.inFlight === 0);
  });
});

test("a source of something else than bytes cancels the call and is let go of", async () => {
  await withRig(async (rig) => {
    const target = await rig.target("STREAM");
    for (const chunk of [new ArrayBuffer(8), "text"]) {
      let letGo = false;
      const body = new ReadableStream({
        pull: (controller) => controller.enqueue(chunk),
        cancel: () => void (letGo = true),
      });
      const reply = await rig.client.http(target, { head: HEAD, body });
      await assert.rejects(bytesOf(reply.body!), { code: "cancelled" });
      await until(() => letGo);
      await until(() => rig.client.inFlight === 0);
    }
  });
});

test("a source that somebody else reads is refused and its call ended", async () => {
  await withRig(async (rig) => {
    const target = await rig.target("DEAF");
    const body = counted(1, 1).stream;
    body.getReader();
    assert.throws(() => rig.client.http(target, { head: HEAD, body }), TypeError);
    await until(() => rig.client.inFlight === 0);
  });
});

test("an abort ends a streamed call; before the head it is the reply's status", async () => {
  await withRig(async (rig) => {
    const stop = new AbortController();
    const target = await rig.target("STREAM");
    const endless = new ReadableStream<Uint8Array>({
      pull: () => new Promise((resolve) => setTimeout(resolve, 1_000)),
    });
    const reply = await rig.client.http(target, { head: HEAD, body: endless }, {
      signal: stop.signal,
    });
    stop.abort();
    await assert.rejects(bytesOf(reply.body!), { code: "cancelled" });

    const deaf = await rig.target("DEAF");
    const source = counted(Infinity, 10);
    const waiting = rig.client.http(deaf, { head: HEAD, body: source.stream }, {
      signal: AbortSignal.timeout(20),
    });
    assert.equal((await waiting).status, STATUS.CANCELLED);
    await until(source.cancelled);
  });
});

test("an error after the head reaches the reader when what came before is refused", async () => {
  await withRig(async (rig) => {
    const target = await rig.target("WRITER");
    const stop = new AbortController();
    const reply = await rig.client.http(target, { head: "1000", body: null }, {
      signal: stop.signal,
    });
    const reader = reply.body!.getReader();
    await reader.read();
    stop.abort();
    const rest = async (): Promise<void> => {
      while (!(await reader.read()).done);
    };
    await assert.rejects(rest(), { name: "NativeError" });
    await slotsBack(rig);
  });
});

test("streams leave no slot behind", async () => {
  await withRig(async (rig) => {
    const target = await rig.target("STREAM");
    for (let round = 0; round < 50; round++) {
      const source = counted(5, 10_000);
      const reply = await rig.client.http(target, { head: HEAD, body: source.stream });
      if (round % 2 === 0) await bytesOf(reply.body!);
      else await reply.body!.cancel();
    }
    await until(() => rig.client.inFlight === 0);
    await slotsBack(rig);
  });
});

/** All 64 KiB slots are free again; they are never kept for later. */
async function slotsBack(rig: Rig): Promise<void> {
  await until(() => rig.client.inFlight === 0 && rig.client.stats().slotsUsed[5] === 0);
}
