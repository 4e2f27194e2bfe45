import { equal, match } from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { AtollError } from "./errors.ts";
import { deniedByDeno, refusalIn } from "./refusal.ts";

/** As Deno throws it; under Bun there is no such error. */
function refusal(message: string): Error {
  const error = new Error(message);
  error.name = "NotCapable";
  return error;
}

const NET = 'Requires net access to "127.0.0.1:1", run again with the --allow-net flag';

test("a refusal is found at any depth of causes, and a ring of causes ends", () => {
  const found = refusal(NET);
  equal(refusalIn(found), found);
  const wrapped = new AtollError("internal", "x", {}, { cause: new Error("y", { cause: found }) });
  equal(refusalIn(wrapped), found);
  const ring = new Error("a");
  ring.cause = ring;
  equal(refusalIn(ring), null);
  equal(refusalIn("text"), null);
});

test("a refusal becomes an error that names the permission", () => {
  equal(deniedByDeno(new Error("other")), null);
  const plain = deniedByDeno(refusal(NET));
  equal(plain?.code, "denied");
  equal(plain?.message, `Cannot go on: Deno did not grant --allow-net: ${NET}`);
  const internal = new AtollError("internal", NET, {}, { cause: refusal(NET) });
  match(deniedByDeno(internal, "Cannot open it")?.message ?? "", /^Cannot open it: Deno did not/);
});

test("what an error says already is kept", () => {
  const listen = new AtollError("io", `Cannot listen on 127.0.0.1:1: ${NET}`, { key: "port" }, {
    cause: refusal(NET),
  });
  const denied = deniedByDeno(listen);
  equal(denied?.message, listen.message);
  equal(denied?.code, "denied");
  equal(denied?.data.key, "port");
});

test("the wake socket's path is no name to grant", () => {
  const unix = 'Requires net access to "unix:/tmp/atoll-x/1", run again with the --allow-net flag';
  const { message = "" } = deniedByDeno(refusal(unix)) ?? {};
  match(message, /only --allow-net without addresses covers it/);
  equal(message.includes("/tmp"), false);
});
