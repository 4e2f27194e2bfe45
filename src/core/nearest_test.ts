/** Edit distance and suggestions. */
import { deepEqual, equal } from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { editDistance, nearest } from "./nearest.ts";

test("edit distance counts insertions, deletions, changes and swaps", () => {
  deepEqual(
    [["", ""], ["", "abc"], ["port", "prot"], ["kitten", "sitting"], ["a", "b"]].map(([a, b]) =>
      editDistance(a ?? "", b ?? "")
    ),
    [0, 3, 1, 3, 1],
  );
});

test("the nearest word wins; nothing is suggested for a word far from all", () => {
  const words = ["host", "port", "plugins", "bodyBytes"];
  equal(nearest("prot", words), "port");
  equal(nearest("plugin", words), "plugins");
  equal(nearest("body_bytes", words), "bodyBytes");
  equal(nearest("zebra", words), null);
  equal(nearest("x".repeat(5000), words), null);
});
