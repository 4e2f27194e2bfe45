/**
 * Values that no log line may show, whoever writes and whoever gets it: a server may send a secret
 * back, and a guest may print what it was sent. Each isolate has to be told of them.
 */

/** Longest first: a value that is a part of another one does not leave the rest of that. */
let known: (readonly [value: string, shown: string])[] = [];

/** From now on log lines have the name in place of the value. */
export function redactFromLogs(name: string, value: string): void {
  const shown = `[secret ${name}]`;
  // Also as it stands in a line of JSON.
  redactAll([[value, shown], [JSON.stringify(value).slice(1, -1), shown]]);
}

/** All that is redacted so far, for {@link redactAll} in another isolate. */
export function redactions(): readonly (readonly [value: string, shown: string])[] {
  return known;
}

/** Redacts what another isolate does. */
export function redactAll(all: ReturnType<typeof redactions>): void {
  const merged = new Map([...known, ...all]);
  known = [...merged].sort(([one], [other]) => other.length - one.length);
}

/** The text without such values. */
export function redacted(text: string): string {
  let shown = text;
  for (const [value, name] of known) shown = shown.replaceAll(value, () => name);
  return shown;
}
