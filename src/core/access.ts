/**
 * Accounts of what plugins ask for: what it was, whether it was allowed, which grant decides. The
 * form is the one that `native/sandbox/src/access.rs` writes.
 */

/** What a plugin asked for. */
export interface AccessAccount {
  /** The key of the grants that decide, as in `env`. */
  readonly capability: string;
  /** What it asked for, for a person to read. */
  readonly asked: string;
  readonly allowed: boolean;
  /** The grants that allow it, as they are written in the configuration. */
  readonly grant: Readonly<Record<string, unknown>>;
}

/** A denial in one line, with the configuration that would have allowed it. */
export function denialText(plugin: string, { capability, asked, grant }: AccessAccount): string {
  const allowing = JSON.stringify({ pluginSettings: { [plugin]: { grants: grant } } });
  return `plugin "${plugin}" was denied ${capability} (${asked}); allowed by ${allowing}`;
}
