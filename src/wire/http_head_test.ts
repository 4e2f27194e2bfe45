import assert from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { decodeResponseHead, encodeRequestHead } from "./http_head.ts";

const encoder = new TextEncoder();

test("a request's head comes back, its body behind it", () => {
  const head = {
    method: "POST",
    url: "http://localhost:8000/http/x/?q=1#f",
    fields: [["content-type", "text/plain; charset=utf-8"], ["X-Empty", ""], ["a", "b:c"]],
  } as const;
  const text = encodeRequestHead(head);
  assert.equal(
    text,
    "POST http://localhost:8000/http/x/?q=1#f\n" +
      "content-type:text/plain; charset=utf-8\nx-empty:\na:b:c\n\n",
  );
});

test("a response's head is read with and without fields", () => {
  for (const fields of [[], [["set-cookie", "a"], ["set-cookie", "b:c"]]] as [string, string][][]) {
    const text = `404\n${fields.map(([name, value]) => `${name}:${value}\n`).join("")}\n`;
    const read = decodeResponseHead(encoder.encode(`${text}\nbody\n\nmore`));
    assert.deepEqual(read, { status: 404, fields, bodyOffset: text.length });
  }
});

test("every byte that a field value may have crosses, 0x80 to 0xff too", () => {
  let value = "";
  for (let unit = 0; unit < 256; unit++) {
    if (unit !== 0 && unit !== 10 && unit !== 13) value += String.fromCharCode(unit);
  }
  const fields: [string, string][] = [["x", value]];
  const [, line] = encodeRequestHead({ method: "GET", url: "http://h/", fields }).split("\n");
  assert.deepEqual(decodeResponseHead(encoder.encode(`200\n${line}\n\n`)).fields, fields);
});

test("what could break out of its line is refused", () => {
  const request = { method: "GET", url: "http://h/", fields: [] };
  for (const method of ["", "GET ", "G\nT", "GÉT"]) {
    assert.throws(() => encodeRequestHead({ ...request, method }), { code: "invalid_argument" });
  }
  for (const url of ["http://h/\nx:y", "http://h/ x", "http://h/\0", "http://h/\r"]) {
    assert.throws(() => encodeRequestHead({ ...request, url }), { code: "invalid_argument" });
  }
  for (const field of [["a\nb", "c"], ["", "c"], ["a:b", "c"], ["a", "b\nc"], ["a", "b\rc"]]) {
    const fields = [field as [string, string]];
    assert.throws(() => encodeRequestHead({ ...request, fields }), { code: "invalid_argument" });
  }
  for (const value of ["\0", "€"]) {
    assert.throws(() => encodeRequestHead({ ...request, fields: [["a", value]] }), {
      code: "invalid_argument",
    });
  }
});

test("a head that is none is an internal error", () => {
  for (
    const text of [
      "",
      "200\n",
      "200",
      "abc\n\n",
      "20\n\n",
      "1000\n\n",
      "200.5\n\n",
      "200\nnocolon\n\n",
      "200\n:x\n\n",
    ]
  ) {
    assert.throws(() => decodeResponseHead(encoder.encode(text)), { code: "internal" }, text);
  }
});
