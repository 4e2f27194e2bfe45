/**
 * What the operator grants to a plugin: names and meaning. Absent is denied. Configuration, engines
 * and messages use these names; `native/sandbox/src/grants.rs` reads the same JSON.
 */

/** Grants of one plugin. */
export interface Grants {
  /** Environment variables that the guest sees, with their values. */
  readonly env: Readonly<Record<string, string>>;
}

/** What a plugin has that the configuration does not mention. */
export const NO_GRANTS: Grants = { env: {} };

/** What a plugin's author asks the operator for. It grants nothing. */
export interface Wants {
  /** Names of environment variables. */
  readonly env: readonly string[];
}

/** Paths of all single grants, as in `env.LANG`. */
export function grantNames(grants: Grants): readonly string[] {
  return Object.keys(grants.env).map((name) => `env.${name}`);
}

/** Paths of what is wanted and not granted. */
export function missingGrants(wants: Wants, grants: Grants): readonly string[] {
  const granted = new Set(grantNames(grants));
  return wants.env.map((name) => `env.${name}`).filter((name) => !granted.has(name));
}

/** The part of the configuration that would grant a path to a plugin; its value is the operator's. */
export function grantThatAllows(
  plugin: string,
  path: string,
): { readonly pluginSettings: Readonly<Record<string, { readonly grants: Grants }>> } {
  const env = { [path.slice("env.".length)]: "VALUE" };
  return { pluginSettings: { [plugin]: { grants: { env } } } };
}
