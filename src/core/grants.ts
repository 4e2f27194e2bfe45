/**
 * What the operator grants to a plugin: names and meaning. Absent is denied. Configuration, engines
 * and messages use these names; `native/sandbox/src/grants.rs` reads the same JSON.
 */

/** Grants of one plugin. */
export interface Grants {
  /** Environment variables that the guest sees, with their values. */
  readonly env: Readonly<Record<string, string>>;
  /** Namespaces of `wasi:keyvalue`. */
  readonly keyvalue: readonly KeyvalueGrant[];
}

/** A namespace in which a plugin keeps values. */
export interface KeyvalueGrant {
  /** What the plugin opens; `default` is also the bucket without a name. */
  readonly name: string;
  /** Most bytes of all its entries: keys, values and 64 bytes for each. */
  readonly bytes: number;
  /** Whether it is one and the same for all plugins that are granted it so. */
  readonly shared: boolean;
}

/** What a plugin has that the configuration does not mention. */
export const NO_GRANTS: Grants = { env: {}, keyvalue: [] };

/** What a plugin's author asks the operator for. It grants nothing. */
export interface Wants {
  /** Names of environment variables. */
  readonly env: readonly string[];
  /** Names of namespaces. */
  readonly keyvalue: readonly string[];
}

/** Paths of all single grants, as in `env.LANG`. */
export function grantNames(grants: Grants): readonly string[] {
  return [
    ...Object.keys(grants.env).map((name) => `env.${name}`),
    ...grants.keyvalue.map(({ name }) => `keyvalue.${name}`),
  ];
}

/** Paths of what is wanted and not granted. */
export function missingGrants(wants: Wants, grants: Grants): readonly string[] {
  const granted = new Set(grantNames(grants));
  const wanted = [
    ...wants.env.map((name) => `env.${name}`),
    ...wants.keyvalue.map((name) => `keyvalue.${name}`),
  ];
  return wanted.filter((name) => !granted.has(name));
}

/** The part of the configuration that would grant a path to a plugin; a value is the operator's. */
export function grantThatAllows(
  plugin: string,
  path: string,
): { readonly pluginSettings: Readonly<Record<string, { readonly grants: object }>> } {
  const dot = path.indexOf(".");
  const [kind, name] = [path.slice(0, dot), path.slice(dot + 1)];
  const grants = kind === "env" ? { env: { [name]: "VALUE" } } : { [kind]: [name] };
  return { pluginSettings: { [plugin]: { grants } } };
}
