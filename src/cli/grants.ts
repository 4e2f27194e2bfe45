/**
 * What a component asks for, read from its imports.
 *
 * Owns: which interface belongs to which capability. Nothing of it is granted by being asked for.
 */

/** A capability that a plugin may be granted. */
export interface Grant {
  readonly name: string;
  /** What it would allow. */
  readonly meaning: string;
  /** The imports that ask for it. */
  readonly imports: readonly string[];
}

const CAPABILITIES: readonly [prefix: string, name: string, meaning: string][] = [
  ["wasi:http/outgoing-handler", "network", "send HTTP requests"],
  ["wasi:http/client", "network", "send HTTP requests"],
  ["wasi:sockets/", "sockets", "open TCP and UDP connections, look up names"],
  ["wasi:filesystem/", "files", "read and write files"],
  ["wasi:cli/environment", "environment", "read environment variables and arguments"],
  ["wasi:clocks/", "clocks", "read the time precisely, wait"],
  ["wasi:random/", "randomness", "random numbers that differ from call to call"],
  ["wasi:keyvalue/", "key-value", "keep values between calls"],
  ["atoll:plugin/", "host", "functions that Atoll offers to plugins"],
];

/**
 * Interfaces that give no power: types, the standard streams, which end in Atoll's log or are empty,
 * and the plugin's own configuration.
 */
const HARMLESS = [
  "wasi:io/",
  "wasi:http/types",
  "wasi:cli/exit",
  "wasi:cli/types",
  "wasi:cli/std",
  "wasi:cli/terminal",
  "wasi:logging/",
  "wasi:config/",
];

/** The grants that these imports ask for, and the imports that nobody knows. */
export function grantsOf(imports: readonly string[]): { grants: Grant[]; unknown: string[] } {
  const byName = new Map<string, { meaning: string; imports: string[] }>();
  const unknown: string[] = [];
  for (const name of imports) {
    const capability = CAPABILITIES.find(([prefix]) => name.startsWith(prefix));
    if (capability !== undefined) {
      const [, grant, meaning] = capability;
      const entry = byName.get(grant) ?? { meaning, imports: [] };
      entry.imports.push(name);
      byName.set(grant, entry);
    } else if (!HARMLESS.some((prefix) => name.startsWith(prefix))) unknown.push(name);
  }
  const grants = [...byName].map(([name, entry]) => ({ name, ...entry }));
  return { grants, unknown };
}
