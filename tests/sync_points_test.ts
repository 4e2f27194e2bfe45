/**
 * Each memory order of the C core that another thread's order pairs with is named at both ends by a
 * `SYNC POINT` comment: checked from the comments and operations that are really there. What the
 * comments look like is told in docs/reference/concurrency.md.
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "./harness.ts";

const FOLDER = fileURLToPath(new URL("../native/core/src/", import.meta.url));

/** How far below the end of its comment the first order may stand. */
const LINES = 6;

/** A place that is named: a name may have several. */
interface Point {
  readonly name: string;
  readonly at: string;
  /** Names that the comment pairs it with; none: its other end bears the same name. */
  readonly pairs: readonly string[];
}

/** An order in the code. */
interface Order {
  readonly at: string;
  readonly order: string;
  /** Name that ATOLL__SYNC or ATOLL__FENCE gives it. */
  readonly named?: string;
  /** The points of the comments that stand for it. */
  readonly points: readonly Point[];
}

interface Source {
  readonly points: Point[];
  readonly orders: Order[];
  readonly objections: string[];
}

const NAME = "[a-z]+(?:-[a-z]+)*";
const POINT = new RegExp(`SYNC POINT: (${NAME})`, "g");
const PAIRS = new RegExp(`paired with (${NAME}(?:(?:, and |, | and )${NAME})*)(?=[.;:,]|$)`, "i");

function lineOf(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}

/** The points of one comment, which ends at a place: a comment may name more than one. */
function pointsOf(at: string, comment: string, objections: string[]): Point[] {
  const prose = comment.replace(/\n\s*\*\s?/g, " ").replace(/\s*\*\/$/, "").trim();
  const found = [...prose.matchAll(POINT)];
  return found.map((match, index) => {
    const part = prose.slice(match.index, found[index + 1]?.index);
    const name = match[1] ?? "";
    const pairs = PAIRS.exec(part)?.[1]?.split(/, and |, | and /) ?? [];
    if (pairs.length === 0 && /paired with/i.test(part)) {
      objections.push(`${at}: "${name}" is not paired with a name`);
    }
    return { name, at, pairs: pairs.map((pair) => pair === "itself" ? name : pair) };
  });
}

/** Comments and literals: their parentheses and semicolons are not the code's. */
const PROSE = /\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)+'/g;

function blank(part: string): string {
  return part.replace(/[^\n]/g, " ");
}

const ORDER = new RegExp(
  [
    String.raw`ATOLL__SYNC\(\s*(\w+)\s*,\s*(\w+)\s*\)`,
    String.raw`ATOLL__FENCE\(\s*(\w+)\s*\)`,
    String.raw`\bmemory_order_(relaxed|acquire|release|acq_rel|seq_cst)\b`,
  ].join("|"),
  "g",
);

/**
 * Where the statement starts that a place in the code is in: behind the last `;` or brace that is
 * not inside parentheses. The head of an `if` or of a loop is a statement of its own, with what
 * follows it when that is no block.
 */
function statementOf(code: string, index: number): number {
  let depth = 0;
  let start = 0;
  for (let at = 0; at < index; at++) {
    const character = code[at] ?? "";
    if (character === "(") depth++;
    else if (character === ")") depth--;
    else if (depth === 0 && ";{}".includes(character)) start = at + 1;
  }
  return start;
}

