/** What accounts come to together, and the file they are written to. */
import { deepEqual, equal, throws } from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "../../tests/harness.ts";
import type { AccessAccount } from "../core/access.ts";
import { createLogger } from "../telemetry/log.ts";
import { LearnedPolicy, Learning } from "./learning.ts";

const account = (grant: AccessAccount["grant"], allowed = false): AccessAccount => ({
  capability: Object.keys(grant)[0] ?? "",
  asked: "something",
  allowed,
  grant,
});

test("a policy has what was denied and what was used, each once and as wide as both", () => {
  const policy = new LearnedPolicy();
  const note = (grant: AccessAccount["grant"], allowed?: boolean) =>
    policy.note("b", account(grant, allowed));
  equal(note({ folders: [{ path: "/d", at: "/d" }] }), true);
  equal(note({ folders: [{ path: "/d", at: "/d" }] }), false);
  equal(note({ folders: [{ path: "/d", at: "/d", write: true, bytes: 9 }] }), true);
  equal(note({ folders: [{ path: "/d", at: "/d", write: true, bytes: 5 }] }), false);
  equal(note({ folders: [{ path: "/d", at: "/d" }] }), false);
  note({ env: { A: "1" } }, true);
  note({ env: { B: "2" } });
  note({ tcp: [{ host: "a.org", port: 1 }] });
  note({ tcp: [{ port: 2, host: "a.org" }] });
  note({ http: [{ host: "a.org", methods: ["POST"], path: "/" }] });
  note({ http: [{ host: "a.org", methods: ["GET"], path: "/" }] });
  note({ keyvalue: ["notes"] });
  note({ keyvalue: ["notes", "more"] });
  policy.note("a", account({ random: { seed: 1 } }, true));
  deepEqual(JSON.parse(policy.text()), {
    pluginSettings: {
      a: { grants: { random: { seed: 1 } } },
      b: {
        grants: {
          folders: [{ path: "/d", at: "/d", write: true, bytes: 9 }],
          env: { A: "1", B: "2" },
          tcp: [{ host: "a.org", port: 1 }, { port: 2, host: "a.org" }],
          http: [{ host: "a.org", methods: ["GET", "POST"], path: "/" }],
          keyvalue: ["notes", "more"],
        },
      },
    },
  });
});

test("a guest that makes up addresses does not fill the policy", () => {
  const policy = new LearnedPolicy();
  for (let port = 1; port <= 300; port++) {
    policy.note("a", account({ udp: [{ host: "10.0.0.1", port }] }));
  }
  equal(JSON.parse(policy.text()).pluginSettings.a.grants.udp.length, 256);
});

test("the file is whole from the start to the stop, and the operator's alone", () => {
  const folder = mkdtempSync(join(tmpdir(), "atoll-learn-"));
  try {
    const log = createLogger({ level: "silent", format: "text" });
    const path = join(folder, "policy.json");
    const learning = new Learning(path, log);
    deepEqual(JSON.parse(readFileSync(path, "utf8")), { pluginSettings: {} });
    learning.note("a", account({ clocks: { resolutionUs: 1 } }));
    learning.stop();
    const { pluginSettings } = JSON.parse(readFileSync(path, "utf8"));
    deepEqual(pluginSettings, { a: { grants: { clocks: { resolutionUs: 1 } } } });
    equal(statSync(path).mode & 0o777, 0o600);
    deepEqual(readdirSync(folder), ["policy.json"]);
    throws(() => new Learning(join(folder, "none", "policy.json"), log), /Cannot write --learn "/);
    deepEqual(readdirSync(folder), ["policy.json"]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
