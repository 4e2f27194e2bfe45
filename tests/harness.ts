/**
 * One test file runs under Deno and under Bun: `test()` maps onto `Deno.test` and `bun:test`.
 * Assertions come from `node:assert/strict`.
 */

/** Under which runtime the tests run. */
export const runtime: "deno" | "bun" = "Deno" in globalThis ? "deno" : "bun";

/** Says what this machine cannot check, and why; the test command repeats it at its end. */
export function skipped(what: string, why: string): void {
  console.log(`skipped ${what}: ${why}`);
}

/** Runs until a condition holds; the runner's watchdog ends a test that never gets there. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!await condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

type TestBody = () => void | Promise<void>;

/** Declares a test. Ids of `tests/requirements.ts` at the beginning of its name are cited. */
export const test: (name: string, body: TestBody) => void = await pick();

async function pick() {
  if (runtime === "deno") {
    // Resources are checked by the tests that mean to; a shared native library outlives one test.
    return (name: string, body: TestBody) =>
      Deno.test({
        name,
        fn: async () => {
          await body();
        },
        sanitizeOps: false,
        sanitizeResources: false,
      });
  }
  const bun = await import("bun:test");
  // No maximum time: a watchdog in the runner ends a suite that hangs.
  return (name: string, body: TestBody) => bun.test(name, async () => void (await body()), 600_000);
}
