/**
 * Which JavaScript runtime this is, and whether it is new enough.
 *
 * Imports nothing: `main.ts` asks here before it loads anything that an old runtime might not
 * even parse.
 */

export type RuntimeName = "deno" | "bun" | "node";

export interface Runtime {
  readonly name: RuntimeName;
  /** As the runtime gives it, `2.9.6`. */
  readonly version: string;
}

/** The oldest versions that Atoll is tested with. */
export const MINIMUM_VERSIONS: { readonly deno: string; readonly bun: string } = {
  deno: "2.9.0",
  bun: "1.4.1",
};

/** The runtime this process runs in. */
export function currentRuntime(): Runtime {
  const globals = globalThis as {
    Deno?: { version?: { deno?: string } };
    Bun?: { version?: string };
    process?: { versions?: { node?: string } };
  };
  if (globals.Deno !== undefined) {
    return { name: "deno", version: globals.Deno.version?.deno ?? "0.0.0" };
  }
  if (globals.Bun !== undefined) return { name: "bun", version: globals.Bun.version ?? "0.0.0" };
  return { name: "node", version: globals.process?.versions?.node ?? "0.0.0" };
}

/**
 * Order of two versions by semver 2.0.0 §11: negative when `a` is older. Build metadata does not
 * count; a pre-release is older than its release.
 */
export function compareVersions(a: string, b: string): number {
  const parse = (text: string) => {
    const [core = "", ...pre] = (text.split("+")[0] ?? "").split("-");
    return { numbers: core.split(".").map((part) => Number(part) || 0), pre: pre.join("-") };
  };
  const left = parse(a);
  const right = parse(b);
  for (let index = 0; index < 3; index++) {
    const difference = (left.numbers[index] ?? 0) - (right.numbers[index] ?? 0);
    if (difference !== 0) return difference;
  }
  if (left.pre === right.pre) return 0;
  if (left.pre === "") return 1;
  if (right.pre === "") return -1;
  return left.pre < right.pre ? -1 : 1;
}

/** One line that says why Atoll cannot run here and what to do, or null where it can. */
export function runtimeObstacle(runtime: Runtime): string | null {
  if (runtime.name === "node") {
    return `Cannot run under Node.js ${runtime.version}: Atoll needs Deno ${MINIMUM_VERSIONS.deno} ` +
      `or Bun ${MINIMUM_VERSIONS.bun}, or newer`;
  }
  const minimum = MINIMUM_VERSIONS[runtime.name];
  if (compareVersions(runtime.version, minimum) >= 0) return null;
  const label = runtime.name === "deno" ? "Deno" : "Bun";
  const upgrade = runtime.name === "deno" ? "deno upgrade" : "bun upgrade";
  return `Cannot run under ${label} ${runtime.version}: at least ${minimum} is needed; run \`${upgrade}\``;
}
