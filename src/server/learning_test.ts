/** What accounts come to together, and the file they are written to. */
import { deepEqual, equal, throws } from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "../../tests/harness.ts";
import type { AccessAccount } from "../core/access.ts";
import * as v from "valibot";
import { grantsSchema } from "../config/grants_schema.ts";
import { GRANT_MAXIMA } from "../core/grants.ts";
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
  const { grants } = JSON.parse(policy.text()).pluginSettings.a;
  equal(grants.udp.length, GRANT_MAXIMA.rules);
});

test("whatever guests make up, the policy is one that the configuration takes", () => {
  const policy = new LearnedPolicy();
  const note = (grant: AccessAccount["grant"]) => policy.note("a", account(grant));
  for (let i = 0; i < 100; i++) {
    note({ keyvalue: [`space-${i}`] });
    note({ folders: [{ path: `/d/${i}`, at: `/d/${i}` }] });
    note({ tcp: [{ host: "10.0.0.1", port: i + 1 }] });
    note({ http: [{ host: "a.org", methods: [`M${"A".repeat(i % 30)}`], path: "/" }] });
    note({ http: [{ host: `${i}.org`, path: `/${"p".repeat(500)}` }] });
    note({ secrets: { [`S${i}`]: { hosts: ["a.org"] } } });
    note({ secrets: { S0: { hosts: [`${i}.org`] } } });
  }
  const { grants } = JSON.parse(policy.text()).pluginSettings.a;
  const read = v.safeParse(grantsSchema, grants);
  deepEqual(read.issues, undefined);
  equal(grants.keyvalue.length, GRANT_MAXIMA.namespaces);
  equal(Object.keys(grants.secrets).length, GRANT_MAXIMA.secrets);
});

test("a secret is learned with all hosts it went to, a namespace with its quota", () => {
  const policy = new LearnedPolicy();
  const note = (grant: AccessAccount["grant"]) => policy.note("a", account(grant));
  equal(note({ secrets: { TOKEN: { hosts: ["a.org"] } } }), true);
  equal(note({ secrets: { TOKEN: { hosts: ["b.org"] } } }), true);
  equal(note({ secrets: { TOKEN: { hosts: ["a.org"] } } }), false);
  equal(note({ keyvalue: ["notes"] }), true);
  equal(note({ keyvalue: [{ name: "notes", bytes: 5, shared: true }] }), true);
  equal(note({ keyvalue: ["notes"] }), false);
  deepEqual(JSON.parse(policy.text()).pluginSettings.a.grants, {
    secrets: { TOKEN: { env: "TOKEN", hosts: ["a.org", "b.org"] } },
    keyvalue: [{ name: "notes", bytes: 5, shared: true }],
  });
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
