/**
 * `atoll explain`: what a plugin may reach, and which grant would allow what it asks for.
 *
 * Owns: the report. It is made of the configuration and the manifest: nothing is built or loaded.
 */
import { AtollError } from "../core/errors.ts";
import { grantNames } from "../core/grants.ts";
import { nearest } from "../core/nearest.ts";
import { grantThatAllows } from "../core/wants.ts";
import { discover, type FoundPlugin } from "../plugins/discovery.ts";
import { profileOf } from "../plugins/plugin.ts";
import { printable } from "../telemetry/log.ts";
import { EXIT } from "./output.ts";
import type { CommandContext } from "./run.ts";
import { settingsOf } from "./settings.ts";

/** What `--json` prints. */
export interface Explanation {
  readonly id: string;
  /** Paths of what is granted, as in `env.LANG`. */
  readonly granted: readonly string[];
  /** What its manifest asks for and nobody grants. */
  readonly denied: readonly {
    readonly name: string;
    /** What to put into the configuration to allow it. */
    readonly grant: ReturnType<typeof grantThatAllows>;
  }[];
}

/** @throws AtollError config: no plugin has that id */
export function explain(context: CommandContext): number {
  const { config } = settingsOf(context);
  const id = context.operands[0] ?? "";
  const { found, broken } = discover(config.plugins);
  const plugin = found.find((each) => each.id === id);
  const failure = broken.find((each) => each.id === id);
  if (plugin === undefined) throw failure?.error ?? unknown(id, found);
  const { grants, missingGrants } = profileOf(plugin, config);
  const report: Explanation = {
    id,
    granted: grantNames(grants),
    denied: missingGrants.map((each) => ({ name: each.name, grant: grantThatAllows(id, each) })),
  };
  const text = context.flags.has("json") ? `${JSON.stringify(report)}\n` : readable(report);
  context.output.out(text);
  return EXIT.ok;
}

function unknown(id: string, found: readonly FoundPlugin[]): AtollError {
  const near = nearest(id, found.map((each) => each.id));
  const hint = near === null ? "" : `; did you mean "${near}"?`;
  return new AtollError("config", `Cannot explain "${id}": there is no such plugin${hint}`);
}

function readable({ id, granted, denied }: Explanation): string {
  const lines = [
    `plugin ${id}`,
    "",
    granted.length === 0 ? "Granted: nothing" : "Granted",
    ...granted.map((name) => `  ${name}`),
    "",
    denied.length === 0 ? "Wanted and denied: nothing" : "Wanted and denied; allowed by",
    ...denied.flatMap(({ name, grant }) => [`  ${name}`, `    ${JSON.stringify(grant)}`]),
  ];
  return `${lines.map(printable).join("\n")}\n`;
}
