/** What is wanted against what is granted, and the grant that would give it. */
import { deepEqual } from "node:assert/strict";
import * as v from "valibot";
import { test } from "../../tests/harness.ts";
import { configSchema } from "../config/schema.ts";
import { grantNames, type Grants, NO_GRANTS } from "./grants.ts";
import { grantThatAllows, missingGrants, type Wants } from "./wants.ts";

const WANTS: Wants = {
  env: ["LANG"],
  keyvalue: ["notes"],
  folders: [{ at: "/read" }, { at: "/write", write: true }],
  tcp: [{ host: "db.example.com", port: 5432 }, { host: "127.0.0.1", port: 0, listen: true }],
  udp: [{ host: "10.0.0.1", port: [5, 6] }],
  clocks: { resolutionUs: 10 },
  random: { seed: 1 },
};

const missing = (grants: Partial<Grants>) =>
  missingGrants(WANTS, { ...NO_GRANTS, ...grants }).map(({ name }) => name);

const ALL = [
  "env.LANG",
  "keyvalue.notes",
  "folders./read",
  "folders./write (write)",
  "tcp.db.example.com:5432",
  "tcp.127.0.0.1:0 (listen)",
  "udp.10.0.0.1:5-6",
  "clocks.resolutionUs",
  "random.seed",
];

test("wants: each is missing until it is granted, and what is proposed grants it", () => {
  deepEqual(missing({}), ALL);
  const names: string[] = [];
  for (const wanted of missingGrants(WANTS, NO_GRANTS)) {
    const granting = grantThatAllows("a", wanted);
    const { pluginSettings } = v.parse(configSchema, granting);
    const grants = { ...NO_GRANTS, ...pluginSettings["a"]?.grants };
    deepEqual(missing(grants), ALL.filter((name) => name !== wanted.name));
    names.push(...grantNames(grants));
  }
  deepEqual(names, ALL);
});

test("wants: a grant covers what is less, and nothing that is more or other", () => {
  const without = (grants: Partial<Grants>) => {
    const still = missing(grants);
    return ALL.filter((name) => !still.includes(name));
  };
  const path = "/x";
  deepEqual(without({ folders: [{ path, at: "/read", write: true }] }), ["folders./read"]);
  deepEqual(without({ folders: [{ path, at: "/write" }] }), []);
  deepEqual(without({ tcp: [{ host: "*.Example.com", port: [1, 9999] }] }), [
    "tcp.db.example.com:5432",
  ]);
  deepEqual(without({ tcp: [{ host: "db.example.com", port: 5432, listen: true }] }), []);
  deepEqual(without({ tcp: [{ host: "xdb.example.com", port: 5432 }] }), []);
  deepEqual(without({ udp: [{ host: "10.0.0.1", port: [5, 5] }] }), []);
  deepEqual(without({ clocks: { resolutionUs: 11 } }), []);
  deepEqual(without({ clocks: { resolutionUs: 9 } }), ["clocks.resolutionUs"]);
  deepEqual(without({ random: { seed: 2 } }), ["random.seed"]);
});
