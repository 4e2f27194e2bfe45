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
import type { Logger } from "../telemetry/log.ts";

/** How often what is new is written, in milliseconds. */
const WRITE_MS = 2_000;

/** Most rules of one capability of a plugin: a guest can make up as many as it likes. */
const RULES_MAX = 256;

type Tree = Record<string, unknown>;

/** Accounts of all plugins put together. */
export class LearnedPolicy {
  readonly #plugins = new Map<string, Tree>();

  /** Whether it says more than before. */
  note(plugin: string, account: AccessAccount): boolean {
    const grants = this.#plugins.get(plugin) ?? {};
    const before = JSON.stringify(grants);
    for (const [capability, grant] of Object.entries(account.grant)) {
      grants[capability] = union(grants[capability], grant);
    }
    this.#plugins.set(plugin, grants);
    return JSON.stringify(grants) !== before;
  }

  /** As a configuration of its own: `pluginSettings` and nothing else. */
  text(): string {
    const sorted = [...this.#plugins].sort(([one], [other]) => one < other ? -1 : 1);
    const settings = sorted.map(([plugin, grants]) => [plugin, { grants }]);
    return `${JSON.stringify({ pluginSettings: Object.fromEntries(settings) }, null, 2)}\n`;
  }
}

/** Two grants of one capability as one that allows both. */
function union(known: unknown, more: unknown): unknown {
  if (Array.isArray(known) && Array.isArray(more)) return more.reduce(unionOfRules, known);
  if (isTree(known) && isTree(more)) return { ...known, ...more };
  return more;
}

/** Rules of one place are one rule: the folder at a path, methods of one path of a host. */
function unionOfRules(rules: readonly unknown[], rule: unknown): readonly unknown[] {
  const place = placeOf(rule);
  const index = rules.findIndex((known) => placeOf(known) === place);
  if (index < 0) return rules.length < RULES_MAX ? [...rules, rule] : rules;
  const known = rules[index];
  if (!isTree(known) || !isTree(rule)) return rules;
  return rules.with(index, { ...known, ...rule, ...widest(known, rule) });
}

/** What tells rules apart: everything but how much each allows. */
function placeOf(rule: unknown): string {
  if (!isTree(rule)) return JSON.stringify(rule);
  const { methods: _methods, write: _write, bytes: _bytes, ...place } = rule;
  return JSON.stringify(Object.entries(place).sort(([one], [other]) => one < other ? -1 : 1));
}

function widest(one: Tree, other: Tree): Tree {
  const wide: Tree = {};
  if (one["write"] === true || other["write"] === true) wide["write"] = true;
  const bytes = [one["bytes"], other["bytes"]].filter((each) => typeof each === "number");
  if (bytes.length > 0) wide["bytes"] = Math.max(...bytes);
  const methods = [one["methods"], other["methods"]].flatMap((each) =>
    Array.isArray(each) ? each : []
  );
  if (methods.length > 0) wide["methods"] = [...new Set(methods)].sort();
  return wide;
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
