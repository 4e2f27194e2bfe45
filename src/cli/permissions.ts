/**
 * What Atoll uses Deno's permissions for, and whether Deno grants each use.
 *
 * Owns: the questions to Deno. A grant may be for some paths, addresses or programs only, so each
 * question names what is used. What a refusal means is judged in `doctor_checks.ts`.
 */
import type { Config } from "../config/schema.ts";

/** What a permission is used for. */
export type PermissionUse =
  | "plugins"
  | "cache"
  | "listen"
  | "wake"
  | "environment"
  | "compilers"
  | "library"
  | "owner";

export interface PermissionFact {
  readonly permission: Deno.PermissionDescriptor["name"];
  readonly use: PermissionUse;
  /** The narrowest flag that grants the use. */
  readonly flag: string;
  readonly granted: boolean;
}

/** Programs that build the native libraries and Rust plugins. */
const COMPILERS = ["cc", "make", "cargo", "rustc"];

/**
 * Deno's answers; null under Bun, which has no permissions.
 * @param library Path of `libatoll.so`, or null while there is none.
 */
export function askPermissions(
  config: Config,
  library: string | null,
): readonly PermissionFact[] | null {
  if (!("Deno" in globalThis)) return null;
  const { cacheDir, host, port } = config;
  const name = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
  const address = port === 0 ? name : `${name}:${port}`;
  const facts = [
    ...config.plugins.map((path) => ask("plugins", { name: "read", path }, path)),
    ask("cache", { name: "read", path: cacheDir }, cacheDir),
    ask("cache", { name: "write", path: cacheDir }, cacheDir),
    ask("listen", { name: "net", host: address }, address),
    ask("environment", { name: "env", variable: "HOME" }, "HOME"),
    ...COMPILERS.map((command) => ask("compilers", { name: "run", command }, command)),
  ];
  if (config.engine === "portable") return facts;
  return [
    ...facts,
    ask("wake", { name: "net" }),
    library === null
      ? ask("library", { name: "ffi" })
      : ask("library", { name: "ffi", path: library }, library),
    ask("owner", { name: "sys", kind: "uid" }, "uid"),
  ];
}

function ask(
  use: PermissionUse,
  descriptor: Deno.PermissionDescriptor,
  value?: string,
): PermissionFact {
  const { name } = descriptor;
  const flag = `--allow-${name}${value === undefined ? "" : `=${value}`}`;
  return { permission: name, use, flag, granted: isGranted(descriptor) };
}

function isGranted(descriptor: Deno.PermissionDescriptor): boolean {
  try {
    return Deno.permissions.querySync(descriptor).state === "granted";
  } catch {
    // An address that Deno cannot parse can still be covered by a grant for all of them.
    return Deno.permissions.querySync({ name: descriptor.name }).state === "granted";
  }
}
