/**
 * The policy that an observed run needed: what plugins were denied, and what of their grants they
 * used.
 *
 * Owns: putting accounts together, and the file. It grants nothing: the file is for the operator to
 * review, and to copy into the configuration what is right.
 */
import { randomUUID } from "node:crypto";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import type { AccessAccount } from "../core/access.ts";
import { AtollError } from "../core/errors.ts";
import { GRANT_MAXIMA } from "../core/grants.ts";
import type { Logger } from "../telemetry/log.ts";

/** How often what is new is written, in milliseconds. */
const WRITE_MS = 2_000;

type Tree = Record<string, unknown>;

/** Accounts of all plugins put together. */
export class LearnedPolicy {
  readonly #plugins = new Map<string, Tree>();

  /**
   * Whether it says more than before. A guest can make up as much as it likes: what the
   * configuration would not take is left out.
   */
  note(plugin: string, account: AccessAccount): boolean {
    const known = this.#plugins.get(plugin) ?? {};
    let grants = known;
    for (const [capability, grant] of Object.entries(account.grant)) {
      const wider = union(capability, grants[capability], grant);
      if (wider !== grants[capability]) grants = { ...grants, [capability]: wider };
    }
    if (grants === known) return false;
    const bytes = Buffer.byteLength(JSON.stringify(grants));
    if (bytes > GRANT_MAXIMA.bytes) return false;
    this.#plugins.set(plugin, grants);
    return true;
  }

  /** As a configuration of its own: `pluginSettings` and nothing else. */
  text(): string {
    const sorted = [...this.#plugins].sort(([one], [other]) => one < other ? -1 : 1);
    const settings = sorted.map(([plugin, grants]) => [plugin, { grants }]);
    return `${JSON.stringify({ pluginSettings: Object.fromEntries(settings) }, null, 2)}\n`;
  }
}

/** Two grants of one capability as one that allows both; the known one if that is as wide. */
function union(capability: string, known: unknown, more: unknown): unknown {
  if (Array.isArray(more)) {
    const most = capability === "keyvalue" ? GRANT_MAXIMA.namespaces : GRANT_MAXIMA.rules;
    const rules: readonly unknown[] = Array.isArray(known) ? known : [];
    return more.reduce<readonly unknown[]>((all, rule) => withRule(all, rule, most), rules);
  }
  if (!isTree(more)) return more;
  const before = isTree(known) ? known : {};
  if (capability === "secrets") return withSecrets(before, more);
  return widened(before, more);
}

/** Rules of one place are one rule: the folder at a path, methods of one path of a host. */
function withRule(rules: readonly unknown[], rule: unknown, most: number): readonly unknown[] {
  const place = placeOf(rule);
  const index = rules.findIndex((known) => placeOf(known) === place);
  if (index < 0) return rules.length < most ? [...rules, rule] : rules;
  const known = rules[index];
  if (!isTree(rule)) return rules;
  // A namespace without its quota.
  if (!isTree(known)) return rules.with(index, rule);
  const wider = widened(known, { ...rule, ...widest(known, rule) });
  return wider === known ? rules : rules.with(index, wider);
}

/** The known one if it says the same. */
function widened(known: Tree, more: Tree): Tree {
  const says = ([name, value]: [string, unknown]) =>
    JSON.stringify(known[name]) === JSON.stringify(value);
  return Object.entries(more).every(says) ? known : { ...known, ...more };
}

/** Where a value is, an account does not know: a variable of the secret's name stands for it. */
function withSecrets(known: Tree, more: Tree): Tree {
  let secrets = known;
  for (const [name, secret] of Object.entries(more)) {
    const before = secrets[name];
    if (before === undefined && Object.keys(secrets).length >= GRANT_MAXIMA.secrets) continue;
    const hosts = all(before, secret, "hosts").slice(0, GRANT_MAXIMA.secretHosts);
    const wider = widened(isTree(before) ? before : {}, { env: name, hosts });
    if (wider !== before) secrets = { ...secrets, [name]: wider };
  }
  return secrets;
}

/** What tells rules apart: everything but how much each allows. */
function placeOf(rule: unknown): string {
  if (!isTree(rule)) return JSON.stringify(rule);
  // A namespace: there is one of a name.
  if (typeof rule["name"] === "string") return JSON.stringify(rule["name"]);
  const { methods: _methods, write: _write, bytes: _bytes, ...place } = rule;
  return JSON.stringify(Object.entries(place).sort(([one], [other]) => one < other ? -1 : 1));
}

function widest(one: Tree, other: Tree): Tree {
  const wide: Tree = {};
  if (one["write"] === true || other["write"] === true) wide["write"] = true;
  const bytes = [one["bytes"], other["bytes"]].filter((each) => typeof each === "number");
  if (bytes.length > 0) wide["bytes"] = Math.max(...bytes);
  const methods = all(one, other, "methods").slice(0, GRANT_MAXIMA.methods);
  if (methods.length > 0) wide["methods"] = methods.sort();
  return wide;
}

/** What either has in a list of that name, each once, what is known first. */
function all(known: unknown, more: unknown, name: string): unknown[] {
  const lists = [known, more].flatMap((each) => {
    const list = isTree(each) ? each[name] : [];
    return Array.isArray(list) ? list : [];
  });
  return [...new Set<unknown>(lists)];
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A learned policy in a file, which is whole at any time. */
export class Learning {
  readonly #path: string;
  readonly #log: Logger;
  readonly #policy = new LearnedPolicy();
  readonly #timer: ReturnType<typeof setInterval>;
  #changed = false;

  /** @throws AtollError config: the file cannot be written */
  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
    try {
      this.#write();
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new AtollError("config", `Cannot write --learn "${path}": ${reason}`, {}, { cause });
    }
    this.#timer = setInterval(() => this.#writeChanges(), WRITE_MS);
  }

  note(plugin: string, account: AccessAccount): void {
    if (this.#policy.note(plugin, account)) this.#changed = true;
  }

  /** Writes what is new, and no more from then on. */
  stop(): void {
    clearInterval(this.#timer);
    this.#writeChanges();
  }

  #writeChanges(): void {
    if (!this.#changed) return;
    this.#changed = false;
    try {
      this.#write();
    } catch (error) {
      this.#changed = true;
      this.#log.error(`Cannot write --learn "${this.#path}"`, { error });
    }
  }

  #write(): void {
    const draft = `${this.#path}.${randomUUID()}`;
    try {
      // Environment variables of the configuration may be in it.
      writeFileSync(draft, this.#policy.text(), { mode: 0o600 });
      renameSync(draft, this.#path);
    } catch (thrown) {
      rmSync(draft, { force: true });
      throw thrown;
    }
  }
}
