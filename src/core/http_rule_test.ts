import assert from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { coversRule, type HttpRule, ruleText } from "./http_rule.ts";

test("a rule has a text that names what it says", () => {
  const rules: readonly [rule: HttpRule, text: string][] = [
    [{ host: "api.example.com" }, "https://api.example.com"],
    [{ host: "*.example.com", port: 8443, path: "/v1/*" }, "https://*.example.com:8443/v1/*"],
    [{ host: "*", scheme: "http", methods: ["GET", "PUT"] }, "GET,PUT http://*"],
    [{ host: "[::1]", scheme: "http", port: 1, path: "/" }, "http://[::1]:1/"],
    [{ host: "a", methods: [] }, " https://a"],
  ];
  for (const [rule, text] of rules) assert.equal(ruleText(rule), text);
  assert.equal(ruleText({ host: "::1", port: 443 }), "https://[::1]");
});

test("a rule covers what asks for no more", () => {
  const wanted: HttpRule = { host: "a.example.com", methods: ["GET"], path: "/v1/x" };
  const yes: readonly HttpRule[] = [
    wanted,
    { host: "*" },
    { host: "*.example.com" },
    { host: "A.example.com", methods: ["POST", "GET"], path: "/v1/*", port: 443 },
  ];
  const no: readonly HttpRule[] = [
    { host: "*.a.example.com" },
    { host: "a.example.com", scheme: "http" },
    { host: "a.example.com", port: 444 },
    { host: "a.example.com", methods: ["POST"] },
    { host: "a.example.com", path: "/v2/*" },
    { host: "a.example.com", path: "/*/y" },
  ];
  for (const rule of yes) assert.ok(coversRule(rule, wanted), ruleText(rule));
  for (const rule of no) assert.ok(!coversRule(rule, wanted), ruleText(rule));
  assert.ok(!coversRule(wanted, { host: "a.example.com" }), "any method and path is more");
});
