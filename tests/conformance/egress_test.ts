/**
 * HTTP requests of plugins: what is granted goes out, all else is denied. The guest is the fixture
 * `egress`; the servers are real and on this host, so that each address is a private one.
 */
import assert from "node:assert/strict";
import type { HttpRule } from "../../src/core/grants.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { fixtureBytes } from "../fixtures/build.ts";
import { test } from "../harness.ts";
import {
  type Answer,
  bodyOf,
  DENIED,
  load,
  plain,
  tls,
  withGuest,
  withServers,
} from "./egress_guest.ts";
import { ENGINES, failure } from "./support.ts";

test("portable: rules for HTTP requests are refused by name", async () => {
  const portable = ENGINES.find((engine) => engine.kind === "portable");
  assert.ok(portable);
  const sandbox = await portable.open();
  try {
    const http: readonly HttpRule[] = [{ host: "api.example.com", path: "/v1/*" }];
    const secrets = { TOKEN: { value: "hidden", hosts: ["api.example.com"] } };
    const spec = {
      id: "egress",
      bytes: await fixtureBytes("egress"),
      limits: DEFAULT_LIMITS,
      grants: { env: {}, http, secrets },
    };
    const error = await failure("unsupported", () => sandbox.load(spec));
    assert.match(error.message, /http\.https:\/\/api\.example\.com\/v1\/\*, secrets\.TOKEN/);
    assert.ok(!error.message.includes("hidden"));
  } finally {
    await sandbox.close();
  }
});

