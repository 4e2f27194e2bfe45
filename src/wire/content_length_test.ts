import { deepEqual, throws } from "node:assert/strict";
import { test } from "../../tests/harness.ts";
import { declaredLength } from "./content_length.ts";

test("a length is one number of bytes, or absent", () => {
  deepEqual([null, "0", "40", "9".repeat(20)].map(declaredLength), [null, 0, 40, 1e20]);
  for (const field of ["40, 40", "40,41", "-1", "+1", "", " 1", "0x10", "1e3", "1.5"]) {
    throws(() => declaredLength(field), { code: "invalid_argument" }, field);
  }
});
