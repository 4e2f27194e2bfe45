import assert from "node:assert/strict";
import { STATUS } from "../../ffi/abi.gen.ts";
import { test } from "../../tests/harness.ts";
import { DEFAULT_LIMITS } from "../core/limits.ts";
import { errorOfReply } from "./native_errors.ts";

test("a refused argument is named by its path first, then what is wrong with it", () => {
  const text = '{"message":"expected f64, got a string","path":"arguments.items[3].price",' +
    '"expected":"f64"}';
  const error = errorOfReply("shop", DEFAULT_LIMITS, {
    status: STATUS.INVALID_ARGUMENT,
    text,
    elapsedUs: 1,
  });
  assert.equal(error.code, "invalid_argument");
  assert.equal(error.message, "arguments.items[3].price: expected f64, got a string");
  assert.deepEqual(error.data, {
    path: "arguments.items[3].price",
    expected: "f64",
    plugin: "shop",
  });
});

test("a full engine is worth another try", () => {
  const reply = {
    status: STATUS.OVERLOADED,
    text: '{"message":"the queue is full"}',
    elapsedUs: 1,
  };
  const error = errorOfReply("shop", DEFAULT_LIMITS, reply);
  assert.equal(error.code, "overloaded");
  assert.equal(error.data.retryAfterSeconds, 1);
});

test("a call that came too soon names the rate, and when to come again", () => {
  const limits = { ...DEFAULT_LIMITS, requestsPerSecond: 7 };
  const reply = { status: STATUS.RATE_LIMITED, text: "", elapsedUs: 0 };
  const error = errorOfReply("shop", limits, reply);
  assert.equal(error.code, "rate_limited");
  assert.match(error.message, /7 calls a second \(limits\.requestsPerSecond\)/);
  assert.deepEqual(error.data, {
    limit: "rate",
    value: 7,
    key: "limits.requestsPerSecond",
    retryAfterSeconds: 1,
    plugin: "shop",
  });
});

test("the core's two bounds on calls are told apart", () => {
  const refused = (text: string) =>
    errorOfReply("shop", DEFAULT_LIMITS, { status: STATUS.OVERLOADED, text, elapsedUs: 0 });
  const queue = refused("Cannot submit: as many calls as allowed are running and waiting");
  assert.deepEqual([queue.code, queue.data.key, queue.data.value], [
    "overloaded",
    "limits.queue",
    DEFAULT_LIMITS.queue,
  ]);
  const calls = refused("Cannot submit: native.callsMax calls are in flight");
  assert.deepEqual([calls.code, calls.data.key], ["overloaded", "native.callsMax"]);
});