if (ENGINES.some((engine) => engine.kind === "native")) {
  test("egress: a granted request goes out and its response comes back", () =>
    withServers((servers) =>
      withGuest({ http: [plain(servers), tls(servers)] }, async (guest) => {
        const { httpPort, httpsPort } = servers;
        const fields = [["x-kind", "test"]];
        const sent = { method: "POST", fields, body: "grüß dich" };
        const first = bodyOf(await guest.fetch(`http://LOCALHOST.:${httpPort}/a?b=c`, sent));
        assert.equal(first.line, "POST /a?b=c");
        assert.equal(first.fields["host"], `localhost:${httpPort}`);
        assert.equal(first.fields["x-kind"], "test");
        assert.match(JSON.stringify(first), /"text":"grüß dich"/);
        const second = bodyOf(await guest.fetch(`https://localhost:${httpsPort}/a/./b/../c`));
        assert.equal(second.line, "GET /a/c");
        assert.deepEqual(guest.told, []);
      }, servers)
    ));

  test("egress: what no rule allows is denied, and the grant that is told allows it", () =>
    withServers((servers) =>
      withGuest({}, async (guest, _, sandbox) => {
        const url = `http://localhost:${servers.httpPort}/v1/x?secret=1`;
        assert.equal(await guest.fetch(url), DENIED);
        assert.deepEqual(servers.received, []);
        const [account] = await guest.heard(1);
        assert.equal(account?.capability, "http");
        assert.equal(account.asked, `GET http://localhost:${servers.httpPort}/v1/x`);
        // The rule lets the request pass, then its address is looked at.
        const first = account.grant["http"] as readonly HttpRule[];
        const closer = await load(sandbox, { http: first });
        assert.equal(await closer.fetch(url), DENIED);
        const [close] = await closer.heard(1);
        assert.match(close?.asked ?? "", / at (127\.0\.0\.1|::1)$/);
        const second = close?.grant["http"] as readonly HttpRule[];
        const granted = await load(sandbox, { http: second, observe: true });
        assert.equal(bodyOf(await granted.fetch(url)).line, "GET /v1/x?secret=1");
        assert.deepEqual((await granted.heard(1)).map(({ allowed }) => allowed), [true]);
        assert.equal(await granted.fetch(url.replace("/x", "/y")), DENIED);
        assert.equal(await granted.fetch(url, { method: "POST" }), DENIED);
      }, servers)
    ));

  test("A13: private addresses are refused however they are written", () =>
    withServers((servers) =>
      withGuest({
        http: [
          { host: "*", scheme: "http", port: servers.httpPort },
          { host: "*", scheme: "http" },
        ],
      }, async (guest) => {
        const { httpPort } = servers;
        const invalid = "error: ErrorCode::HttpRequestUriInvalid";
        for (
          const [host, expected] of [
            ["localhost", DENIED],
            ["127.0.0.1", DENIED],
            ["[::1]", DENIED],
            ["[::ffff:127.0.0.1]", DENIED],
            ["[64:ff9b::7f00:1]", DENIED],
            ["[2002:7f00:1::]", DENIED],
            ["0.0.0.0", DENIED],
            ["[::]", DENIED],
            ["2130706433", invalid],
            ["0x7f000001", invalid],
            ["0177.0.0.1", invalid],
            ["127.1", invalid],
            ["user@localhost", invalid],
          ]
        ) assert.equal(await guest.fetch(`http://${host}:${httpPort}/`), expected, host);
        assert.equal(await guest.fetch("http://169.254.169.254/latest/meta-data/"), DENIED);
        assert.equal(await guest.fetch("http://[::ffff:a9fe:a9fe]/latest/meta-data/"), DENIED);
        assert.deepEqual(servers.received, []);
        // Of eight hosts and two addresses of that service.
        const told = await guest.heard(10);
        const grant = told.at(-2)?.grant;
        assert.deepEqual((grant?.["http"] as HttpRule[])[0]?.host, "169.254.169.254");
      }, servers)
    ));

  test("A13: each hop of a redirect is checked like the first", () =>
    withServers((servers) => {
      const { httpPort } = servers;
      const named = { host: "127.0.0.1", scheme: "http", port: httpPort } as const;
      const open = { host: "localhost", scheme: "http", port: httpPort } as const;
      const metadata = { host: "*", scheme: "http" } as const;
      return withGuest({ http: [named, open, metadata] }, async (guest) => {
        const start = `http://127.0.0.1:${httpPort}`;
        for (
          const next of [
            `http://localhost:${httpPort}/`,
            "http://169.254.169.254/latest/meta-data/",
            `http://[::ffff:127.0.0.1]:${httpPort}/`,
          ]
        ) {
          const first = `${start}/redirect?to=${encodeURIComponent(next)}`;
          const hops = await guest.run("follow", { url: first, most: 5 });
          assert.deepEqual(hops, [`${first} 302`, `${next} ErrorCode::HttpRequestDenied`]);
        }
        const allowed = `${start}/redirect?to=${encodeURIComponent(`${start}/end`)}`;
        const hops = await guest.run("follow", { url: allowed, most: 5 });
        assert.deepEqual(hops, [`${allowed} 302`, `${start}/end 200`]);
      }, servers);
    }));

  test("egress: no spelling of a path leaves the rule's folder", () =>
    withServers((servers) =>
      withGuest({ http: [plain(servers, { path: "/v1/*" })] }, async (guest) => {
        const base = `http://localhost:${servers.httpPort}`;
        for (
          const path of [
            "/v1/../admin",
            "/v1/%2e%2e/admin",
            "/v1/..%2fadmin",
            "/v1/%252e%252e/admin",
            "/v1/..;/admin",
            "/v1/..%5cadmin",
            "/admin",
          ]
        ) assert.equal(await guest.fetch(base + path), DENIED, path);
        assert.deepEqual(servers.received, []);
        assert.equal(bodyOf(await guest.fetch(`${base}/x/../v1/%61`)).line, "GET /v1/a");
      }, servers)
    ));

  test("egress: fields of the next hop, tunnels and other hosts' names are the host's own", () =>
    withServers((servers) =>
      withGuest({ http: [plain(servers)] }, async (guest) => {
        const url = `http://localhost:${servers.httpPort}/`;
        for (const name of ["host", "connection", "transfer-encoding", "upgrade", "keep-alive"]) {
          const fields = [[name, "evil.example"]];
          assert.equal(await guest.fetch(url, { fields }), "error: HeaderError::Forbidden", name);
        }
        const broken = [["x", "a\r\nhost: evil.example"]];
        const syntax = "error: HeaderError::InvalidSyntax";
        assert.equal(await guest.fetch(url, { fields: broken }), syntax);
        for (const method of ["CONNECT", "TRACE", "TRACK"]) {
          const refused = await guest.fetch(url, { method });
          assert.equal(refused, "error: ErrorCode::HttpRequestMethodInvalid", method);
        }
        const hop = [["te", "trailers"], ["expect", "100-continue"]];
        const sent = bodyOf(await guest.fetch(url, { fields: hop }));
        assert.deepEqual([sent.fields["te"], sent.fields["expect"]], [undefined, undefined]);
      }, servers)
    ));

  test("egress: a secret goes to the hosts it is bound to, and never into the guest", () =>
    withServers((servers) => {
      const value = "s3cr3t-of-the-operator";
      const secrets = {
        TOKEN: { value, hosts: ["localhost"] },
        OTHER: { value: "another", hosts: ["api.example.com"] },
      };
      const here = { host: "127.0.0.1", scheme: "http", port: servers.httpPort } as const;
      const http = [tls(servers), here];
      return withGuest({ http, secrets }, async (guest, _, sandbox) => {
        const environment = await guest.run("variables", {}) as [string, string][];
        assert.deepEqual(environment.map(([name]) => name).sort(), ["OTHER", "TOKEN"]);
        assert.ok(!JSON.stringify(environment).includes(value));
        const to = (url: string, variable: string) =>
          guest.run("authorized", { url, variable }) as Promise<Answer | string>;
        const secure = `https://localhost:${servers.httpsPort}/`;
        assert.equal(bodyOf(await to(secure, "TOKEN")).fields["authorization"], `Bearer ${value}`);
        // What a server sends back in a field is what the guest has sent.
        const token = environment.find(([name]) => name === "TOKEN")?.[1];
        const back = await to(`${secure}mirror`, "TOKEN");
        assert.ok(typeof back !== "string", String(back));
        const seen = back.fields.find(([name]) => name === "x-authorization")?.[1];
        assert.equal(seen, `Bearer ${token}`);
        // A host that may be asked is not one that the secret is for.
        const before = servers.received.length;
        const elsewhere = `http://127.0.0.1:${servers.httpPort}/`;
        assert.equal(await to(elsewhere, "TOKEN"), DENIED);
        assert.equal(await to(secure, "OTHER"), DENIED);
        assert.equal(servers.received.length, before);
        assert.deepEqual(
          (await guest.heard(2)).map(({ capability, asked, grant }) => [
            capability,
            asked,
            grant,
          ]),
          [
            ["secrets", "TOKEN to 127.0.0.1", { secrets: { TOKEN: { hosts: ["127.0.0.1"] } } }],
            ["secrets", "OTHER to localhost", { secrets: { OTHER: { hosts: ["localhost"] } } }],
          ],
        );
        assert.ok(!JSON.stringify([guest.told, guest.lines]).includes(value));
        // Another plugin that was told the placeholder sends it as it is.
        const stranger = await load(sandbox, { http, secrets: { OTHER: secrets.OTHER } });
        const stolen = await stranger.fetch(secure, { fields: [["authorization", token]] });
        assert.equal(bodyOf(stolen).fields["authorization"], token);
      }, servers);
    }));

  test("egress: without TLS a secret goes where the rule vouches for the network", () =>
    withServers((servers) => {
      const value = "s3cr3t-of-the-operator";
      const secrets = { TOKEN: { value, hosts: ["localhost", "127.0.0.1"] } };
      const here = { host: "127.0.0.1", scheme: "http", port: servers.httpPort } as const;
      return withGuest({ http: [plain(servers), here], secrets }, async (guest) => {
        const to = (host: string) =>
          guest.run("authorized", {
            url: `http://${host}:${servers.httpPort}/`,
            variable: "TOKEN",
          }) as Promise<Answer | string>;
        const sent = bodyOf(await to("localhost"));
        assert.equal(sent.fields["authorization"], `Bearer ${value}`);
        assert.equal(await to("127.0.0.1"), DENIED);
        assert.equal((await guest.heard(1))[0]?.asked, "TOKEN to 127.0.0.1 without TLS");
      }, servers);
    }));

  test("egress: a server whose certificate nobody vouches for is not spoken to", () =>
    withServers(async (servers) => {
      const secure = `https://localhost:${servers.httpsPort}/`;
      const refused = "error: ErrorCode::TlsCertificateError";
      await withGuest({ http: [tls(servers)], caFile: null }, async (guest) => {
        assert.equal(await guest.fetch(secure), refused);
      }, servers);
      const here = { host: "127.0.0.1", port: servers.httpsPort };
      await withGuest({ http: [here] }, async (guest) => {
        // It is signed, for another name.
        assert.equal(await guest.fetch(`https://127.0.0.1:${servers.httpsPort}/`), refused);
      }, servers);
      assert.deepEqual(servers.received, []);
    }));
}
