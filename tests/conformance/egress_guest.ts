/**
 * The fixture `egress`, loaded with rules into the native engine beside servers of its own.
 *
 * Must not know what is tested.
 */
import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildNative, findNative } from "../../native/build/build.ts";
import type { AccessAccount } from "../../src/core/access.ts";
import type { EngineGrants, HttpRule } from "../../src/core/grants.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/core/limits.ts";
import { openNativeSandbox } from "../../src/sandbox/native.ts";
import type { GuestLog, LoadedComponent, Sandbox } from "../../src/sandbox/sandbox.ts";
import { fixtureBytes } from "../fixtures/build.ts";
import { until } from "../harness.ts";
import { CA_FILE, Servers } from "./egress_servers.ts";
import { call, PATIENT } from "./support.ts";

const cacheDir = mkdtempSync(join(tmpdir(), "atoll-egress-"));

export interface Wishes {
  readonly http?: readonly HttpRule[];
  readonly secrets?: EngineGrants["secrets"];
  readonly limits?: Partial<Limits>;
  readonly observe?: boolean;
  /** Without the certificates' own authority. */
  readonly caFile?: null;
}

export interface Answer {
  readonly status: number;
  readonly fields: readonly (readonly [string, string])[];
  readonly body: string;
}

/** A loaded guest, and what was told of it. */
export class Guest {
  readonly told: AccessAccount[] = [];
  readonly lines: GuestLog[] = [];

  constructor(readonly component: LoadedComponent) {}

  /** So many accounts: those of a call that ends at once come after its answer. */
  async heard(count: number): Promise<readonly AccessAccount[]> {
    await until(() => this.told.length >= count);
    return this.told;
  }

  /** A function's result, or the words of its error after `error: `. */
  async run(name: string, args: unknown): Promise<unknown> {
    const { kind, json } = await call(this.component, name, args);
    const value = JSON.parse(json) as unknown;
    return kind === "ok" ? value : `error: ${value}`;
  }

  async fetch(url: string, more: Readonly<Record<string, unknown>> = {}): Promise<Answer | string> {
    const ask = { method: "GET", url, fields: [], ...more };
    return await this.run("fetch", { ask }) as Answer | string;
  }
}

export async function withGuest(
  wishes: Wishes,
  body: (guest: Guest, servers: Servers, sandbox: Sandbox) => Promise<void>,
  servers?: Servers,
): Promise<void> {
  const ours = servers ?? await Servers.start();
  const libraries = await findNative() ?? await buildNative(() => {});
  const sandbox = await openNativeSandbox({
    libraries,
    engine: {
      instances: 20,
      workerThreads: 2,
      ...(wishes.caFile === null ? {} : { caFile: CA_FILE }),
    },
    cacheDir,
  });
  try {
    await body(await load(sandbox, wishes), ours, sandbox);
  } finally {
    await sandbox.close();
    if (servers === undefined) await ours.close();
  }
}

export async function load(sandbox: Sandbox, wishes: Wishes): Promise<Guest> {
  const { http = [], secrets, limits, observe = false } = wishes;
  const listeners: { guest?: Guest } = {};
  const component = await sandbox.load({
    id: "egress",
    bytes: await fixtureBytes("egress"),
    limits: { ...DEFAULT_LIMITS, ...PATIENT, ...limits },
    grants: { env: {}, http, ...(secrets === undefined ? {} : { secrets }) },
    observe,
    onLog: (line) => listeners.guest?.lines.push(line),
    onAccess: (account) => listeners.guest?.told.push(account),
  });
  return listeners.guest = new Guest(component);
}

export const DENIED = "error: ErrorCode::HttpRequestDenied";

export function plain(servers: Servers, more: Partial<HttpRule> = {}): HttpRule {
  return { host: "localhost", scheme: "http", port: servers.httpPort, private: true, ...more };
}

export function tls(servers: Servers, more: Partial<HttpRule> = {}): HttpRule {
  return { host: "localhost", port: servers.httpsPort, private: true, ...more };
}

export function bodyOf(answer: Answer | string): { line: string; fields: Record<string, string> } {
  assert.ok(typeof answer !== "string", String(answer));
  return JSON.parse(answer.body);
}

export async function withServers(body: (servers: Servers) => Promise<void>): Promise<void> {
  const servers = await Servers.start();
  try {
    await body(servers);
  } finally {
    await servers.close();
  }
}
