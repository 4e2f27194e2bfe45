/**
 * Values of secrets, read when a plugin is loaded.
 *
 * Owns: where a value comes from and what is refused. Values go to the engine and to nobody else;
 * messages have names only.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { AtollError } from "../core/errors.ts";
import type { EngineGrants, Grants, Secret, SecretGrant } from "../core/grants.ts";
import { redactFromLogs } from "../telemetry/redaction.ts";

/** With the rest of the grants it has to fit a request to the engine. */
const VALUE_BYTES_MAX = 1024;

/** What is shorter stands by chance in text that has nothing to do with it, where it is replaced. */
const VALUE_BYTES_MIN = 8;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Grants as an engine takes them.
 * @throws AtollError config: a value that is not there or that no header field can hold
 */
export function withSecrets(
  plugin: string,
  grants: Grants,
  environment?: Environment,
): EngineGrants {
  const { secrets, ...rest } = grants;
  if (secrets === undefined) return rest;
  const values: Record<string, Secret> = {};
  for (const [name, secret] of Object.entries(secrets)) {
    const value = valueOf(plugin, name, secret, environment);
    redactFromLogs(name, value);
    values[name] = { value, hosts: secret.hosts };
  }
  return { ...rest, secrets: values };
}

function valueOf(
  plugin: string,
  name: string,
  { env, file }: SecretGrant,
  environment?: Environment,
): string {
  const refused = (reason: string, cause?: unknown) =>
    new AtollError(
      "config",
      `Cannot load plugin "${plugin}": the secret ${name} ${reason}`,
      { plugin },
      { cause },
    );
  let text: string | undefined;
  try {
    text = env === undefined ? readFileSync(file ?? "", "utf8") : (environment ?? process.env)[env];
  } catch (cause) {
    const place = env === undefined ? `file "${file}"` : `variable ${env}`;
    const reason = (cause as { code?: string }).code ?? (cause as Error).name;
    throw refused(`cannot be read from the ${place}: ${reason}`, cause);
  }
  if (text === undefined) throw refused(`is in no variable ${env} of the environment`);
  // Most programs end a file with a line end.
  const value = env === undefined ? text.replace(/\r?\n$/, "") : text;
  if (value === "") throw refused("is empty");
  if (!/^[\x20-\x7e]+$/.test(value)) {
    throw refused("has a character that a header field cannot hold: not printable ASCII");
  }
  if (value.length < VALUE_BYTES_MIN) {
    throw refused(`has fewer than ${VALUE_BYTES_MIN} characters: too short to keep out of logs`);
  }
  if (value.length > VALUE_BYTES_MAX) throw refused(`has more than ${VALUE_BYTES_MAX} bytes`);
  return value;
}
