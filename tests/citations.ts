/**
 * Which requirements a test file cites, in TypeScript, Rust or C.
 *
 * Owns: where an id counts: at the beginning of a test's name, or in a comment directly in front of
 * a test. An id anywhere else proves nothing. Must not know which requirements there are.
 */

const ID = "[A-Z][0-9]+";
/** `A18: …`, or `D1, D8, B4 to B7: …`, of which the ends of a range count. */
const IDS_FIRST = new RegExp(`^${ID}(?:(?:, | and | to )${ID})*(?=:)`);

/** How a test looks in a language. */
interface Language {
  /** The line on which it begins. */
  readonly begins: RegExp;
  /** Its name, in the first group, in the text from that line on. */
  readonly name: RegExp;
}

/** A name may follow some lines below the beginning, behind attributes. */
const LINES_TO_NAME = 5;

const LANGUAGES: Readonly<Record<string, Language>> = {
  // `check` is what conformance files call their `test` for each engine.
  ts: { begins: /^\s*(?:test|check)\(/, name: /^\s*(?:test|check)\(\s*["'`](.*)/ },
  c: { begins: /^TEST\(/, name: /^TEST\(\s*\w+,\s*"(.*)/ },
  // Names of functions: `a22_a_file_…` cites A22.
  rs: { begins: /^\s*#\[test\]/, name: /^\s*#\[test\]\s*(?:#\[[^\]]*\]\s*)*fn (\w+)/ },
};

/** The ids that a file cites. */
export function citedIn(path: string, text: string): Set<string> {
  const language = LANGUAGES[path.slice(path.lastIndexOf(".") + 1)];
  const cited = new Set<string>();
  if (language === undefined) return cited;
  const lines = text.split("\n");
  lines.forEach((line, at) => {
    if (!language.begins.test(line)) return;
    const name = language.name.exec(lines.slice(at, at + LINES_TO_NAME).join("\n"))?.[1] ?? "";
    for (const id of idsOfName(name)) cited.add(id);
    for (const id of idsOf(commentBefore(lines, at))) cited.add(id);
  });
  return cited;
}

function idsOfName(name: string): string[] {
  const first = /^([a-z][0-9]+)_/.exec(name)?.[1];
  if (first !== undefined) return [first.toUpperCase()];
  return idsOf(IDS_FIRST.exec(name)?.[0] ?? "");
}

/** The lines of the comment that ends on the line above. */
function commentBefore(lines: readonly string[], at: number): string {
  const comment: string[] = [];
  for (let index = at - 1; index >= 0; index--) {
    const line = lines[index] ?? "";
    if (!/^\s*(?:\/\/|\/\*|\*)/.test(line)) break;
    comment.unshift(line);
  }
  return comment.join("\n");
}

function idsOf(text: string): string[] {
  return text.match(new RegExp(`\\b${ID}\\b`, "g")) ?? [];
}