function read(file: string, text: string): Source {
  const source: Source = { points: [], orders: [], objections: [] };
  // Of the preprocessor's lines, some say what ATOLL__SYNC and ATOLL__FENCE are made of.
  const code = text.replace(PROSE, blank).replace(/^[ \t]*#.*$/gm, blank);
  const orders = [...code.matchAll(ORDER)].map((match) => ({
    match,
    line: lineOf(code, match.index),
    statement: statementOf(code, match.index),
    points: new Array<Point>(),
  }));
  for (const comment of text.matchAll(PROSE)) {
    if (!comment[0].startsWith("/*")) continue;
    const end = comment.index + comment[0].length;
    const line = lineOf(text, end);
    const points = pointsOf(`${file}:${line}`, comment[0], source.objections);
    source.points.push(...points);
    const below = orders.filter((order) => order.match.index >= end);
    const first = below[0];
    if (first === undefined || first.line - line > LINES) continue;
    for (const order of below) {
      if (order.statement === first.statement) order.points.push(...points);
    }
  }
  for (const { match, line, points } of orders) {
    const order = match[4] ?? match[2] ?? "seq_cst";
    const named = (match[1] ?? match[3])?.replaceAll("_", "-");
    if (order === "relaxed") continue;
    source.orders.push({ at: `${file}:${line}`, order, points, ...(named && { named }) });
  }
  return source;
}

/** Both ends of a name are there, and know of each other. */
function pairObjections(points: readonly Point[]): string[] {
  const names = new Set(points.map((point) => point.name));
  const objections: string[] = [];
  for (const point of points) {
    for (const pair of point.pairs) {
      if (!names.has(pair)) {
        objections.push(`${point.at}: "${point.name}" is paired with "${pair}": no such point`);
      } else if (!points.some((other) => other.name === pair && other.pairs.includes(point.name))) {
        objections.push(`${point.at}: "${pair}" does not say that it is paired with it`);
      }
    }
  }
  for (const name of names) {
    const same = points.filter((point) => point.name === name);
    if (same.length === 1 && same[0]?.pairs.length === 0) {
      objections.push(`${same[0].at}: "${name}" has one end only`);
    }
  }
  return objections;
}

/** Names that are paired, one with another or over a third, with the orders that bear them. */
function sides(points: readonly Point[], orders: readonly Order[]): string[] {
  const objections: string[] = [];
  const root = new Map(points.map((point) => [point.name, point.name]));
  const rootOf = (name: string): string => {
    const up = root.get(name) ?? name;
    return up === name ? name : rootOf(up);
  };
  for (const point of points) {
    for (const pair of point.pairs) root.set(rootOf(pair), rootOf(point.name));
  }
  const releases = new Set<string>();
  const acquires = new Set<string>();
  for (const order of orders) {
    for (const point of order.points) {
      if (order.order !== "acquire") releases.add(rootOf(point.name));
      if (order.order !== "release") acquires.add(rootOf(point.name));
    }
  }
  for (const name of new Set(points.map((point) => rootOf(point.name)))) {
    if (!releases.has(name)) objections.push(`"${name}" and its pairs: nobody releases`);
    if (!acquires.has(name)) objections.push(`"${name}" and its pairs: nobody acquires`);
  }
  return objections;
}

function objections(sources: readonly Source[]): string[] {
  const points = sources.flatMap((source) => source.points);
  const orders = sources.flatMap((source) => source.orders);
  const nameless = orders.flatMap((order) => {
    if (order.points.length === 0) return [`${order.at}: ${order.order} without a SYNC POINT`];
    const named = order.named;
    if (named === undefined) return [];
    const known = order.points.some((point) => point.name === named || point.pairs.includes(named));
    return known ? [] : [`${order.at}: the code says "${named}", the comment does not`];
  });
  return [
    ...sources.flatMap((source) => source.objections),
    ...nameless,
    ...pairObjections(points),
    ...sides(points, orders),
  ];
}

test("each order of the C core that another pairs with is named at both ends", () => {
  const files = readdirSync(FOLDER).filter((name) => /\.[ch]$/.test(name)).sort();
  const sources = files.map((name) => read(name, readFileSync(FOLDER + name, "utf8")));
  const orders = sources.flatMap((source) => source.orders);
  ok(files.length > 30, "the folder was found");
  ok(orders.length > 100, "orders were found");
  equal(objections(sources).join("\n"), "");
});

const WHOLE = `
/* SYNC POINT: box-filled; the letter was written. Paired with box-read. */
atomic_store_explicit(&box.full, 1, memory_order_release);
/* SYNC POINT: box-read; paired with
 * box-filled. */
if (atomic_load_explicit(&box.full, memory_order_acquire)) open(&box);
/* SYNC POINT: box-count; paired with itself. */
atomic_fetch_sub_explicit(&box.holders, 1, memory_order_acq_rel);
/* SYNC POINT: lid, the end that opens. */
atomic_store_explicit(&lid, 1, ATOLL__SYNC(lid, release));
/* SYNC POINT: lid, the end that looks. */
atomic_load_explicit(&lid, ATOLL__SYNC(lid, acquire));
`;

test("what is not named, paired with nothing, or has one end only would be found", () => {
  const found = (from: string, to: string) => {
    ok(WHOLE.includes(from), from);
    return objections([read("box.c", WHOLE.replace(from, to))]);
  };
  deepEqual(objections([read("box.c", WHOLE)]), []);
  deepEqual(found("lid, the end that looks", "lid, the other end"), []);
  deepEqual(found("Paired with box-read", "Paired with box-red"), [
    'box.c:2: "box-filled" is paired with "box-red": no such point',
    'box.c:5: "box-filled" does not say that it is paired with it',
  ]);
  deepEqual(found("Paired with box-read", "Paired with the load below"), [
    'box.c:2: "box-filled" is not paired with a name',
    'box.c:5: "box-filled" does not say that it is paired with it',
    'box.c:2: "box-filled" has one end only',
  ]);
  deepEqual(found("SYNC POINT: lid, the end that looks", "SYNC POINT: hat, its end"), [
    'box.c:12: the code says "lid", the comment does not',
    'box.c:9: "lid" has one end only',
    'box.c:11: "hat" has one end only',
    '"lid" and its pairs: nobody acquires',
    '"hat" and its pairs: nobody releases',
  ]);
  deepEqual(found("/* SYNC POINT: box-filled", "\n\n\n\n\n\n/* Filled"), [
    "box.c:9: release without a SYNC POINT",
    'box.c:11: "box-read" is paired with "box-filled": no such point',
    '"box-read" and its pairs: nobody releases',
  ]);
  deepEqual(found("memory_order_acquire", "memory_order_release"), [
    '"box-filled" and its pairs: nobody acquires',
  ]);
  deepEqual(found("ATOLL__SYNC(lid, acquire)", "ATOLL__SYNC(\n    hat,\n    acquire)"), [
    'box.c:12: the code says "hat", the comment does not',
  ]);
});

test("a comment stands for the first statement with an order below it, and for no other", () => {
  const orders = (text: string) =>
    read("box.c", text).orders.map(({ order, points }) =>
      [order, ...points.map((point) => point.name)].join(" ")
    );
  const count = "/* SYNC POINT: box-count; paired with itself. */\n";
  ok(WHOLE.includes(count));
  deepEqual(objections([read("box.c", WHOLE.replace(count, ""))]), [
    "box.c:7: acq_rel without a SYNC POINT",
  ]);
  const release = "store(&x, memory_order_release);\n";
  deepEqual(orders('/* SYNC POINT: a */\nsay("(");\n' + release + release), [
    "release a",
    "release",
  ]);
  const a = "/* SYNC POINT: a */\n";
  deepEqual(orders(`${a}int old = 0;\n${release}${release}`), ["release a", "release"]);
  deepEqual(orders(`${a}store(&x, memory_order_relaxed);\n${release}`), ["release"]);
  deepEqual(orders(`${a}if (x) {\n${release}}\n${release}`), ["release a", "release"]);
  deepEqual(orders(`${release}${a}${"\n".repeat(LINES)}${release}`), ["release", "release"]);
  deepEqual(
    orders(`do {\n${a}} while (!exchange(&x, memory_order_acq_rel, memory_order_acquire));`),
    ["acq_rel a", "acquire a"],
  );
  deepEqual(
    orders(`if (load(memory_order_acquire) &&\n${a}load(memory_order_seq_cst)) stop();`),
    ["acquire", "seq_cst a"],
  );
});
