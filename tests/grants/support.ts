/**
 * What the tests of grants share: the guest that does as it is told, loaded with grants on the
 * native engine, and the accounts of what it asked for.
 *
 * Must not know what is tested.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AccessAccount } from "../../src/core/access.ts";
import { type EngineGrants, NO_GRANTS } from "../../src/core/grants.ts";
import type { LoadedComponent } from "../../src/sandbox/sandbox.ts";
import { Bench, ENGINES, ok, PATIENT } from "../conformance/support.ts";

const native = ENGINES.find(({ kind }) => kind === "native");

/** The native engine, for one file, which closes it; null where there is none on this machine. */
export function nativeBench(): Bench | null {
  return native === undefined ? null : new Bench(native);
}

/** The guest, under grants. */
export class Guest {
  readonly #component: LoadedComponent;
  /** What it was told to have asked for, so far. */
  readonly told: readonly AccessAccount[];

  constructor(component: LoadedComponent, told: readonly AccessAccount[]) {
    this.#component = component;
    this.told = told;
  }

  /** Does steps in one instance; each is words between spaces. The answers, in order. */
  async steps(...steps: readonly string[]): Promise<readonly string[]> {
    const words = steps.map((step) => step.split(" "));
    return await ok(this.#component, "steps", { steps: words }) as string[];
  }

  /** Does one step, whose answer is this. */
  async expect(step: string, answer: string): Promise<void> {
    assert.deepEqual([step, ...await this.steps(step)], [step, answer]);
  }

  async call(name: string): Promise<unknown> {
    return await ok(this.#component, name);
  }

  /** Waits for an account for which this holds: accounts come beside the answer. */
  async account(of: (account: AccessAccount) => boolean): Promise<AccessAccount> {
    for (;;) {
      const found = this.told.find(of);
      if (found !== undefined) return found;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

/** Runs with the guest under grants, which all engines' limits leave time. */
export async function withGuest(
  bench: Bench,
  grants: Partial<EngineGrants>,
  use: (guest: Guest) => Promise<void>,
  { observe = false } = {},
): Promise<void> {
  const told: AccessAccount[] = [];
  const component = await bench.load("granted", PATIENT, {
    grants: { ...NO_GRANTS, ...grants },
    observe,
    onAccess: (account) => told.push(account),
  });
  try {
    await use(new Guest(component, told));
  } finally {
    await component.unload();
  }
}

/** Runs with a folder of its own. */
export async function withFolder(use: (path: string) => Promise<void>): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), "atoll-grants-"));
  try {
    await use(path);
  } finally {
    rmSync(path, { recursive: true, force: true });
  }
}
