/**
 * Values that no log line may show, whoever writes it: a server may send a secret back, and a guest
 * may print what it was sent.
 */

/** What is shorter is found in lines that have nothing to do with it. */
const SHORTEST = 6;

const known = new Map<string, string>();

/** From now on log lines have the name in place of the value. */
export function redactFromLogs(name: string, value: string): void {
  if (value.length < SHORTEST) return;
  const shown = `[secret ${name}]`;
  known.set(value, shown);
  // As it stands in a line of JSON.
  known.set(JSON.stringify(value).slice(1, -1), shown);
}

/** The text without such values. */
export function redacted(text: string): string {
  let shown = text;
  for (const [value, name] of known) shown = shown.replaceAll(value, () => name);
  return shown;
}
