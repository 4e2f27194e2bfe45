import assert from "node:assert/strict";
import { STATUS } from "../../ffi/abi.gen.ts";
import { test } from "../../tests/harness.ts";
import { errorOfReply } from "./native_errors.ts";

test("a refused argument is named by its path first, then what is wrong with it", () => {
  const text = '{"message":"expected f64, got a string","path":"arguments.items[3].price",' +
    '"expected":"f64"}';
  const error = errorOfReply("shop", { status: STATUS.INVALID_ARGUMENT, text, elapsedUs: 1 });
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
  const error = errorOfReply("shop", reply);
  assert.equal(error.code, "overloaded");
  assert.equal(error.data.retryAfterSeconds, 1);
});
