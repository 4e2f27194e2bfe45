/**
 * Values that no log line may show, whoever writes and whoever gets it: a server may send a secret
 * back, and a guest may print what it was sent. Each isolate has to be told of them.
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

/** All that is redacted so far, for {@link redactAll} in another isolate. */
export function redactions(): readonly (readonly [value: string, shown: string])[] {
  return [...known];
}

/** Redacts what another isolate does. */
export function redactAll(all: ReturnType<typeof redactions>): void {
  for (const [value, shown] of all) known.set(value, shown);
}

/** The text without such values. */
export function redacted(text: string): string {
  let shown = text;
  for (const [value, name] of known) shown = shown.replaceAll(value, () => name);
  return shown;
}
